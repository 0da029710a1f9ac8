"""Pictures of every page and state, for docs/tour.md: `python -m tests.e2e.tour --folder FOLDER`. It trains the demo for real, about two minutes.

FOLDER is where its server works; the pictures show its path. It must not exist.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from playwright.sync_api import Browser, Page, sync_playwright

from kohya_gui.jobs.runs import list_runs
from sd_scripts.params.events import EVENTS_FILE
from tests.e2e.conftest import FLAGS, ROOT, Server
from tests.kohya_gui.small_runs import write_run

OPENING = "Every page, taken by `python -m tests.e2e.tour`."
MADE_UP = "The run zibbit is a real training of the demo; the other runs are written to show their states, with pictures of its dataset."
OUT = ROOT / "docs" / "pictures" / "tour"
PAGE = ROOT / "docs" / "tour.md"
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
QUALITY = 62
LONG = "a-very-long-name-that-somebody-gave-their-training-because-names-are-all-they-have_v12_final_really-final"
SETTLE_MS = 900
Deed = Callable[[Page], None]


@dataclass(frozen=True)
class Stop:
    """One picture: its file, what it shows, the address, and what is done before it is taken."""

    name: str
    words: str
    address: str
    deed: Deed = lambda page: None
    phone: bool = False
    dark: bool = False


def main() -> int:
    """Train, take the pictures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True)
    server = Server(folder)
    taken = folder / "tour"
    taken.mkdir()
    try:
        server.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            stops = list(take(browser, server, taken))
            browser.close()
    finally:
        server.close()
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(taken, OUT)
    lines = ["# Tour", "", f"{OPENING} {MADE_UP}", ""]
    lines += [f"## {stop.words}\n\n![{stop.words}](pictures/tour/{stop.name}.jpg)\n" for stop in stops]
    PAGE.write_text("\n".join(lines), "utf-8")
    return 0


