"""Every option of the command has its place in the form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import gradio as gr
import pytest

from kohya_gui.configs import Draft, start_draft
from kohya_gui.files import Roots
from kohya_gui.form.form import Form
from kohya_gui.form.keys import keys_of
from kohya_gui.form.section import FormSection
from kohya_gui.sections import NOT_DRAWN, SECTIONS
from kohya_gui.settings import Settings
from kohya_gui.text import Words
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.config import make_config

TRAINERS = [row for row in COMMANDS if row.kind == "train"]


@pytest.fixture(scope="module")
def drawn() -> tuple[Form, list[FormSection]]:
    """The whole form, built once."""
    with gr.Blocks(analytics_enabled=False):
        form = Form(Words(), Draft(), Roots((Path("/"),)))
        sections = [section(form) for section in SECTIONS]
        for section in sections:
            section.draw()
    return form, sections


def test_every_option_is_drawn_exactly_once(drawn: tuple[Form, list[FormSection]]) -> None:
    form, sections = drawn
    places = Counter(key for section in sections for key in section.keys)
    assert set(places) == {key for row in TRAINERS for name, key in keys_of(row).items() if name not in NOT_DRAWN} == set(form.fields)
    assert set(places.values()) == {1}


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda row: row.script)
def test_every_section_sums_an_empty_config_up_in_one_line(drawn: tuple[Form, list[FormSection]], trainer: Command) -> None:
    config = make_config(trainer, {})
    for section in drawn[1]:
        assert "\n" not in section.facts().summary(config)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda row: row.script)
def test_a_draft_of_any_trainer_is_shown_and_collected_unchanged(drawn: tuple[Form, list[FormSection]], trainer: Command) -> None:
    form, _ = drawn
    draft = start_draft(trainer, Settings())
    shown = form.show(draft)
    assert set(shown) == {form.fields[key] for name, key in keys_of(trainer).items() if name not in NOT_DRAWN}
    assert form.collect(draft, shown) == draft
    others = {widget: "x" for widget in form.fields.values() if widget not in shown}
    assert form.collect(draft, others) == draft


def test_showing_a_draft_touches_only_what_differs(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    before = Draft()
    after = before.with_value("network_dim", "8").with_value("seed", "x")
    assert form.show(after, before) == {form.fields["network_dim"]: "8", form.fields["seed"]: "x"}


def test_collecting_what_is_shown_changes_nothing(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    draft = Draft(given={"network_dim": 8, "text_encoder_lr": (5e-5,), "network_args": ("conv_dim=4",), "sdpa": True}, wrong={"seed": "x"})
    assert form.collect(draft, form.show(draft)) == draft


def test_the_search_knows_name_label_and_help_of_every_option(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    assert [row[0] for row in form.index()] == list(form.fields)
    assert all(len(row) == 3 and row[1] and row[2] for row in form.index())
