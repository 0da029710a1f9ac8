"""From an empty page to a started LoRA on a flat folder of pictures: at most 4 clicks and 2 typed fields, and at most 25 Tab presses by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Material, Server

pytestmark = pytest.mark.e2e
MOST_TABS = 25


@pytest.fixture
def fresh(server: Server, material: Material, open_page: Callable[..., Page]) -> Iterator[Page]:
    """The Train page as nobody has used it."""
    page = open_page(server.url)
    page.locator("#plan .verdict").wait_for()
    page.locator("#config-reset").click()
    page.locator("#outcome .told.good").wait_for()
    page.reload()
    page.locator("#plan .verdict").wait_for()
    yield page
    stop = page.locator("#stop")
    if stop.is_visible():
        stop.click()


def started(page: Page) -> None:
    """The run's page is there."""
    expect(page).to_have_url(re.compile(r"/run\?id="), timeout=30_000)
    expect(page.locator("h1, .run-title").first).to_be_visible()


def test_the_first_training_takes_four_clicks_and_two_typed_fields(fresh: Page, material: Material, tmp_path: Path) -> None:
    expect(fresh.locator("#guide-start")).to_be_visible()
    fresh.locator("#g-pictures").click()
    fresh.keyboard.type(str(material.pictures))
    fresh.locator("#g-model").click()
    fresh.keyboard.type(str(material.model))
    fresh.locator("#guide-start").click()
    started(fresh)


def test_the_keyboard_alone_starts_a_training(fresh: Page, material: Material) -> None:
    fresh.evaluate("document.activeElement.blur()")
    tabs = 0

    def reach(id_: str) -> None:
        nonlocal tabs
        while fresh.evaluate("document.activeElement.id") != id_:
            fresh.keyboard.press("Tab")
            tabs += 1
            assert tabs <= MOST_TABS, f"{id_} was not reached"

    reach("g-pictures")
    fresh.keyboard.type(str(material.pictures))
    reach("g-model")
    fresh.keyboard.type(str(material.model))
    reach("g-name")
    fresh.keyboard.type("by_keyboard")
    reach("guide-start")
    fresh.keyboard.press("Enter")
    started(fresh)
    assert tabs <= MOST_TABS


def test_what_is_missing_is_said_on_the_card(fresh: Page) -> None:
    fresh.locator("#guide-fill").click()
    expect(fresh.locator("#guide-outcome .told.bad")).to_contain_text("No pictures are named")