def take(browser: Browser, server: Server, folder: Path) -> Iterator[Stop]:
    """Take all pictures into `folder`, the empty states first."""
    for stop in empty_stops():
        yield shot(browser, server, stop, folder)
    dataset, model = server.folder / "bluebird", server.folder / "tiny.safetensors"
    shutil.copytree(ROOT / "demo" / "dataset", dataset)
    shutil.copy(ROOT / "demo" / "model.safetensors", model)
    (dataset / next(dataset.rglob("*.png")).parent.relative_to(dataset) / "broken.png").write_bytes(b"no picture")
    config = server.folder / "demo.toml"
    ours = tomllib.loads((ROOT / "demo" / "config.toml").read_text("utf-8")) | {"output_dir": str(server.folder / "out")}
    config.write_text(tomli_w.dumps(ours), "utf-8")
    command = [sys.executable, str(ROOT / "gui.py"), "train", str(config), "--runs_dir", str(server.runs_dir)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    trained = list_runs(server.runs_dir)[0]
    write_run(server.runs_dir, name=LONG, state="interrupted", reason="The machine was switched off.")
    write_run(
        server.runs_dir, name="portrait", state="failed", reason="The card is full: 11.9 of 12.0 GB were in use when 512 MB more were asked for."
    )
    write_run(server.runs_dir, name="style-a", state="stopped", reason="Stopped by a person.", saves=(10,), samples={10: 1, 20: 1})
    write_run(server.runs_dir, name="style-b", saves=(10,), samples={10: 1, 20: 1})
    for number, run in enumerate(list_runs(server.runs_dir)):
        if run.id != trained.id:
            as_of_a_training(server.runs_dir / run.id, pace=6 + 3 * number)
    failed = next(run for run in list_runs(server.runs_dir) if run.name == "portrait")
    pair = [run.id for run in list_runs(server.runs_dir) if run.name.startswith("style")]
    for stop in full_stops(trained.id, failed.id, pair, dataset=dataset, model=model):
        yield shot(browser, server, stop, folder)


def as_of_a_training(run: Path, *, pace: float) -> None:
    """Put what a training would have said and drawn in the place of what tests of escaping need. Its loss falls within `pace` steps."""
    (run / "log.txt").write_text("loading the model\ncaching latents\nsteps: 20/40\n", "utf-8")
    path = run / EVENTS_FILE
    events = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    pictures = sorted((ROOT / "demo" / "dataset" / "10_zibbit").glob("*.png"))
    for event in events:
        event["t"] += 4 * event.get("step", 0)
        if event["kind"] == "sample":
            event["prompt"] = "a zibbit on a blue ground"
            shutil.copyfile(pictures[event["step"] // 10 % len(pictures)], event["path"])
        elif event["kind"] == "step":
            event["avg_loss"] = 0.04 + 0.1 * math.exp(-event["step"] / pace)
            event["loss"] = event["avg_loss"] * (0.8 + event["step"] * 7 % 5 / 10)
    path.write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")


def shot(browser: Browser, server: Server, stop: Stop, folder: Path) -> Stop:
    """Take one picture."""
    context = browser.new_context(viewport=PHONE if stop.phone else DESK, color_scheme="dark" if stop.dark else "light")
    page = context.new_page()
    page.goto(server.url + stop.address)
    page.wait_for_function("document.querySelector('#live')?.childElementCount > 0")
    page.wait_for_timeout(SETTLE_MS)
    stop.deed(page)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / f"{stop.name}.jpg", type="jpeg", quality=QUALITY)
    context.close()
    return stop


def empty_stops() -> Iterator[Stop]:
    """Every page before anything was done."""
    yield Stop("train-empty", "Train: five questions to begin with", "/")
    yield Stop("runs-empty", "Runs: none yet", "/runs")
    yield Stop("dataset-empty", "Dataset: none yet", "/dataset")
    yield Stop("captions-empty", "Captions: no folder yet", "/captions")
    yield Stop("tensorboard-empty", "TensorBoard: no logs yet", "/tensorboard")
    yield Stop("run-none", "A run that is not there", "/run?id=none")


def full_stops(trained: str, failed: str, pair: list[str], *, dataset: Path, model: Path) -> Iterator[Stop]:
    """Every page at work."""

    def filled(page: Page) -> None:
        page.locator("#i-pretrained_model_name_or_path").fill(str(model))
        page.locator("#i-train_data_dir").fill(str(dataset))
        page.locator("#i-train_data_dir").press("Tab")
        page.locator("#plan .verdict").wait_for()

    def wrong(page: Page) -> None:
        page.locator("[data-view=all]").click()
        page.locator("#find").fill("learning_rate")
        page.locator("#find").press("Enter")
        page.locator("#i-learning_rate").fill("fast")
        page.locator("#i-learning_rate").press("Tab")

    def preset(page: Page) -> None:
        page.locator("#preset").select_option("sd-style-08gb")
        page.locator("[data-do=preset-apply]").wait_for()

    def tab(name: str) -> Deed:
        def press(page: Page) -> None:
            page.locator(f"#tab-{name}").click()
            page.locator(f"#tab-{name}").scroll_into_view_if_needed()

        return press

    def added(page: Page) -> None:
        page.locator("#ds-folder").fill(str(dataset))
        page.locator("#ds-folder").press("Enter")
        page.locator(".ds-card").first.wait_for()
        page.wait_for_timeout(2 * SETTLE_MS)

    def view(name: str) -> Deed:
        return lambda page: page.get_by_role("button", name=name, exact=True).click()

    yield Stop("train-filled", "Train: model and pictures named, the plan beside them", "/", filled)
    yield Stop("train-wrong", "Train: a mistake, where it was made", "/", wrong)
    yield Stop("train-preset", "Train: what a preset changes, before it does", "/", preset)
    yield Stop("train-phone", "Train on a phone", "/", phone=True, dark=True)
    yield Stop("runs", "Runs: how each ended", "/runs")
    yield Stop("runs-phone", "Runs on a phone", "/runs", phone=True, dark=True)
    yield Stop("run-finished", "A run that has finished", f"/run?id={trained}")
    yield Stop("run-checkpoints", "Its checkpoints, prompt by prompt", f"/run?id={trained}", tab("checkpoints"))
    yield Stop("run-timeline", "Where its time went", f"/run?id={trained}", tab("timeline"), dark=True)
    yield Stop("run-phone", "The same on a phone", f"/run?id={trained}", phone=True, dark=True)
    yield Stop("run-failed", "A run that failed, and why", f"/run?id={failed}")
    yield Stop("compare", "Two runs beside each other", f"/compare?ids={','.join(pair)}")
    yield Stop("dataset-pictures", "Dataset: what lies in a folder, and what is wrong with it", "/dataset", added)
    yield Stop("dataset-options", "Dataset: the options of a folder", "/dataset", view("Options"))
    yield Stop("dataset-buckets", "Dataset: the buckets", "/dataset", view("Buckets"), dark=True)
    yield Stop("dataset-phone", "Dataset on a phone", "/dataset", phone=True)
    pictures = next(dataset.rglob("*.png")).parent
    yield Stop("captions", "Captions: a folder at once", f"/captions?folder={pictures}")
    yield Stop("captions-phone", "Captions on a phone", f"/captions?folder={pictures}", phone=True, dark=True)
    yield Stop("settings", "Settings", "/settings")
    yield Stop("about", "About: what is sent along with a report", "/about", lambda page: page.locator("#diagnostics-show").click())


if __name__ == "__main__":
    raise SystemExit(main())
