"""What was written in English before anyone knew who reads it, in the reader's language: errors, findings, how a run ended."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_gui.configs import import_file
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.outcome import SAID, sentence
from kohya_gui.jobs.runs import read_status
from kohya_gui.jobs.states import write_status
from kohya_gui.retelling import Retelling
from kohya_gui.sentences import sentences_of
from kohya_gui.tabs.run_parts import verdict
from kohya_gui.text import all_words, clock, duration, error_words, every, plural, read_words, retell, speaking
from sd_scripts.errors import ConfigError, DataError, TrainingError
from sd_scripts.params.commands import command
from tests.kohya_gui.small_runs import write_run

CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"
GERMAN = Retelling(
    {
        "{0} has {1} bytes, but {2} were written.": "{0}: {2} Bytes geschrieben, {1} da.",
        "{0} has {1}.": "{0} hat {1}.",
        "{0} is {state}; there is nothing to stop.": "{0}: {state}, nichts anzuhalten.",
        "Process {0} failed: {1}": "Prozess {0} scheiterte: {1}",
        "Check the disk.": "Den Datenträger prüfen.",
        "{0} and {0}.": "{0} und {0}.",
    },
    {"running": "läuft", "Try again in a moment.": "Gleich noch einmal versuchen.", "disk": "Platte"},
)


@pytest.mark.parametrize(
    ("english", "told"),
    [
        ("Check the disk.", "Den Datenträger prüfen."),
        ("/a b/c.safetensors has 1,234 bytes, but 99 were written.", "/a b/c.safetensors: 99 Bytes geschrieben, 1,234 da."),
        ("it has 5.", "it hat 5."),
        ("'two words' has 5.", "'two words' hat 5."),
        ("/my pictures has 5.", "/my pictures hat 5."),
        ("Some other sentence has 5.", "Some other sentence has 5."),
        ("Stable Diffusion 3 has 5.", "Stable Diffusion 3 hat 5."),
        ("a-run is running; there is nothing to stop.", "a-run: läuft, nichts anzuhalten."),
        ("Process 1 failed: Check the disk.", "Prozess 1 scheiterte: Den Datenträger prüfen."),
        ("x and x.", "x und x."),
        ("x and y.", "x and y."),
        ("Try again in a moment.", "Gleich noch einmal versuchen."),
        ("disk", "disk"),
        ("x and x. Check the disk.", "x und x. Den Datenträger prüfen."),
        ("--resume: Check the disk.", "--resume: Den Datenträger prüfen."),
        ("/my pictures/a.png: Check the disk.", "/my pictures/a.png: Den Datenträger prüfen."),
        ("Some words: Check the disk.", "Some words: Check the disk."),
        ("Check the disk. Nobody knows this.", "Check the disk. Nobody knows this."),
        ("", ""),
        ("Check the disk. " * 200, "Check the disk. " * 200),
        ("/two\nlines has {braces}.", "/two\nlines hat {braces}."),
        ("CUDA error: device-side assert", "CUDA error: device-side assert"),
    ],
)
def test_a_sentence_is_recognised_by_its_template_and_its_values_stay(english: str, told: str) -> None:
    assert GERMAN.of(english) == told


def test_sentences_are_found_where_they_are_written() -> None:
    found = sentences_of(
        ast.parse(
            '''
def f(path, run):
    """Some documentation."""
    say("This is said.")
    if path:
        raise RunError(f"{path.name} cannot be written: {failed.strerror or failed}.", fix="Choose another.")
    return f"{run.status.state} of {path.name} is {path.name!r}, {{so}}." if run else "no sentence"
'''
        )
    )
    assert set(found) == {"{0} cannot be written: {1}.", "Choose another.", "{state} of {0} is {0}, {{so}}."}
    of_options = sentences_of(ast.parse('x, y, z = "cache_latents says so.", f"It has no effect. {why}", "and so on."'))
    assert set(of_options) == {"cache_latents says so.", "It has no effect. {0}"}
    refused = sentences_of(ast.parse('x = "This is not refused."\nyield_(error("a", "This is found.", "Mend it."))'), refusals_only=True)
    assert set(refused) == {"This is found.", "Mend it."}


def test_an_old_runs_end_is_told_in_every_language(tmp_path: Path) -> None:
    run = write_run(tmp_path, state="failed")
    path = tmp_path / "a.safetensors"
    ended = replace(read_status(run), reason=f"The training ended, but {path} is missing.", fix="Run setup.py again.")
    write_status(run, ended)
    for words in all_words().values():
        with speaking(words):
            shown = verdict(RunView(run).refresh())
        assert str(path) in shown
        assert ("The training ended" in shown, "Run setup.py again" in shown) == (words.language == "en",) * 2


def test_every_end_that_our_trainers_tell_is_a_sentence_of_the_catalogue() -> None:
    for words in all_words().values():
        if words.language != "en":
            assert not [told for told in SAID.values() if not words.sentences.get(told)]
    assert sentence("stopped on request") == "Stopped on request."
    assert sentence("the disk is full") == "The disk is full."


def test_what_became_of_other_programs_configs_is_told_in_every_language() -> None:
    notes = set[str]()
    for path in sorted(CONFIGS.rglob("*.*")):
        if path.suffix in (".json", ".toml", ".yaml", ".yml"):
            notes |= set(_notes(path))
    assert len(notes) > 150
    for words in all_words().values():
        if words.language != "en":
            with speaking(words):
                assert sorted(note for note in notes if retell(note) == note) == []


def _notes(path: Path) -> Iterator[str]:
    """What an import says of the file and its keys; a note without a full stop is a value."""
    try:
        imported = import_file(path, command("train_network"))
    except TrainingError as refused:
        yield from (text for text in (refused.message, refused.fix) if text)
        return
    yield from (row.note for row in imported.rows if row.note.endswith("."))
    for problem in imported.config.notes:
        yield from (text for text in (problem.message, problem.fix) if text)


def test_errors_name_their_option_or_file_in_front() -> None:
    with speaking(read_words("de")):
        assert error_words(ConfigError("gpu_ids", "'x' is no number.", fix="Write one, such as 8.")).startswith("--gpu_ids: 'x' ist keine Zahl. ")
        assert error_words(DataError("The folder does not exist.", path="/p")) == "/p: Den Ordner gibt es nicht."
        assert retell("") == ""
    assert error_words(ConfigError("a", "Wrong.", fix="Mend it.")) == "--a: Wrong. Mend it."


def test_numbers_and_times_are_told_in_the_readers_language() -> None:
    then = 1_767_225_600.0 + 40 * 86_400
    with speaking(read_words("de")):
        assert [duration(None), duration(45), duration(540), duration(7500)] == ["wird gemessen…", "45 s", "9 min", "2 h 05 min"]
        assert [plural(1, "picture"), plural(2000, "picture"), every(1, "step"), every(50, "step")] == [
            "1 Bild",
            "2,000 Bilder",
            "jeden Schritt",
            "alle 50 Schritte",
        ]
        assert "Feb. 2026" in clock(then)
    with speaking(read_words("ja")):
        assert "2026年2月" in clock(then)
    assert "Feb 2026" in clock(then)
