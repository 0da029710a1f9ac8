"""The list of runs: found again, named, compared, kept, trained again, put away and brought back, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from kohya_gui.jobs.keeping import keep
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import read_note, write_note
from tests.e2e.conftest import Server
from tests.e2e.pages import field
from tests.e2e.test_accessibility import found
from tests.kohya_gui.small_runs import append_validation, write_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def row(page: Page, name: str) -> Locator:
    """The row of a run by what is written in it."""
    return page.locator("#runs tbody tr").filter(has_text=name)


def test_a_run_is_named_from_the_list_by_keyboard_and_found_by_its_note(server: Server, open_page: Callable[..., Page]) -> None:
    write_run(server.runs_dir, name="noted")
    page = open_page(f"{server.url}/runs")
    row(page, "noted").locator(".more-button").press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#note-title").fill("My ginger cat")
    page.locator("#note-tags").fill("good, cat")
    page.locator("#note-tags").press("Enter")
    expect(page.locator("#outcome")).to_contain_text("kept")
    expect(row(page, "My ginger cat").locator(".chip")).to_have_text(["good", "cat"])
    page.locator("#runs-find").fill("ginger nothing")
    expect(page.locator("#runs")).to_contain_text("No run fits")
    page.locator("#runs-find").fill("GINGER")
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    page.locator("#runs tbody .of-name a").click()
    expect(page.locator("#run-header h1")).to_have_text("My ginger cat")


def test_two_runs_are_compared(server: Server, open_page: Callable[..., Page]) -> None:
    for name in ("left", "right"):
        write_run(server.runs_dir, name=name, samples={10: 1, 20: 1})
    page = open_page(f"{server.url}/runs")
    row(page, "left").locator("input").check()
    expect(page.locator("#compare-button")).to_be_disabled()
    row(page, "right").locator("input").check()
    page.locator("#compare-button").click()
    expect(page).to_have_url(re.compile(r"/compare\?ids="))
    expect(page.locator("#compare svg polyline")).to_have_count(2)
    expect(page.locator("table.compared tbody tr")).to_have_count(1)
    expect(page.locator("table.compared tbody")).to_contain_text("output_name")
    page.locator("#compare-step").select_option("10")
    shown = page.locator("table.samples tbody:not([hidden]) img")
    expect(shown).to_have_count(2)
    shown.first.click()
    expect(page.locator("#picture .words")).to_contain_text("step 10")
    first = page.locator("#picture img").get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#picture img")).not_to_have_attribute("src", str(first))
    page.keyboard.press("Escape")
    expect(page.locator("#picture")).to_be_hidden()


def test_a_checkpoint_is_kept_and_trained_again_with_changes(server: Server, open_page: Callable[..., Page]) -> None:
    run = write_run(server.runs_dir, name="chosen", saves=(10, 20), samples={10: 2, 20: 2})
    append_validation(run, {10: 0.1, 20: 0.2})
    page = open_page(f"{server.url}/run?id={run.name}#checkpoints")
    grid = page.locator("#run-checkpoints")
    expect(grid.locator("img")).to_have_count(4)
    expect(grid.locator("thead th").nth(1)).to_contain_text("lowest validation loss")
    grid.get_by_role("button", name="Keep chosen-step00000010.safetensors").click()
    expect(page.locator("#outcome")).to_contain_text("is kept")
    expect(page.locator("#run-result")).to_contain_text("chosen-step00000010.safetensors")
    page.get_by_role("tab", name="Files").click()
    expect(page.locator("#run-files tbody tr").first).to_contain_text("chosen-step00000010.safetensors")
    page.get_by_role("button", name="Copy as chosen-kept.safetensors").click()
    expect(page.locator("#outcome")).to_contain_text("Copied to")
    with page.expect_download() as download:
        page.get_by_label("Download chosen-kept.safetensors").click()
    assert download.value.path().read_text() == "chosen-step00000010.safetensors"
    assert read_note(run).kept.endswith("chosen-step00000010.safetensors")
    page.locator("#again").click()
    expect(page).to_have_url(f"{server.url}/")
    expect(page.locator("#outcome")).to_contain_text("This form has the settings of")
    expect(field(page, "network_dim")).to_have_value("4")
    expect(field(page, "output_name")).to_have_value("chosen")


def test_a_run_is_put_away_with_its_files_and_brought_back(server: Server, open_page: Callable[..., Page]) -> None:
    run = write_run(server.runs_dir, name="unwanted")
    file = server.runs_dir / "unwanted.safetensors"
    page = open_page(f"{server.url}/run?id={run.name}")
    page.locator("#remove").click()
    expect(page.locator("#remove-words")).to_contain_text("Delete this run?")
    page.keyboard.press("Escape")
    assert run.is_dir()
    page.locator("#remove").click()
    page.locator("#remove-files").check()
    page.locator("#remove-sure").click()
    expect(page).to_have_url(re.compile(r"/runs$"))
    expect(page.locator("#outcome")).to_contain_text("is in the trash")
    expect(row(page, "unwanted")).to_have_count(0)
    assert not run.exists()
    assert not file.exists()
    page.locator("#trash summary").click()
    page.get_by_role("button", name=f"Bring {run.name} back").click()
    expect(row(page, "unwanted")).to_have_count(1)
    assert run.is_dir()
    assert file.is_file()


def test_comparing_nothing_says_what_to_do(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/compare")
    expect(page.locator("#compare")).to_contain_text("Choose two to four runs")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_pages_of_runs_have_no_grave_violation(server: Server, open_page: Callable[..., Page], scheme: str, width: int) -> None:
    one = write_run(server.runs_dir, name=f"one-{scheme}", saves=(10,), samples={10: 2, 20: 2})
    failed = write_run(server.runs_dir, name=f"failed-{scheme}", state="failed", reason="The card is full.")
    write_note(one, title="", text="too dark", tags="good")
    keep(RunView(one).refresh(), str(server.runs_dir / f"one-{scheme}-step00000010.safetensors"))
    page = open_page(f"{server.url}/runs", viewport={"width": width, "height": 900}, color_scheme=scheme)
    row(page, one.name[16:]).locator("input").check()
    row(page, one.name[16:]).locator(".more-button").click()
    wrong = {"list": found(page)}
    page.keyboard.press("Escape")
    page.locator("#delete-button").click()
    page.locator("#remove-dialog[open]").wait_for()
    wrong["deletion"] = found(page)
    for run in (one, failed):
        page.goto(f"{server.url}/run?id={run.name}")
        for tab in ("files", "checkpoints", "timeline") if run is one else ("log",):
            page.locator(f"#tab-{tab}").click()
            page.locator(f"#panel-{tab} > :not(:empty)").first.wait_for()
            wrong[f"{run.name} {tab}"] = found(page)
    page.goto(f"{server.url}/compare?ids={one.name},{failed.name}")
    page.locator("#compare svg.chart").wait_for()
    wrong["compare"] = found(page)
    assert {place: rows for place, rows in wrong.items() if rows} == {}
