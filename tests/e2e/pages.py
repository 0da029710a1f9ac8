"""What tests do with the pages, in a person's words."""

from __future__ import annotations

from collections.abc import Mapping

from playwright.sync_api import Locator, Page, expect


def field(page: Page, name: str) -> Locator:
    """The input of an option."""
    return page.locator(f"#f-{name}").locator("textarea, input, select").first


def reach(page: Page, name: str) -> Locator:
    """Find an option by the search box, as a person would, and return its input."""
    page.locator("#find").fill(name)
    page.locator("#find").press("Enter")
    found = field(page, name)
    expect(found).to_be_focused()
    return found


def fill(page: Page, values: Mapping[str, str | bool]) -> None:
    """Type values into options, wherever they are."""
    for name, value in values.items():
        found = reach(page, name)
        if isinstance(value, bool):
            found.set_checked(value)
        elif found.evaluate("input => input.tagName") == "SELECT":
            found.select_option(value)
        else:
            found.fill(value)
            found.press("Tab")


def problem_at(page: Page, name: str) -> Locator:
    """The sentence below an option."""
    return page.locator(f"#m-{name}")
