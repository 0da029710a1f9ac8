"""The head of a run's page as HTML, made from the run's view alone: name, state, progress, numbers, and what became of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import quote

from kohya_gui.form.switch import METHODS
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import read_note
from kohya_gui.jobs.tail import LOG_FILE, read_tail
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import clock, count, duration, number, retell, say, size
from sd_scripts.params.commands import Command, command
from sd_scripts.params.families import FAMILIES

STALE_SECONDS = 10.0
LAST_LINES = 30
LONG_NOTE = 240
GROUPS = {
    "unet": "U-Net",
    "text_encoder": "text encoder",
    "textencoder": "text encoder",
    "textencoder 1": "text encoder 1",
    "textencoder 2": "text encoder 2",
}
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
    status, note = view.status, read_note(view.run)
    phase = tag("span", _phase(view), class_="phase") if status.is_active and view.phase else None
    title = tag(
        "div",
        tag("h1", run_title(view)),
        tag("span", state_badge(status.state), id="run-state", role="status", aria_label=say("State")),
        phase,
        class_="run-title",
    )
    tags = tag("span", [tag("span", word, class_="chip") for word in note.tags], class_="chips") if note.tags else None
    what = tag("p", trained_words(str(view.record.get("command", ""))), tags, class_="run-kind soft")
    return join(title, what, _note(note.text), tag("p", _times(view, now), class_="times num soft"), _progress(view), _numbers(view))


def verdict(view: RunView, *, root_path: str = "") -> Markup:
    """Why the run ended as it did, and what to do; nothing while it runs well."""
    status = view.status
    fix = tag("p", retell(status.fix), class_="fix") if status.fix else None
    if status.state == "failed":
        reason = tag("p", retell(status.reason) or say("The trainer ended without a reason."), class_="reason")
        return join(
            tag("div", tag("h2", say("The training failed")), reason, fix, _tail(view), _help(view, root_path), class_="card banner bad"),
            _warnings(view),
        )
    if status.is_resumable:
        said = tag("p", retell(status.reason)) if status.reason else None
        return join(tag("div", said, fix, _way_on(view), class_="card banner warn"), _warnings(view))
    return join(_warnings(view))


def last_lines(view: RunView) -> str:
    """The end of the log."""
    text = log_text(read_tail(view.run / LOG_FILE).decode("utf-8", "replace"))
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])


def log_text(text: str) -> str:
    """Log text as a person reads it: a progress line that was drawn over and over stands once."""
    return _PROGRESS.sub("", text.replace("\r\n", "\n"))


def run_title(view: RunView) -> str:
    """What a run is called on pages: its given name, else that of its file."""
    return read_note(view.run).title or view.name or view.run.name


def trainer_of(script: str) -> Command | None:
    """The trainer's row; None for one of another version of the program."""
    try:
        return command(script)
    except KeyError:
        return None


def trained_words(script: str) -> str:
    """Family and method of a run."""
    row = trainer_of(script)
    return f"{say(METHODS[row.method])} · {say(FAMILIES[row.family].title)}" if row else script


def file_address(run: str, path: str, root_path: str, *, download: bool = False) -> str:
    """The address under which the server hands out a file of a run, by the run's id."""
    return f"{root_path}/file?run={quote(run)}&path={quote(path, safe='')}{'&download=1' if download else ''}"


def download(run: str, path: str, root_path: str, *, primary: bool = False) -> Markup:
    """A button that downloads a file of a run."""
    name, address = file_name(path), file_address(run, path, root_path, download=True)
    class_ = "button primary" if primary else "button"
    return tag("a", say("Download"), href=address, class_=class_, download=name, aria_label=say("Download {name}", name=name))


def file_name(path: str) -> str:
    """A file's name without its folders."""
    return Path(path).name


def now_seconds() -> float:
    """The time that pages count from (unix seconds)."""
    return time.time()


def _tail(view: RunView) -> Markup | None:
    lines = last_lines(view)
    if not lines:
        return None
    rows = lines.count("\n") + 1
    title = say("The last line of the log") if rows == 1 else say("The last {count} lines of the log", count=count(rows))
    return tag("details", tag("summary", title), tag("pre", lines, tabindex="0"), open=True)


def _way_on(view: RunView) -> Markup:
    """From where a resumption would go on."""
    steps = [save.step for save in view.saves.values() if save.what == "state"]
    if not steps:
        return tag("p", say("No state was saved, so it cannot be resumed. “Train again with changes” begins anew."), class_="fix")
    return tag("p", say("“Resume” goes on from step {step}.", step=count(max(steps))), class_="fix")


def _help(view: RunView, root_path: str) -> Markup:
    """What a person does then: ask somebody, or try again."""
    name = view.run.name
    report = tag("a", say("Download a report"), href=f"{root_path}/report?run={quote(name)}", class_="button", download="report.txt")
    again = tag("button", say("Train again with changes"), type="button", class_="button", data_again=name)
    words = say("The report has settings, versions and the end of the log, without secrets and personal folders.")
    return join(tag("div", again, report, class_="buttons"), tag("p", words, class_="small soft"))


