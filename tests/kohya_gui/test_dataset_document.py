"""Editing a dataset config as text: what was wanted is there, and everything else stands as it did."""

from __future__ import annotations

import copy
import difflib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_gui.dataset_document import Document, same
from sd_scripts.errors import ConfigError

FILES = sorted((Path(__file__).parents[1] / "fixtures" / "configs" / "dataset_toml").glob("*.toml"))
"""Dataset configs as people have published them."""
TEXT = """# My cats.

[general]
enable_bucket = true   # always

[[datasets]]
resolution = 512 # px
future_key = "kept"

  # the grey one
  [[datasets.subsets]]
  image_dir = "a"   # here
  num_repeats = 2
  # flip_aug = true

  # the other
  [[datasets.subsets]]
  image_dir = 'b'
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that went, and lines that came."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line[2:] for line in lines if line.startswith("- ")], [line[2:] for line in lines if line.startswith("+ ")]


def test_a_value_is_replaced_beside_its_comment() -> None:
    after = Document(TEXT).with_value((0, 0), "image_dir", "c").text
    assert changed(TEXT, after) == (['  image_dir = "a"   # here'], ['  image_dir = "c"   # here'])


def test_a_new_key_stands_at_the_end_of_its_table_with_the_same_indent() -> None:
    after = Document(TEXT).with_value((0, 0), "flip_aug", True).with_value((0,), "batch_size", 2).with_value((), "keep_tokens", 1).text
    assert changed(TEXT, after) == ([], ["keep_tokens = 1", "batch_size = 2", "  flip_aug = true"])
    assert "num_repeats = 2\n  flip_aug = true\n" in after


def test_a_key_is_taken_out_alone() -> None:
    assert changed(TEXT, Document(TEXT).with_value((0,), "future_key", None).text) == (['future_key = "kept"'], [])


def test_a_comment_goes_along_with_its_table() -> None:
    after = Document(TEXT).moved((0, 1), (0, 0)).text
    assert after.index("# the other") < after.index("image_dir = 'b'") < after.index("# the grey one") < after.index('image_dir = "a"')
    assert sorted(after.split()) == sorted(TEXT.split())
    without = Document(TEXT).without((0, 1)).text
    assert "the other" not in without and "the grey one" in without


def test_a_copy_stands_behind_its_original() -> None:
    made = Document(TEXT).copied((0, 0))
    assert [row["image_dir"] for row in made.subsets(0)] == ["a", "a", "b"]
    assert made.text.count("# the grey one") == 2
    both = Document(TEXT).copied((0,))
    assert [len(row["subsets"]) for row in both.datasets()] == [2, 2] and both.text.startswith(TEXT)


def test_a_document_is_begun_from_nothing() -> None:
    made = Document().with_dataset({"resolution": [512, 768], "batch_size": 2}).with_subset(0, {"image_dir": 'C:\\new "x"', "num_repeats": 3})
    made = made.with_value((), "caption_extension", ".txt")
    assert tomllib.loads(made.text) == {
        "general": {"caption_extension": ".txt"},
        "datasets": [{"resolution": [512, 768], "batch_size": 2, "subsets": [{"image_dir": 'C:\\new "x"', "num_repeats": 3}]}],
    }
    assert made.without((0, 0)).without((0,)).with_value((), "caption_extension", None).data() == {"general": {}}


def test_a_subset_moves_to_another_dataset() -> None:
    made = Document(TEXT).with_dataset({"resolution": 768}).moved((0, 0), (1, 0))
    assert [[row["image_dir"] for row in table["subsets"]] for table in made.datasets()] == [["b"], ["a"]]
    assert made.text.index("resolution = 768") < made.text.index("# the grey one")


def test_tables_written_on_one_line_are_edited_too() -> None:
    text = 'datasets = [ { resolution = 512, subsets = [ { image_dir = "a" }, {image_dir = "b", num_repeats = 2} ] } ] # short\n'
    made = Document(text).with_value((0, 1), "num_repeats", 5).without((0, 0)).with_value((0,), "batch_size", 3).with_subset(0, {"image_dir": "c"})
    assert made.datasets() == [{"resolution": 512, "subsets": [{"image_dir": "b", "num_repeats": 5}, {"image_dir": "c"}], "batch_size": 3}]
    assert "# short" in made.text


def test_a_key_in_a_table_of_its_own_leaves_its_neighbours() -> None:
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\n[datasets.subsets.custom_attributes]\nmine = 1 # kept\n'
    made = Document(text).with_value((0, 0), "custom_attributes.diff_output_preservation", True)
    assert made.subsets(0)[0]["custom_attributes"] == {"mine": 1, "diff_output_preservation": True}
    assert made.with_value((0, 0), "custom_attributes.diff_output_preservation", None).text == text
    fresh = Document(TEXT).with_value((0, 1), "custom_attributes.diff_output_preservation", True)
    assert fresh.subsets(0)[1]["custom_attributes"] == {"diff_output_preservation": True}
    assert "custom_attributes" not in fresh.with_value((0, 1), "custom_attributes.diff_output_preservation", None).text


def test_a_text_that_looks_like_a_table_is_none() -> None:
    text = '[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = "a"\ncaption_prefix = """\n[[datasets.subsets]]\n"""\n'
    made = Document(text).with_subset(0, {"image_dir": "b"}).with_value((0, 0), "num_repeats", 2).without((0, 1))
    assert made.subsets(0) == [{"image_dir": "a", "caption_prefix": "[[datasets.subsets]]\n", "num_repeats": 2}]


@pytest.mark.parametrize(
    "text",
    ["[[datasets]\n", "datasets = 3\n", "general = 1\n", "datasets = [1]\n", '[[datasets]]\nsubsets = "a"\n', "[[datasets]]\nsubsets = [1, 2]\n"],
)
def test_a_text_that_cannot_be_shown_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Document(text).checked()


def test_json_keeps_its_layout() -> None:
    data = {"datasets": [{"resolution": 512, "own": {"a": 1}, "subsets": [{"image_dir": "猫"}]}]}
    text = json.dumps(data, indent=4, ensure_ascii=False) + "\n"
    made = Document(text, "json").with_value((0, 0), "num_repeats", 3)
    assert changed(text, made.text) == (
        ['                    "image_dir": "猫"'],
        ['                    "image_dir": "猫",', '                    "num_repeats": 3'],
    )
    assert made.with_value((0, 0), "num_repeats", None).text == text
    short = '{"datasets":[{"subsets":[{"image_dir":"a"}]}]}'
    assert "\n" not in Document(short, "json").with_value((0, 0), "num_repeats", 3).text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_published_files_survive_every_edit(path: Path) -> None:
    raw = path.read_bytes()
    document = Document(raw.decode("utf-8")).checked()
    data = document.data()
    assert document.with_value((), "resolution", data.get("general", {}).get("resolution")).text.encode() == raw
    for d, dataset in enumerate(data["datasets"]):
        once = document.with_value((d,), "batch_size", 77)
        gone, came = changed(document.text, once.text)
        assert len(came) == 1 and "77" in came[0] and len(gone) == ("batch_size" in dataset)
        for s, subset in enumerate(dataset.get("subsets", [])):
            edited = document.with_value((d, s), "num_repeats", 77)
            gone, came = changed(document.text, edited.text)
            assert len(came) == 1 and "77" in came[0] and len(gone) == ("num_repeats" in subset)
            assert ("\r\n" in edited.text) == ("\r\n" in document.text) and edited.text.count("\r\n") in (0, edited.text.count("\n"))
            comments = [line for line in document.text.splitlines() if line.lstrip().startswith("#")]
            turned = document.moved((d, s), (d, 0))
            assert sorted(line for line in turned.text.splitlines() if line.lstrip().startswith("#")) == sorted(comments)


KEYS = st.sampled_from(["num_repeats", "flip_aug", "image_dir", "keep_tokens", "own_key"])
VALUES = st.one_of(st.integers(-9, 9), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False), st.just([512, 768]))
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)
DOCUMENTS = st.builds(
    lambda general, datasets: {**({"general": general} if general else {}), "datasets": [{**own, "subsets": subsets} for own, subsets in datasets]},
    TABLES,
    st.lists(st.tuples(TABLES, st.lists(TABLES, min_size=1, max_size=3)), min_size=1, max_size=3),
)
EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "drop", "add", "remove", "move", "copy", "dataset"]), st.integers(0, 99), KEYS, VALUES), max_size=6
)


@given(DOCUMENTS, EDITS)
@settings(max_examples=60, deadline=None)
def test_any_row_of_edits_says_what_it_should(data: dict[str, Any], edits: list[tuple[str, int, str, Any]]) -> None:
    document, plain = Document(tomli_w.dumps(data)), copy.deepcopy(data)
    for what, number, key, value in edits:
        spots = [(d, s) for d, row in enumerate(plain["datasets"]) for s in range(len(row.get("subsets", [])))]
        if not spots:
            break
        spot = spots[number % len(spots)]
        rows = plain["datasets"][spot[0]]["subsets"]
        document = edit(document, plain, rows, spot, (what, key, value, number % len(rows)))
        for row in plain["datasets"]:
            if not row.get("subsets", True):
                row.pop("subsets")
        assert same(document.data(), plain)


def edit(document: Document, plain: dict[str, Any], rows: list[dict[str, Any]], spot: tuple[int, int], change: tuple[str, str, Any, int]) -> Document:
    """The document after one edit, which is also done on the plain data."""
    (d, s), (what, key, value, target) = spot, change
    if what == "set":
        rows[s][key] = value
        return document.with_value(spot, key, value)
    if what == "drop":
        rows[s].pop(key, None)
        return document.with_value(spot, key, None)
    if what == "add":
        rows.append({key: value})
        return document.with_subset(d, {key: value})
    if what == "remove":
        rows.pop(s)
        return document.without(spot)
    if what == "move":
        rows.insert(target, rows.pop(s))
        return document.moved(spot, (d, target))
    if what == "copy":
        rows.insert(s + 1, copy.deepcopy(rows[s]))
        return document.copied(spot)
    plain["datasets"].append({key: value})
    return document.with_dataset({key: value})
