"""The TensorBoard page: started from the page, shown in it, stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from torch.utils.tensorboard import SummaryWriter

from tests.e2e.conftest import Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_curves_are_shown_inside_the_page(server: Server, open_page: Callable[..., Page]) -> None:
    folder = server.folder / "curves 猫"
    writer = SummaryWriter(str(folder / "one"))
    writer.add_scalar("loss/average", 0.25, 1)
    writer.close()
    page = open_page(f"{server.url}/tensorboard")
    expect(page.locator("#board-state")).to_contain_text("log folder")
    page.locator("#board-folder").locator("input, textarea").fill(str(folder))
    page.locator("#board-start").click()
    inside = page.frame_locator("#board-frame iframe")
    expect(inside.locator("body")).to_contain_text("loss/average", timeout=90_000)
    page.locator("#board-stop").click()
    expect(page.locator("#board-state")).to_contain_text("TensorBoard is not running")
    expect(page.locator("#board-frame iframe")).to_have_count(0)
