"""What happened in a run and where its time went, as HTML."""

from __future__ import annotations

from collections.abc import Callable

from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.outcome import sentence
from kohya_gui.jobs.timeline import Moment
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.run_parts import PHASES, file_name
from kohya_gui.text import clock, count, duration, retell, say

SHOWN = 200
ORDER = ("loading", "caching", "training", "validating", "sampling", "saving")
"""Phases in the order in which they are drawn."""


def timeline(view: RunView, now: float) -> Markup:
    """Where the time went, and what happened, the newest first."""
    status, moments = view.status, list(view.timeline.moments)
    rows = [_row(moment, status.started) for moment in reversed(moments[-SHOWN:])]
    if len(moments) > SHOWN:
        rows.append(tag("li", say("{count} earlier moments are not shown.", count=count(len(moments) - SHOWN)), class_="soft"))
    rows.append(_line(clock(status.created), say("Put into the queue"), "queued"))
    happened = tag("ol", rows, class_="timeline", tabindex="0", aria_label=say("What happened"))
    return join(tag("h2", say("Where the time went")), _spent(view), tag("h2", say("What happened")), happened)


def _spent(view: RunView) -> Markup:
    spent = {phase: seconds for phase in ORDER if (seconds := view.timeline.spent.get(phase, 0.0)) >= 0.5}
    whole = sum(spent.values())
    if not whole:
        return tag("p", say("Nothing measured yet."), class_="soft")
    bars = [tag("div", class_=f"part {phase}", style=f"flex-grow:{seconds:.1f}") for phase, seconds in spent.items()]
    rows = [
        tag("li", tag("i", class_=f"part {phase}"), say(PHASES[phase]), " ", tag("b", duration(seconds)), f" {seconds / whole:.0%}")
        for phase, seconds in spent.items()
    ]
    return join(tag("div", bars, class_="spent", aria_hidden="true"), tag("ul", rows, class_="spent-words num"))


def _row(moment: Moment, started: float | None) -> Markup:
    words = _WORDS[moment.kind](moment)
    since = f"+{duration(moment.t - started)}" if started and moment.t >= started else ""
    return _line(clock(moment.t), words, moment.kind, since)


def _line(time: str, words: str, kind: str, since: str = "") -> Markup:
    return tag("li", tag("time", time), tag("span", since, class_="soft"), tag("span", words), class_=kind)


def _drawn(moment: Moment) -> str:
    step = count(moment.step)
    if moment.count == 1:
        return say("1 sample drawn at step {step}", step=step)
    return say("{count} samples drawn at step {step}", count=count(moment.count), step=step)


def _ended(moment: Moment) -> str:
    return say("Ended at step {step}: {reason}", step=count(moment.step), reason=retell(sentence(moment.text)))


_WORDS: dict[str, Callable[[Moment], str]] = {
    "begun": lambda moment: say("The trainer began to load"),
    "trains": lambda moment: say("First step done, number {step}", step=count(moment.step)),
    "resumed": lambda moment: say("Resumed after step {step}", step=count(moment.step)),
    "saved": lambda moment: say("Saved {name} at step {step}", name=file_name(moment.text), step=count(moment.step)),
    "state": lambda moment: say("Saved a state to resume from at step {step}", step=count(moment.step)),
    "removed": lambda moment: say("Removed the older {name}", name=file_name(moment.text)),
    "drawn": _drawn,
    "validated": lambda moment: say("Validation loss {loss} at step {step}", loss=moment.text, step=count(moment.step)),
    "warning": lambda moment: say("Warning: {text}", text=retell(moment.text)),
    "failed": lambda moment: say("Failed at step {step}: {reason}", step=count(moment.step), reason=retell(moment.text)),
    "ended": _ended,
}
