"""The page: seconds from the command to the first answer, bytes of the first load, seconds until a field can be used, and how quickly it answers.

    python -m benchmarks.gui [--repeat N] [--json]

Beside it, in the same run, stands an empty Gradio app of four components: what is below that floor is not ours to save. Needs Chromium and
playwright (`python setup.py test` installs both). Times are the best of N, bytes are what went over the wire, compressed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tomli_w
from playwright.sync_api import Browser, CDPSession, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("STUDIO_CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
OURS, FLOOR = 7981, 7982
FIELD = "input[type=text], textarea"
LATEST_S = 60.0
WATCH = f"""
    const look = () => {{
        const field = document.querySelector("{FIELD}");
        if (field?.offsetParent) window.studioFieldAt = performance.now();
        else requestAnimationFrame(look);
    }};
    requestAnimationFrame(look);
"""
"""The page itself notes when its first text field is there: a look from outside comes in steps of up to half a second."""
TIMED = """([deed, wanted]) => new Promise((resolve, reject) => {
    const [how, where, value] = deed.split(":"), [what, place, text] = wanted.split(":");
    const entry = document.querySelector(where), started = performance.now();
    const done = () => {
        const shown = document.querySelector(place);
        return what === "value" ? shown?.value === text : shown?.textContent.includes(text);
    };
    const look = () => {
        const taken = performance.now() - started;
        if (done()) resolve(taken);
        else if (taken > 10000) reject(new Error(`${deed}: nothing came of it: ${document.querySelector("#outcome")?.textContent}`));
        else requestAnimationFrame(look);
    };
    if (how === "click") entry.click();
    else { entry.value = value; entry.dispatchEvent(new Event("input", { bubbles: true })); }
    look();
})"""
"""Do one thing and wait for another, both in the page: {set or click}:selector:value, {text or value}:selector:what it must be."""
PAUSE_MS = 1000
SETTLED_MS = 3000
"""After a field is usable: what a page loads later counts too."""
ANSWERS = {
    "edit_ms": "key to updated summary (goal 200)",
    "preset_ms": "preset on screen (goal 600)",
    "config_ms": "config on screen (goal 600)",
    "page_ms": "page switch (goal 300)",
}
EMPTY_APP = f"""
import gradio as gr
with gr.Blocks(analytics_enabled=False) as app:
    text, number, box, button = gr.Textbox(), gr.Number(), gr.Checkbox(), gr.Button()
app.launch(server_port={FLOOR}, quiet=True, show_error=False)
"""


def our_command(folder: Path) -> list[str]:
    """Our GUI with folders of its own."""
    settings = folder / "config.toml"
    settings.write_text(tomli_w.dumps({"runs_dir": str(folder / "runs"), "output_dir": str(folder / "out"), "allowed_roots": [str(folder)]}), "utf-8")
    return [sys.executable, "-m", "kohya_gui", "--config", str(settings), "--headless", "--server_port", str(OURS)]


@contextmanager
def served(command: list[str], port: int) -> Generator[tuple[str, float], None, None]:
    """The program while it serves: its address, and the seconds until it first answered. Raises TimeoutError."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"}
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        yield address, _first_answer(address, started)
    finally:
        process.terminate()
        process.wait()


def page_ready(browser: Browser, address: str) -> tuple[float, int]:
    """Seconds from the request until something can be typed into the first text field, in a browser without a cache; and the bytes received."""
    context = browser.new_context()
    page = context.new_page()
    network = context.new_cdp_session(page)
    received = _count_bytes(network)
    page.add_init_script(WATCH)
    page.goto(address, wait_until="commit")
    page.locator(FIELD).first.fill("typed")
    if page.locator(FIELD).first.input_value() != "typed":
        raise RuntimeError(f"what was typed into the first field of {address} is gone")
    seconds = page.evaluate("window.studioFieldAt") / 1000
    page.wait_for_timeout(SETTLED_MS)
    total = received()
    context.close()
    return seconds, total


