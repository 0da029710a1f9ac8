"""The pieces of a run's page as HTML, each made from the run's view alone. When they are sent is `run.py`'s."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from kohya_gui.chart import Frame, Series, legend, line_chart, thinned
from kohya_gui.jobs.monitor import RunView, Sample, SavedFile
from kohya_gui.jobs.notes import read_note
from kohya_gui.jobs.tail import LOG_FILE, read_tail
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import clock, count, duration, number, plural, size

CHART_POINTS = 240
RATE_POINTS = 80
TABLE_ROWS = 12
SAMPLE_COLUMNS = 12
STALE_SECONDS = 10.0
LAST_LINES = 30
NEWLINE = "\n"
GROUPS = {"unet": "U-Net", "text_encoder": "text encoder", "textencoder": "text encoder"}
PHASES = {
    "loading": "loading the model",
    "caching": "caching",
    "training": "training",
    "sampling": "drawing samples",
    "saving": "saving",
    "validating": "validating",
}
_PROGRESS = re.compile(r"[^\n]*\r(?!\n)")


def header(view: RunView, now: float) -> Markup:
    """Name, state, phase, times; progress; the numbers."""
    status = view.status
    phase = tag("span", _phase(view), class_="phase") if status.is_active and view.phase else None
    title = tag(
        "div",
        tag("h1", run_title(view)),
        tag("span", state_badge(status.state), id="run-state", role="status", aria_label="State"),
        phase,
        class_="run-title",
    )
    return join(title, tag("p", _times(view, now), class_="times num soft"), _progress(view), _numbers(view))


def verdict(view: RunView) -> Markup:
    """Why the run ended as it did, and what to do; nothing while it runs well."""
    status = view.status
    fix = tag("p", status.fix, class_="fix") if status.fix else None
    if status.state == "failed":
        reason = tag("p", status.reason or "The trainer ended without a reason.")
        lines = last_lines(view)
        tail = (
            tag(
                "details",
                tag("summary", f"The last {plural(lines.count(NEWLINE) + 1, 'line')} of the log"),
                tag("pre", lines, tabindex="0"),
                open=True,
            )
            if lines
            else None
        )
        return join(tag("div", tag("h2", "The training failed"), reason, fix, tail, class_="card banner bad", role="alert"), _warnings(view))
    if status.state in ("stopped", "paused", "interrupted") and status.reason:
        return join(tag("div", tag("p", status.reason), fix, class_="card banner warn"), _warnings(view))
    return join(_warnings(view))


def last_lines(view: RunView) -> str:
    """The end of the log."""
    text = log_text(read_tail(view.run / LOG_FILE).decode("utf-8", "replace"))
    return NEWLINE.join(text.strip().splitlines()[-LAST_LINES:])


def _warnings(view: RunView) -> Markup | None:
    if not view.warnings:
        return None
    rows = [tag("li", warning.text, " ", tag("span", warning.fix, class_="fix"), class_="warning") for warning in view.warnings]
    return tag("details", tag("summary", plural(len(rows), "warning")), tag("ul", rows, class_="problems"), class_="card notes")


def charts(view: RunView) -> Markup:
    """Loss, raw and smoothed, with the learning rates below."""
    points = view.curve.points
    raw = thinned([(point.step, point.loss) for point in points], CHART_POINTS)
    smooth = thinned([(point.step, point.avg_loss) for point in points], CHART_POINTS)
    series = [Series("loss", raw, "raw"), Series("average", smooth, "smooth")]
    marks = [(save.step, f"saved at step {save.step:,}") for save in view.saves.values() if save.what == "weights" and save.step < view.total]
    loss = line_chart(series, Frame(x_max=float(view.total or view.step) or None, marks=marks), title=_loss_words(view))
    groups = list(points[-1].lr) if points else []
    rates = [
        Series(GROUPS.get(group, group), thinned([(point.step, point.lr.get(group, 0.0)) for point in points], RATE_POINTS), f"rate-{index % 4}")
        for index, group in enumerate(groups)
    ]
    rate = (
        line_chart(rates, Frame(height=110, x_max=float(view.total or view.step) or None, from_zero=True), title="Learning rate by step")
        if rates
        else None
    )
    return join(
        tag("div", tag("h2", "Loss"), legend(series), class_="card-head"),
        loss,
        tag("div", tag("h3", "Learning rate"), legend(rates), class_="card-head") if rates else None,
        rate,
    )


def curve_table(view: RunView) -> Markup:
    """The curve as numbers."""
    points = view.curve.points
    stride = max(1, len(points) // TABLE_ROWS)
    rows = [
        tag(
            "tr",
            tag("td", count(point.step)),
            tag("td", number(point.loss, 4)),
            tag("td", number(point.avg_loss, 4)),
            tag("td", " / ".join(number(rate) for rate in point.lr.values())),
        )
        for point in points[stride - 1 :: stride]
    ]
    heads = [tag("th", word, scope="col") for word in ("Step", "Loss", "Average", "Learning rate")]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="rows num")


def gallery(view: RunView, *, root_path: str) -> Markup:
    """Sample pictures: a row per prompt, a column per step, the newest at the right."""
    if not view.samples:
        told = "Pictures appear here as they are drawn." if view.status.is_active else "No sample pictures were drawn."
        return join(tag("h2", "Samples"), tag("p", told, class_="soft"))
    steps = sorted({sample.step for sample in view.samples})[-SAMPLE_COLUMNS:]
    indices = sorted({sample.index for sample in view.samples})
    at = {(sample.index, sample.step): sample for sample in view.samples}
    heads = [tag("th", f"step {step:,}" if step else "before", scope="col") for step in steps]
    rows = [
        tag("tr", _prompt_head(view.samples, index), [tag("td", _picture(view, at.get((index, step)), root_path)) for step in steps])
        for index in indices
    ]
    return join(
        tag("h2", "Samples"),
        tag(
            "div",
            tag("table", tag("thead", tag("tr", tag("th", "Prompt", scope="col"), heads)), tag("tbody", rows), class_="samples num"),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="Samples",
        ),
    )


def files(view: RunView, *, root_path: str) -> Markup:
    """What the run has saved, with downloads."""
    saves = sorted(view.saves.values(), key=lambda save: (not save.final, -save.step, save.what != "weights"))
    if not saves:
        return tag("p", "Nothing saved yet.", class_="soft")
    heads = [tag("th", word, scope="col") for word in ("File", "Step", "Size", "")]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", [_file_row(view, save, root_path) for save in saves]), class_="rows files")
    final = next((save for save in saves if save.final and save.what == "weights"), None)
    return join(table, _how_to_use(Path(final.path).name) if final and view.status.state == "finished" else None)


def log_text(text: str) -> str:
    """Log text as a person reads it: a progress line that was drawn over and over stands once."""
    return _PROGRESS.sub("", text.replace("\r\n", "\n"))


def run_title(view: RunView) -> str:
    """What a run is called on pages: its given name, else that of its file."""
    return read_note(view.run).title or view.name or view.run.name


def file_address(view: RunView, path: str, root_path: str, *, download: bool = False) -> str:
    """The address under which the server hands out a file of this run."""
    return f"{root_path}/file?run={quote(view.run.name)}&path={quote(path, safe='')}{'&download=1' if download else ''}"


def _phase(view: RunView) -> str:
    words = PHASES.get(view.phase, view.phase)
    if view.phase != "training" and view.phase_total > 1:
        return f"{words}, {count(view.phase_done)} of {count(view.phase_total)}"
    return words


def _times(view: RunView, now: float) -> str:
    status, eta = view.status, view.eta_s
    words = [f"started {clock(status.started)}" if status.started else "waiting to start"]
    if status.is_active:
        if view.phase == "training":
            words.append(f"{duration(eta)} left" if eta is not None else "time left: measuring…")
        if eta is not None and eta >= 120:
            words.append(f"ends about {clock(now + eta)}")
        if view.heard and now - view.heard > STALE_SECONDS:
            words.append(f"last heard {duration(now - view.heard)} ago")
    elif status.ended and status.started:
        words.append(f"took {duration(status.ended - status.started)}")
    return " · ".join(words)


def _progress(view: RunView) -> Markup:
    percent = view.fraction * 100
    state = view.status.state
    bar = tag(
        "div",
        tag("div", style=f"width:{percent:.2f}%"),
        class_=f"progress {state}",
        role="progressbar",
        aria_label="Progress",
        aria_valuenow=f"{percent:.0f}",
        aria_valuemin=0,
        aria_valuemax=100,
    )
    steps = tag("span", tag("b", count(view.step)), f" of {count(view.total)} steps" if view.total else " steps", aria_label="Step")
    epoch = tag("span", f"epoch {count(view.epoch)} of {count(view.epochs)}") if view.epochs else None
    return tag("div", bar, tag("div", steps, epoch, tag("span", f"{percent:.0f} %"), class_="progress-words num"), class_="progress-box")


def _numbers(view: RunView) -> Markup:
    usage = view.usage
    pairs = [("Loss", number(view.loss)), ("Average loss", number(view.avg_loss)), ("Speed", f"{number(view.it_s)} it/s" if view.it_s else "–")]
    pairs += [
        (f"Rate, {GROUPS.get(group, group)}" if len(view.lr) > 1 else "Learning rate", number(rate)) for group, rate in list(view.lr.items())[:2]
    ]
    gpu = view.memory.get("gpu_bytes")
    pairs.append(
        ("GPU memory", size(gpu))
        if gpu
        else ("Memory", size(usage.rss_bytes or view.memory.get("rss_bytes", 0)) if usage.rss_bytes or view.memory else "–")
    )
    if usage.processes:
        pairs.append(("Processor", "–" if usage.cpu_percent is None else f"{usage.cpu_percent:.0f} %"))
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs], class_="numbers num")


def _loss_words(view: RunView) -> str:
    return f"Loss by step: {number(view.loss)} at step {view.step:,}, {number(view.avg_loss)} on average"


def _prompt_head(samples: Sequence[Sample], index: int) -> Markup:
    prompt = next((sample.prompt for sample in reversed(samples) if sample.index == index), "")
    return tag("th", tag("span", prompt, title=prompt), scope="row")


def _picture(view: RunView, sample: Sample | None, root_path: str) -> Markup | None:
    if sample is None:
        return None
    address = file_address(view, sample.path, root_path)
    words = f"{sample.prompt}, step {sample.step:,}"
    return tag(
        "a",
        tag("img", src=address, alt=words, loading="lazy", width=128, height=128),
        href=address,
        data_view_picture=True,
        data_caption=words,
        target="_blank",
    )


def _file_row(view: RunView, save: SavedFile, root_path: str) -> Markup:
    name = Path(save.path).name
    label = tag("b", name) if save.final else name
    where = tag("div", str(Path(save.path).parent), class_="small soft")
    link = (
        tag(
            "a",
            "Download",
            href=file_address(view, save.path, root_path, download=True),
            class_="button",
            download=name,
            aria_label=f"Download {name}",
        )
        if save.what == "weights"
        else tag("span", "state for resuming", class_="small soft")
    )
    return tag(
        "tr",
        tag("td", label, where),
        tag("td", count(save.step), class_="num"),
        tag("td", size(save.bytes), class_="num"),
        tag("td", link, class_="end"),
    )


def _how_to_use(name: str) -> Markup:
    stem = Path(name).stem
    rows = [
        ("ComfyUI", join("Put the file into ", tag("code", "models/loras"), " and load it with the node “Load LoRA”.")),
        ("A1111, Forge", join("Put it into ", tag("code", "models/Lora"), " and write ", tag("code", f"<lora:{stem}:1>"), " into the prompt.")),
        ("diffusers", tag("code", f'pipe.load_lora_weights(".", weight_name="{name}")')),
    ]
    return tag(
        "details",
        tag("summary", "How to use it"),
        tag("dl", [join(tag("dt", program), tag("dd", how)) for program, how in rows], class_="facts"),
        open=True,
    )


def now_seconds() -> float:
    """The time that pages count from (unix seconds)."""
    return time.time()
