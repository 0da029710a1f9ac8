"""A real training, started, watched, stopped, resumed and downloaded from the page."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tomli_w
from playwright.sync_api import Page, expect

from kohya_gui.jobs.runs import list_runs
from tests.e2e.conftest import Material, Server
from tests.e2e.pages import field, fill

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SMALL = {
    "network_module": "networks.lora",
    "network_dim": 4,
    "resolution": "64,64",
    "caption_extension": ".txt",
    "seed": 1,
    "studio": {"launcher": {"num_cpu_threads_per_process": 1}},
}
STATE, STEP = "#run-state", "[aria-label=Step]"


def fill_in(page: Page, material: Material, *, name: str, steps: int, **more: str | bool) -> None:
    """A small training on the material."""
    field(page, "pretrained_model_name_or_path").fill(str(material.model))
    field(page, "train_data_dir").fill(str(material.pictures))
    values = {"resolution": "64,64", "bucket_reso_steps": "64", "min_bucket_reso": "64", "max_train_epochs": "", "max_train_steps": str(steps)}
    values |= {"network_dim": "4", "mixed_precision": "no", "output_name": name, "save_every_n_epochs": "", "num_cpu_threads_per_process": "1"}
    fill(page, {**values, **more})


def open_config(page: Page, server: Server, values: Mapping[str, object], material: Material) -> None:
    """Open the same as a config file."""
    path = server.folder / "small.toml"
    paths = {"pretrained_model_name_or_path": str(material.model), "train_data_dir": str(material.pictures), "output_dir": str(server.folder / "out")}
    path.write_text(tomli_w.dumps({**values, **paths}), "utf-8")
    page.locator("#config-path").locator("textarea, input").first.fill(str(path))
    page.locator("#config-open").click()
    expect(page.locator("#outcome")).to_contain_text("Opened")


def start(page: Page) -> str:
    """Press Start; the run's id."""
    page.locator("#start").click()
    expect(page).to_have_url(re.compile(r"/run\?id="), timeout=30_000)
    return page.url.split("id=")[1]


def header_of(path: Path) -> dict[str, object]:
    """The header of a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def test_the_demo_is_trained_stopped_reloaded_resumed_and_its_file_downloaded(train_page: Page, demo: Material, tmp_path: Path) -> None:
    page = train_page
    fill_in(page, demo, name="kätzchen 猫", steps=80, resolution="128,128", save_state=True)
    fill(page, {"prompts": "a zibbit on a blue ground --w 128 --h 128 --s 4 --d 1", "sample_every_n_steps": "40"})
    run_id = start(page)
    expect(page.locator(STEP)).to_have_text(re.compile(r"^[1-9]\d* of 80 steps"), timeout=120_000)
    page.locator("#stop").click()
    expect(page.locator(STATE)).to_contain_text("stopped", timeout=60_000)
    stopped_at = int(re.match(r"\d+", page.locator(STEP).inner_text())[0])
    assert 0 < stopped_at < 80
    page.locator("#resume").click()
    expect(page.locator(STATE)).to_contain_text("running", timeout=60_000)
    page.reload()
    expect(page.locator(STATE)).to_contain_text("finished", timeout=180_000)
    expect(page.locator(STEP)).to_have_text("80 of 80 steps")
    assert run_id == page.url.split("id=")[1]
    pictures = page.locator("table.samples img")
    expect(pictures.first).to_be_visible()
    assert pictures.first.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 128
    with page.expect_download() as download:
        page.locator("#run-result").get_by_label("Download kätzchen 猫.safetensors").click()
    download.value.save_as(tmp_path / "file.safetensors")
    header = header_of(tmp_path / "file.safetensors")
    assert header["__metadata__"]["ss_network_dim"] == "4"
    assert any(key.startswith("lora_unet_") for key in header)
    page.get_by_role("tab", name="Log").click()
    expect(page.locator("#log-text")).not_to_be_empty()


def test_a_run_saves_draws_and_pauses_when_asked(train_page: Page, material: Material, server: Server) -> None:
    page = train_page
    prompts = server.folder / "prompts.txt"
    prompts.write_text("a square --w 64 --h 64 --s 1 --d 1", "utf-8")
    values = {**SMALL, "output_name": "asked", "max_train_steps": 4000, "sample_prompts": str(prompts), "sample_every_n_steps": 4000}
    open_config(page, server, values, material)
    start(page)
    expect(page.locator("#save")).to_be_visible(timeout=120_000)
    page.locator("#save").click()
    page.get_by_role("tab", name="Files").click()
    expect(page.get_by_label(re.compile(r"Download asked-step\d{8}\.safetensors"))).to_be_visible(timeout=60_000)
    expect(page.locator("table.samples img")).to_have_count(0)
    page.locator("#sample").click()
    expect(page.locator("table.samples img")).to_have_count(1, timeout=60_000)
    page.locator("#pause").click()
    expect(page.locator(STATE)).to_contain_text("paused", timeout=60_000)
    paused_at = int(re.match(r"[\d,]+", page.locator(STEP).inner_text())[0].replace(",", ""))
    page.locator("#resume").click()
    expect(page.locator("#pause")).to_be_visible(timeout=60_000)
    expect(page.locator(STEP)).not_to_have_text(f"{paused_at:,} of 4,000 steps", timeout=60_000)
    page.locator("#stop").click()
    expect(page.locator(STATE)).to_contain_text("stopped", timeout=60_000)
    assert int(re.match(r"[\d,]+", page.locator(STEP).inner_text())[0].replace(",", "")) > paused_at


def test_two_viewers_see_the_same_run_and_a_restart_of_the_server_loses_nothing(
    train_page: Page, material: Material, server: Server, open_page: Callable[..., Page]
) -> None:
    open_config(train_page, server, {**SMALL, "output_name": "lasting", "max_train_steps": 4000}, material)
    run_id = start(train_page)
    other = open_page(train_page.url)
    for page in (train_page, other):
        expect(page.locator(STEP)).to_have_text(re.compile(r"^[1-9]\d* of 4,000 steps"), timeout=120_000)
    train_page.context.close()
    other.context.close()
    server.kill()
    server.start()
    again = open_page(f"{server.url}/run?id={run_id}")
    expect(again.locator(STATE)).to_contain_text("running")
    expect(again.locator("#live .job")).to_contain_text("lasting")
    again.locator("#stop").click()
    again.locator("#kill").click()
    expect(again.locator(STATE)).to_contain_text("stopped", timeout=60_000)
    assert not [run for run in list_runs(server.runs_dir) if run.status.is_active]


def test_a_run_that_does_not_exist_says_so(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{server.url}/run?id=../../etc")
    expect(page.locator("#run-header")).to_contain_text("There is no run")