def answers(browser: Browser, address: str, folder: Path, *, repeat: int) -> dict[str, float]:
    """Milliseconds, medians: from a key to the summary that names its effect, from a button to a preset's or config's values, from link to page."""
    config = folder / "config-to-open.toml"
    config.write_text('network_dim = 77\n\n[studio]\nscript = "train_network"\n', "utf-8")
    page = browser.new_context().new_page()
    page.goto(address)
    page.locator("#plan .verdict").wait_for()
    taken: dict[str, list[float]] = {"edit_ms": [], "preset_ms": [], "config_ms": [], "page_ms": []}
    for turn in range(repeat):
        rank = str(30 + turn)
        taken["edit_ms"].append(page.evaluate(TIMED, [f"set:#i-network_dim:{rank}", f"text:#sec-LoRA .summary:rank {rank} "]))
        page.locator("#preset").select_option("start")
        page.get_by_role("button", name="Apply", exact=True).wait_for()
        taken["preset_ms"].append(page.evaluate(TIMED, ["click:[data-do=preset-apply]", "value:#i-network_dim:16"]))
        page.locator("#config-file").fill(str(config))
        taken["config_ms"].append(page.evaluate(TIMED, ["click:#config-open", "value:#i-network_dim:77"]))
        for path in ("runs", ""):
            started = time.perf_counter()
            page.locator(f"#side a.nav[href$='/{path}']").first.click()
            page.wait_for_function(f"location.pathname === '/{path}' && document.querySelector('h1')?.offsetParent")
            taken["page_ms"].append(1000 * (time.perf_counter() - started))
            page.wait_for_timeout(PAUSE_MS)
        page.locator("#plan .verdict").wait_for()
    page.context.close()
    return {name: round(statistics.median(values)) for name, values in taken.items()}


def measure(browser: Browser, make_command: Callable[[Path], list[str]], port: int, *, repeat: int) -> dict[str, float]:
    """Best of `repeat` starts and loads."""
    answers, fields, sizes = [], [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder, served(make_command(Path(folder)), port) as (address, answered):
            answers.append(answered)
            page_ready(browser, address)  # a server's first page is made once; what a person meets later is the second
            seconds, received = page_ready(browser, address)
            fields.append(seconds)
            sizes.append(received)
    return {"first_answer_s": round(min(answers), 2), "field_usable_s": round(min(fields), 2), "bytes": min(sizes)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    wanted = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        floor = measure(browser, lambda folder: [sys.executable, "-c", EMPTY_APP], FLOOR, repeat=wanted.repeat)
        ours = measure(browser, our_command, OURS, repeat=wanted.repeat)
        with tempfile.TemporaryDirectory() as folder, served(our_command(Path(folder)), OURS) as (address, _):
            quick = answers(browser, address, Path(folder), repeat=wanted.repeat)
        browser.close()
    ratios = {name: round(ours[name] / floor[name], 2) for name in ("first_answer_s", "field_usable_s", "bytes")}
    print(json.dumps({"ours": ours, "floor": floor, "ratio": ratios, "answers": quick}))
    if not wanted.json:
        _table(ours, floor, ratios)
        print("\n| answer | ms, median |\n|---|---|\n" + "\n".join(f"| {ANSWERS[name]} | {value} |" for name, value in quick.items()))
    return 0


def _table(ours: Mapping[str, float], floor: Mapping[str, float], ratios: Mapping[str, float]) -> None:
    print("| | ours | empty Gradio app | ratio |\n|---|---|---|---|")
    for name, title in (
        ("first_answer_s", "command to first answer, s"),
        ("field_usable_s", "page to usable field, s"),
        ("bytes", "first load, bytes"),
    ):
        print(f"| {title} | {ours[name]:,} | {floor[name]:,} | {ratios[name]} |")


def _first_answer(address: str, started: float) -> float:
    while time.perf_counter() - started < LATEST_S:
        try:
            with urllib.request.urlopen(address, timeout=LATEST_S) as answer:
                answer.read()
            return time.perf_counter() - started
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"{address} did not answer")


def _count_bytes(network: CDPSession) -> Callable[[], int]:
    total = [0]
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: total.append(int(event["encodedDataLength"])))
    return lambda: sum(total)


if __name__ == "__main__":
    raise SystemExit(main())
