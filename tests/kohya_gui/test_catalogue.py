"""What a language has to say is found in the code, and what its file lacks or says for nothing is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_gui.catalogue import english, report, write_template
from kohya_gui.text_origins import confirm, origins
from kohya_gui.verbs import main
from kohya_gui.verbs_languages import KINDS
from sd_scripts.errors import ConfigError


def test_every_way_to_say_something_is_found() -> None:
    texts = english().texts
    for text in (
        "Start training",  # say("...")
        "For the kohya GUI (JSON)",  # through a helper of the page
        "Setting",  # said in a loop over words
        "Captions",  # a row of a table
        "{duration} left",  # with a place
        "The server does not answer. Try again.",  # said by a script
        "Log folder",  # a label of Gradio's
    ):
        assert text in texts
    assert english().options["network_dim"]["label"] == "Rank"
    assert english().sections["LoRA"]


def test_a_template_lacks_nothing_once_it_is_filled(tmp_path: Path) -> None:
    write_template(tmp_path / "xx.json", "X")
    assert [report(tmp_path)["xx"][kind] for kind in KINDS] == [[], [], []]
    with pytest.raises(FileExistsError):
        write_template(tmp_path / "xx.json", "X")


def test_what_is_missing_and_what_is_stale_is_named(tmp_path: Path) -> None:
    write_template(tmp_path / "xx.json", "X")
    data = json.loads((tmp_path / "xx.json").read_text("utf-8"))
    del data["texts"]["Start training"], data["sections"]["LoRA"], data["options"]["network_dim"]["help"]
    data["texts"]["Nobody says this"] = "x"
    (tmp_path / "xx.json").write_text(json.dumps(data), "utf-8")
    row = report(tmp_path)["xx"]
    assert row["missing"] == ["options.network_dim.help", "sections.LoRA", "texts.Start training"]
    assert row["stale"] == ["texts.Nobody says this"]


def test_a_text_whose_english_changed_is_named_until_it_is_confirmed(tmp_path: Path) -> None:
    file = tmp_path / "xx.json"
    write_template(file, "X")
    before = english()
    rank, lora = {**before.options["network_dim"], "help": "Another help."}, "Another title"
    after = replace(before, options={**before.options, "network_dim": rank}, sections={**before.sections, "LoRA": lora})
    assert report(tmp_path, after)["xx"]["changed"] == ["options.network_dim", "sections.LoRA"]
    assert report(tmp_path, after)["xx"]["missing"] == []
    assert confirm(file, origins(after.options, after.sections)) == 2
    assert report(tmp_path, after)["xx"]["changed"] == []
    data = json.loads(file.read_text("utf-8"))
    del data["of"]["options.network_alpha"], data["options"]["network_dim"]
    file.write_text(json.dumps(data), "utf-8")
    assert report(tmp_path, after)["xx"]["changed"] == ["options.network_alpha"]
    with pytest.raises(ConfigError, match=r"no\.json cannot be changed"):
        confirm(tmp_path / "no.json", {})


@pytest.mark.parametrize("code", list(report()) or [pytest.param("", marks=pytest.mark.skip("no language yet"))])
def test_a_language_of_ours_is_complete(code: str) -> None:
    assert [report()[code][kind] for kind in KINDS] == [[], [], []]


def test_the_verb_counts_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["languages", "--check"]) == 0
    assert f"English: {len(english())} texts" in capsys.readouterr().out
    assert main(["languages", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(report())