def _warnings(view: RunView) -> Markup | None:
    if not view.warnings:
        return None
    rows = [tag("li", retell(warning.text), " ", tag("span", retell(warning.fix), class_="fix"), class_="warning") for warning in view.warnings]
    title = say("1 warning") if len(rows) == 1 else say("{count} warnings", count=count(len(rows)))
    return tag("details", tag("summary", title), tag("ul", rows, class_="problems"), class_="card notes")


def _note(text: str) -> Markup | None:
    """The note's words; a long one is folded."""
    if not text:
        return None
    if len(text) <= LONG_NOTE and text.count("\n") < 4:
        return tag("p", text, class_="run-note")
    return tag("details", tag("summary", text.splitlines()[0][:LONG_NOTE], class_="run-note"), tag("p", text, class_="run-note"))


def _phase(view: RunView) -> str:
    words = say(PHASES.get(view.phase, view.phase))
    if view.phase != "training" and view.phase_total > 1:
        return say("{phase}, {done} of {total}", phase=words, done=count(view.phase_done), total=count(view.phase_total))
    return words


def _times(view: RunView, now: float) -> str:
    status, eta = view.status, view.eta_s
    words = [say("started {time}", time=clock(status.started)) if status.started else say("waiting to start")]
    if status.is_active:
        if view.phase == "training":
            words.append(say("{duration} left", duration=duration(eta)) if eta is not None else say("time left: measuring…"))
        if eta is not None and eta >= 120:
            words.append(say("ends about {time}", time=clock(now + eta)))
        words += _next_sample(view)
        if view.heard and now - view.heard > STALE_SECONDS:
            words.append(say("last heard {duration} ago", duration=duration(now - view.heard)))
    elif status.ended and status.started:
        took = status.ended - status.started if status.attempt < 2 else sum(view.timeline.spent.values())
        words.append(say("took {duration}", duration=duration(took)))
    return " · ".join(words)


def _next_sample(view: RunView) -> list[str]:
    plan, per_epoch = view.plan, int(view.plan.get("steps_per_epoch") or 0)
    due = [*plan.get("sample_steps", ()), *(epoch * per_epoch for epoch in plan.get("sample_epochs", ()))]
    left = min((step - view.step for step in due if step > view.step), default=None)
    if left is None or view.phase != "training":
        return []
    return [say("next sample in 1 step") if left == 1 else say("next sample in {steps} steps", steps=count(left))]


def _progress(view: RunView) -> Markup:
    percent = view.fraction * 100
    bar = tag(
        "div",
        tag("div", style=f"width:{percent:.2f}%"),
        class_=f"progress {view.status.state}",
        role="progressbar",
        aria_label=say("Progress"),
        aria_valuenow=f"{percent:.0f}",
        aria_valuemin=0,
        aria_valuemax=100,
    )
    done = tag("b", count(view.step))
    total = say("of {total} steps", total=count(view.total)) if view.total else say("steps")
    steps = tag("span", done, " ", total, aria_label=say("Step"), data_steps=True)
    epoch = tag("span", say("epoch {epoch} of {epochs}", epoch=count(view.epoch), epochs=count(view.epochs))) if view.epochs else None
    return tag("div", bar, tag("div", steps, epoch, tag("span", f"{percent:.0f} %"), class_="progress-words num"), class_="progress-box")


def _numbers(view: RunView) -> Markup:
    usage = view.usage
    pairs = [(say("Loss"), number(view.loss)), (say("Average loss"), number(view.avg_loss)), (say("Speed"), speed(view.it_s))]
    one = len(set(view.lr.values())) == 1
    for group, rate in list(view.lr.items())[: 1 if one else 2]:
        pairs.append((say("Learning rate") if one else say("Rate, {part}", part=group_words(group)), number(rate)))
    gpu, rss = view.memory.get("gpu_bytes"), usage.rss_bytes or view.memory.get("rss_bytes", 0)
    pairs.append((say("GPU memory"), size(gpu)) if gpu else (say("Memory"), size(rss) if rss else "–"))
    if usage.processes:
        pairs.append((say("Processor"), "–" if usage.cpu_percent is None else f"{usage.cpu_percent:.0f} %"))
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs], class_="numbers num")


def group_words(group: str) -> str:
    """What a group of weights is called."""
    return say(GROUPS.get(group, group))


def loss_words(loss: float | None) -> str:
    """A validation loss, all with as many places, since they are compared."""
    return "–" if loss is None else f"{loss:.4f}"


def speed(it_s: float | None) -> str:
    """Steps per second, or seconds per step where that is the larger number."""
    if not it_s:
        return "–"
    return say("{count} it/s", count=number(it_s)) if it_s >= 1 else say("{seconds} s/step", seconds=number(1 / it_s))
