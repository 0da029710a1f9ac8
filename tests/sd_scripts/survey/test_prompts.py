"""Prompt files: every recorded line and file, and that nothing is dropped without a word."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.errors import ConfigError
from sd_scripts.survey.prompts import FAMILY_OPTIONS, OPTIONS, Prompt, parse_line, read_prompt_file, read_prompts, without_effect

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "samples.json").read_text("utf-8"))
DEVIATIONS = {
    row["case"]: row["value"]
    for row in tomllib.loads((GOLDEN_FOLDER / "deviations.toml").read_text("utf-8"))["deviation"]
    if row["file"] == "samples.json"
}


@pytest.mark.parametrize("case", GOLDEN["lines"], ids=lambda case: case["line"])
def test_a_recorded_line_means_the_same(case):
    assert parse_line(case["line"])[0] == DEVIATIONS.get(case["line"], case["result"])


@pytest.mark.parametrize("case", GOLDEN["files"], ids=lambda case: case["name"])
def test_a_recorded_file_means_the_same(case, tmp_path):
    path = tmp_path / case["name"]
    path.write_bytes(case["content"].encode())
    expected = DEVIATIONS.get(case["name"], case.get("result"))
    if expected is None:
        with pytest.raises(ConfigError, match="sample_prompts"):
            read_prompts(path, sampler="euler")
        return
    wanted = [{**entry, "index": entry["enum"]} for entry in expected]
    made = [asdict(prompt) for prompt in read_prompts(path, sampler="euler")]
    defaults = asdict(Prompt("", sample_sampler="euler"))
    assert made == [{**defaults, **{key: value for key, value in entry.items() if key in defaults}} for entry in wanted]


def test_what_has_no_effect_is_told_with_its_place(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("a cat\na dog --steps 20 --d -1 --w 64\n", "utf-8")
    messages = [problem.message for problem in read_prompt_file(path, sampler="ddim").problems]
    assert messages == ["p.txt, prompt 2: '--steps 20' has no effect.", "p.txt, prompt 2: '--d -1' has no effect."]


def test_an_option_that_the_family_does_not_take_is_told_with_its_prompts(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("a cat --g 3.5\na dog --cn dog.png --l 7\na cow --g 2", "utf-8")
    prompts = read_prompts(path, sampler="ddim")
    assert [problem.message for problem in without_effect(prompts, frozenset({"cn"}))] == ["Prompt 1, 3: --g has no effect with this kind of model."]
    assert not list(without_effect(prompts, frozenset(FAMILY_OPTIONS)))


def test_an_unknown_sampler_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "p.txt").write_text("a cat --ss euler_b", "utf-8")
    with pytest.raises(ConfigError, match="Did you mean euler"):
        read_prompts(tmp_path / "p.txt", sampler="ddim")


@pytest.mark.parametrize(
    ("name", "content"),
    [("p.toml", "]"), ("p.json", "["), ("p.json", '[{"width": 3}]'), ("p.json", '[{"prompt": "a", "width": "x"}]'), ("p.txt", b"\xff\xfe")],
)
def test_a_malformed_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match="sample_prompts"):
        read_prompts(tmp_path / name, sampler="ddim")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_prompts(tmp_path / "p.txt", sampler="ddim")


@given(st.text(max_size=30), st.lists(st.tuples(st.sampled_from([*OPTIONS, "x", ""]), st.text(max_size=8)), max_size=5))
def test_no_line_breaks_the_parser_and_the_prompt_stays_what_it_was(prompt, options):
    line = prompt.replace(" --", "") + "".join(f" --{name} {value}" for name, value in options)
    values, _ignored = parse_line(line)
    assert values["prompt"] == line.split(" --")[0]


def test_every_deviation_is_of_a_recorded_case_and_differs_from_it():
    recorded = {case["line"]: case["result"] for case in GOLDEN["lines"]} | {case["name"]: case.get("result") for case in GOLDEN["files"]}
    assert DEVIATIONS
    assert all(recorded[case] != value for case, value in DEVIATIONS.items())
