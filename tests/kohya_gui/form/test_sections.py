"""Every option of the command has its place in the form."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from kohya_gui.configs import Draft, start_draft
from kohya_gui.form.form import PROMPTS, Form
from kohya_gui.form.keys import keys_of
from kohya_gui.form.section import FormSection
from kohya_gui.sections import NOT_DRAWN, SECTIONS
from kohya_gui.settings import Settings
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.config import make_config

TRAINERS = [row for row in COMMANDS if row.kind == "train"]


@pytest.fixture(scope="module")
def drawn() -> tuple[Form, list[FormSection]]:
    """The whole form."""
    form = Form(Draft())
    return form, [section(form) for section in SECTIONS]


def test_every_option_is_drawn_exactly_once(drawn: tuple[Form, list[FormSection]]) -> None:
    _, sections = drawn
    places = Counter(key for section in sections for key in re.findall(r'data-key="([^"]+)"', section.markup()))
    assert set(places) == {key for row in TRAINERS for name, key in keys_of(row).items() if name not in NOT_DRAWN} | {PROMPTS}
    assert set(places) - {PROMPTS} == {key for section in sections for key in section.keys}
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
    assert set(shown) == {*keys_of(trainer).values(), PROMPTS}
    assert form.collect(draft, shown) == draft
    others = {key: "x" for row in TRAINERS for key in keys_of(row).values() if key not in shown}
    assert form.collect(draft, others) == draft


def test_collecting_what_is_shown_changes_nothing(drawn: tuple[Form, list[FormSection]]) -> None:
    form, _ = drawn
    draft = Draft(given={"network_dim": 8, "text_encoder_lr": (5e-5,), "network_args": ("conv_dim=4",), "sdpa": True}, wrong={"seed": "x"})
    assert form.collect(draft, form.show(draft)) == draft
