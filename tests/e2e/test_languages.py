"""The pages in every language of ours: the form's labels and the page of a run, with nothing left in English that a catalogue says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from kohya_gui.page_language import COOKIE
from kohya_gui.text import all_words
from sd_scripts.params.commands import command
from tests.e2e.conftest import Server
from tests.kohya_gui.small_runs import write_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
LANGUAGES = {code: words for code, words in all_words().items() if code != "en"}


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_form_and_a_run_speak_the_readers_language(server: Server, open_page: Callable[..., Page], code: str) -> None:
    words = LANGUAGES[code]
    run = write_run(server.runs_dir, name=f"in-{code}", saves=(10,))
    page = open_page(f"{server.url}/about")
    page.context.add_cookies([{"name": COOKIE, "value": code, "url": server.url}])
    page.goto(server.url)
    page.locator("#plan .verdict").wait_for()
    assert page.evaluate("document.documentElement.lang") == code
    parameters = {row.name: row for row in command("train_network").parameters}
    shown = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.field label.name[for]')].map((row) => [row.htmlFor.slice(2), row.textContent]))"
    )
    known = {name: text for name, text in shown.items() if name in parameters}
    assert len(known) > 150
    assert {name: text for name, text in known.items() if text != words.label(parameters[name])} == {}
    expect(page.locator("#start")).to_have_text(words.text("Start training"))
    page.goto(f"{server.url}/run?id={run.name}")
    expect(page.locator("#run-state")).to_contain_text(words.text("finished"))
    expect(page.locator("#tab-files")).to_have_text(words.text("Files"))
    expect(page.locator("#side a.nav").first).to_contain_text(words.text("Train"))


def test_an_english_page_says_so_in_a_german_browser(server: Server, browser: Browser) -> None:
    page = browser.new_page(locale="de-DE")
    page.goto(server.url)
    page.locator("#plan .verdict").wait_for()
    assert page.evaluate("navigator.language") == "de-DE"
    assert page.evaluate("document.documentElement.lang") == "en"
    page.close()
