"""The list of runs: found again, named, compared, put away and brought back, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Server
from tests.kohya_gui.small_runs import write_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def typed(page: Page, field: str, text: str) -> None:
    """Fill one of Gradio's text fields."""
    page.locator(f"#{field}").locator("textarea, input").first.fill(text)


def row(page: Page, name: str):
    """The row of a run by its name."""
    return page.locator("#runs tbody tr").filter(has_text=name)


def test_a_run_is_named_and_found_by_its_note(server: Server, open_page: Callable[..., Page]) -> None:
    run = write_run(server.runs_dir, name="noted")
    page = open_page(f"{server.url}/run?id={run.name}")
    page.get_by_role("tab", name="Name, note, delete").last.click()
    typed(page, "note-title", "My ginger cat")
    typed(page, "note-tags", "good, cat")
    page.locator("#note-keep").click()
    expect(page.locator("#outcome")).to_contain_text("kept")
    expect(page.locator("#run-header h1")).to_have_text("My ginger cat")
    page.goto(f"{server.url}/runs")
    expect(row(page, "My ginger cat").locator(".chip")).to_have_text(["good", "cat"])
    typed(page, "runs-find", "ginger nothing")
    expect(page.locator("#runs")).to_contain_text("No run fits")
    typed(page, "runs-find", "GINGER")
    expect(page.locator("#runs tbody tr")).to_have_count(1)


def test_two_runs_are_compared(server: Server, open_page: Callable[..., Page]) -> None:
    for name in ("left", "right"):
        write_run(server.runs_dir, name=name)
    page = open_page(f"{server.url}/runs")
    expect(page.locator("#compare-button")).to_be_disabled()
    for name in ("left", "right"):
        row(page, f"_{name}").locator("input").check()
    page.locator("#compare-button").click()
    expect(page).to_have_url(re.compile(r"/compare\?ids="))
    expect(page.locator("#compare svg polyline")).to_have_count(2)
    expect(page.locator("table.compared tbody tr")).to_have_count(1)
    expect(page.locator("table.compared tbody")).to_contain_text("output_name")
    expect(page.locator("table.samples img")).to_have_count(2)


def test_a_run_is_put_away_and_brought_back(server: Server, open_page: Callable[..., Page]) -> None:
    run = write_run(server.runs_dir, name="unwanted")
    page = open_page(f"{server.url}/run?id={run.name}")
    page.get_by_role("tab", name="Name, note, delete").last.click()
    page.locator("#remove").click()
    expect(page.locator("#outcome")).to_contain_text("Nothing was moved")
    assert run.is_dir()
    page.locator("#remove-sure input").check()
    page.locator("#remove").click()
    expect(page).to_have_url(re.compile(r"/runs\?gone="))
    expect(page.locator("#outcome")).to_contain_text("lies in the trash")
    expect(row(page, "_unwanted")).to_have_count(0)
    assert not run.exists()
    page.locator("#trash button").first.click()
    page.locator("#restore").click()
    expect(row(page, "_unwanted")).to_have_count(1)
    assert run.is_dir()


def test_comparing_nothing_says_what_to_do(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/compare")
    expect(page.locator("#compare")).to_contain_text("Choose two to four runs")
