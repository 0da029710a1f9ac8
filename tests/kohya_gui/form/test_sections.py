"""Every option of the command has its place in the form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import gradio as gr
import pytest

from kohya_gui.configs import Draft
from kohya_gui.files import Roots
from kohya_gui.form.form import Form
from kohya_gui.form.section import FormSection
from kohya_gui.sections import NOT_DRAWN, SECTIONS
from kohya_gui.text import Words
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

LORA = command("train_network")


@pytest.fixture(scope="module")
def drawn() -> tuple[Form, list[FormSection]]:
    """The whole form, built once."""
    with gr.Blocks(analytics_enabled=False):
        form = Form(LORA, Words(), Draft(), Roots((Path("/"),)))
        sections = [section(form) for section in SECTIONS]
        for section in sections:
            section.draw()
    return form, sections


def test_every_option_is_drawn_exactly_once(drawn: tuple[Form, list[FormSection]]) -> None:
    form, sections = drawn
    places = Counter(name for section in sections for name in section.names)
    assert set(places) == set(LORA.by_name) - set(NOT_DRAWN) == set(form.fields)
    assert set(places.values()) == {1}


def test_every_section_sums_an_empty_config_up_in_one_line(drawn: tuple[Form, list[FormSection]]) -> None:
    config = make_config(LORA, {})
    for section in drawn[1]:
        assert "\n" not in section.summary(config)


def test_showing_a_draft_touches_only_what_differs(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    before = Draft()
    after = before.with_value(LORA, "network_dim", "8").with_value(LORA, "seed", "x")
    assert form.show(after, before) == {form.fields["network_dim"]: "8", form.fields["seed"]: "x"}


def test_collecting_what_is_shown_changes_nothing(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    draft = Draft(given={"network_dim": 8, "text_encoder_lr": (5e-5,), "network_args": ("conv_dim=4",), "sdpa": True}, wrong={"seed": "x"})
    assert form.collect(draft, form.show(draft)) == draft


def test_the_search_knows_name_label_and_help_of_every_option(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    assert [row[0] for row in form.index()] == list(form.fields)
    assert all(len(row) == 3 and row[1] and row[2] for row in form.index())
