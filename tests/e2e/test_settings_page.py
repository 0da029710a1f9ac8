"""Settings and About in a browser: what is saved counts for a new form, the colours stay, and the text for reports is seen before it is saved."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Server
from tests.e2e.pages import field

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_default_that_is_added_is_what_an_empty_form_starts_with(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/settings")
    page.locator("#settings-option").fill("seed")
    page.keyboard.press("Enter")
    page.get_by_label("Value of Seed").fill("4711")
    expect(page.locator("#settings-changed")).to_have_text("Not saved yet.")
    page.locator("#settings-save").click()
    expect(page.locator("#settings-told .told.good")).to_contain_text("Saved in")
    assert tomllib.loads((server.folder / "config.toml").read_text("utf-8"))["defaults"] == {"seed": 4711}
    try:
        page.goto(server.url)
        page.locator("#plan .verdict").wait_for()
        page.locator("#config-reset").click()
        expect(field(page, "seed")).to_have_value("4711")
    finally:
        page.goto(f"{server.url}/settings")
        page.locator("#settings-defaults [data-drop]").click()
        page.locator("#settings-save").click()
        page.locator("#settings-told .told.good").wait_for()
    assert tomllib.loads((server.folder / "config.toml").read_text("utf-8"))["defaults"] == {}


def test_a_refused_setting_says_why_and_stays_typed(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/settings")
    page.locator("#s-output_dir").fill("/etc")
    page.locator("#settings-save").click()
    expect(page.locator("#settings-told .told.bad")).to_contain_text("may not open this place")
    expect(page.locator("#s-output_dir")).to_have_value("/etc")
    page.locator("#settings-back").click()
    expect(page.locator("#s-output_dir")).to_have_value(str(server.folder / "out"))


def test_a_token_is_kept_and_forgotten(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/settings")
    page.locator("#t-WANDB_API_KEY").fill("0123456789abcdef")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-work")).to_contain_text("it ends in cdef")
    assert (server.runs_dir / ".secrets.json").stat().st_mode & 0o777 == 0o600
    page.locator("[data-forget=WANDB_API_KEY]").click()
    expect(page.locator("#settings-told .told")).to_contain_text("forgotten")
    assert "cdef" not in (server.runs_dir / ".secrets.json").read_text("utf-8")


def test_keeping_a_token_takes_nothing_else_away(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/settings")
    page.locator("#s-output_dir").fill("/etc")
    page.locator("#t-HF_TOKEN").fill("hf_other")
    page.locator("#t-WANDB_API_KEY").fill("0123456789abcdef")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-work")).to_contain_text("it ends in cdef")
    expect(page.locator("#t-WANDB_API_KEY")).to_be_focused()
    expect(page.locator("#s-output_dir")).to_have_value("/etc")
    expect(page.locator("#t-HF_TOKEN")).to_have_value("hf_other")
    page.locator("#settings-back").click()
    expect(page.locator("#s-output_dir")).to_have_value(str(server.folder / "out"))
    expect(page.locator("#t-HF_TOKEN")).to_have_value("hf_other")
    page.locator("[data-forget=WANDB_API_KEY]").click()
    expect(page.locator("#settings-told .told")).to_contain_text("forgotten")


def test_the_colours_stay_with_the_browser(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/settings", color_scheme="light")
    page.get_by_label("Dark", exact=True).check()
    page.goto(f"{server.url}/about")
    expect(page.locator("body")).to_have_class("dark")


def test_the_text_for_reports_is_seen_before_it_is_saved(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/about")
    expect(page.get_by_role("link", name="Save as a file")).to_be_hidden()
    page.locator("#diagnostics-show").click()
    expect(page.locator("#diagnostics")).to_contain_text("== Machine ==")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as a file").click()
    assert download.value.suggested_filename == "diagnostics.txt"
