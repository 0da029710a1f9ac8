"""Every control of the form, changed in a real browser, changes the config that a run receives; what never applies is greyed with a reason.

Each field is driven once, with the first trainer that has it; fields that all trainers share are not driven seven times.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from effect_rows import ROWS
from playwright.sync_api import Page

from kohya_gui.form.keys import keys_of
from kohya_gui.form.switch import METHODS, family_choices
from kohya_gui.form.widgets import raw, shown
from kohya_gui.sections import NOT_DRAWN, SECTIONS
from sd_scripts.params.applies import unmet
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import read_config
from sd_scripts.params.spec import Parameter, section_of
from sd_scripts.params.values import typed

pytestmark = pytest.mark.e2e
TRAINERS = [row for row in COMMANDS if row.kind == "train"]
WORDS: Mapping[str, str] = {
    "resolution": "768,512",
    "network_args": "conv_dim=4",
    "optimizer_args": "weight_decay=0.02",
    "lr_scheduler_args": "power=2",
    "block_lr": ",".join(["1e-4"] * 23),
    "layer_ranks": "attn=4",
    "face_crop_aug_range": "2.0,4.0",
    "lr_scheduler_type": "torch.optim.lr_scheduler.ConstantLR",
    "custom_attributes": '{"a": 1}',
}
"""Values for options that take a text of a certain form and have no simple one in `effect_rows`."""


def assigned() -> dict[str, list[str]]:
    """Fields to drive, by trainer: each with the first that takes it."""
    done: set[str] = set()
    wanted: dict[str, list[str]] = {}
    for row in TRAINERS:
        fresh = [name for name, key in keys_of(row).items() if key not in done and name not in NOT_DRAWN]
        done |= {keys_of(row)[name] for name in fresh}
        wanted[row.script] = fresh
    return wanted


def another(parameter: Parameter, now: object) -> object:
    """A value that is not what the field holds now."""
    if parameter.kind == "bool":
        return not now
    if parameter.kind == "choice":
        return next(choice for choice in parameter.choices if choice != now)
    proven = ROWS[parameter.name].value if parameter.name in ROWS else None
    if parameter.name in WORDS:
        return typed(parameter, raw(parameter, WORDS[parameter.name]))
    if isinstance(proven, (str, int, float)) and not isinstance(proven, bool) and "derived" not in str(proven) and proven != now:
        return typed(parameter, raw(parameter, shown(parameter, proven)))
    if parameter.kind in ("int", "float", "number"):
        low, high = parameter.hints.min, parameter.hints.max
        for number in (3, 2, 1, 0.5, 0.25, 0):
            made = number if parameter.kind != "int" else int(number)
            inside = (low is None or made > low or (made == low and not parameter.hints.exclusive_min)) and (high is None or made <= high)
            if inside and made != now and (made,) != now:
                return typed(parameter, raw(parameter, shown(parameter, (made,) if parameter.many else made)))
    return typed(parameter, raw(parameter, "word"))


class Driver:
    """Sets fields as a person does, and knows what the form holds by asking for its config."""

    def __init__(self, page: Page, command: Command, folder: Path) -> None:
        self.page, self.command, self.file = page, command, folder / "draft.toml"

    def config(self) -> Config:
        """What a run would be given now."""
        text = self.page.evaluate("async () => (await window.studio.form.settled(), (await fetch(window.studio.base + '/draft.toml')).text())")
        self.file.write_text(text, "utf-8")
        values = tomllib.loads(text)
        assert values.get("studio", {}).get("script") == self.command.script
        return read_config(self.file, self.command)

    def set(self, name: str, value: object) -> None:
        """Type, tick or choose."""
        parameter = self.command.parameter(name)
        entry = self.page.locator(f"[id='i-{keys_of(self.command)[name]}']")
        text = shown(parameter, value)
        if isinstance(text, bool):
            entry.set_checked(text)
        elif parameter.choices and not parameter.many:
            entry.select_option(text)
        else:
            entry.fill(text)

    def reach(self, name: str, values: dict[str, Any]) -> None:
        """Set what has to be so for an option to apply; `values` is what the fields hold, and follows."""

        def value_of(key: str) -> object:
            return values.get(key, self.command.parameter(key).default)

        for _ in range(6):
            condition = unmet(self.command, name, value_of)
            if condition is None:
                return
            field, wanted = condition
            self.reach(field, values)
            parameter = self.command.parameter(field)
            chosen = wanted[0] if isinstance(wanted, tuple) else wanted
            if chosen in (True, False) and parameter.kind != "bool":
                chosen = another(parameter, value_of(field)) if chosen else None
            self.set(field, chosen)
            values[field] = chosen
        raise AssertionError(f"{name} cannot be reached")


def drawn_here(trainer: Command) -> dict[str, list[str]]:
    """The options to drive with a trainer, by section of the form."""
    wanted = set(assigned()[trainer.script])
    return {
        section.__name__: [row.name for part in section.parts if part in trainer.sections for row in section_of(part).params if row.name in wanted]
        for section in SECTIONS
    }


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda row: row.script)
def test_every_control_reaches_the_config(trainer: Command, train_page: Page, tmp_path: Path) -> None:
    page = train_page
    families = {name: title for title, name in family_choices()}
    page.get_by_label(families[trainer.family], exact=True).check()
    page.get_by_label(METHODS[trainer.method], exact=True).check()
    page.locator(f"#form-column[data-script={trainer.script}]").wait_for()
    page.get_by_role("button", name="All", exact=True).click()
    page.evaluate("document.querySelectorAll('details.section').forEach((section) => { section.open = true; })")
    driver, wrong = Driver(page, trainer, tmp_path), []
    for names in drawn_here(trainer).values():
        for name in names:
            parameter = trainer.parameter(name)
            if parameter.hints.unavailable or parameter.hints.settled:
                assert page.locator(f"[id='i-{keys_of(trainer)[name]}']").is_disabled(), f"{name} does nothing and can be set"
                continue
            config = driver.config()
            values = {key: config.value(key) for key in trainer.by_name}
            driver.reach(name, values)
            expected = another(parameter, values.get(name, parameter.default))
            driver.set(name, expected)
            got = driver.config().given.get(name)
            if parameter.hints.secret:
                assert got is None, f"{name} is a secret and stands in the config"
            elif got != expected:
                wrong.append(f"{name}: {got!r} instead of {expected!r}")
        page.evaluate("window.studio.form.tell({do: 'anew'})")
    assert wrong == []


def test_every_field_is_driven_by_some_trainer() -> None:
    drawn = {key for row in TRAINERS for name, key in keys_of(row).items() if name not in NOT_DRAWN}
    assert drawn == {keys_of(row)[name] for row in TRAINERS for name in assigned()[row.script]}
