"""axe-core finds nothing serious on any page, in light and dark, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from kohya_gui.tabs.shell import PAGES
from tests.e2e.conftest import Server

pytestmark = pytest.mark.e2e
GRAVE = ("serious", "critical")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
ADDRESSES = [*(address for _, _, address in PAGES), "/run?id=none", "/compare"]


def found(page: Page) -> list[str]:
    """Grave violations, with the elements that have them."""
    violations = Axe().run(page, options=RULES).response["violations"]
    return [f"{row['id']}: {[node['html'][:120] for node in row['nodes'][:3]]}" for row in violations if row["impact"] in GRAVE]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_has_a_grave_violation(server: Server, open_page: Callable[..., Page], scheme: str, width: int) -> None:
    page = open_page(server.url, viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong = {}
    for address in ADDRESSES:
        page.goto(server.url + address)
        page.wait_for_function("document.querySelector('#live')?.childElementCount > 0")
        if address == "/":
            page.locator("#plan .verdict").wait_for()
            page.locator("[data-view=all]").click()
            page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            page.wait_for_timeout(300)
        wrong[address] = found(page)
    assert {address: rows for address, rows in wrong.items() if rows} == {}
