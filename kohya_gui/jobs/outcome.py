"""What a run came to: from the trainer's own record where there is one, else from what its processes left behind. Reads files, writes none."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_gui.jobs.evidence import broken_promises
from kohya_gui.jobs.states import State, Status
from kohya_gui.jobs.tail import EVENTS_FILE, LOG_FILE, parse_event, read_all_events, read_tail

# How accelerate's two launchers report the trainer's end: CalledProcessError's text, and torch's table of failed ranks.
_ENDS = re.compile(rb"died with <Signals\.SIG\w+: (?P<signal>\d+)>|returned non-zero exit status (?P<status>\d+)|exitcode\s*:\s*(?P<code>-?\d+)")
_KILLED = -9
SAID = {
    "finished": "All steps are done.",
    "paused": "Paused.",
    "stopped on request": "Stopped on request.",
    "stopped on request before the first step": "Stopped on request before the first step.",
    "stopped at once, without saving": "Stopped at once, without saving.",
    "the dataset is shown, nothing was trained": "The dataset is shown, nothing was trained.",
}
"""What our trainers say of an end that is no failure, as sentences."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the state that follows, why, what to do, and the exit code (errors.py; negative: killed by that signal)."""

    state: State
    reason: str
    fix: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How the processes of an attempt came to their end, none of them being alive any more.

    `exit_code` is the launcher's as subprocess reports it, None if nobody saw it end. `stop_asked`: somebody asked for it. `remains_ended`: the
    launcher died first and what was left was ended by us before it had said anything, so what it says of that is not the cause.
    """

    exit_code: int | None = None
    stop_asked: bool = False
    remains_ended: bool = False


def conclude(run: Path, record: Mapping[str, Any], status: Status, end: End) -> Outcome:
    """The outcome of the attempt that `status` describes; `record` is run.json. Events and log of earlier attempts do not count."""
    events = read_all_events(run / EVENTS_FILE)
    told = _last_word(run, status, stop_asked=end.stop_asked)
    killed = _code_in_log(run, status)
    if told is not None and _was_meant(told, end, killed):
        outcome = _told(told)
        broken = broken_promises(record, events) if outcome.state == "finished" else []
        return Outcome("failed", broken[0], "Look at the log and at the output folder, then start again.", 1) if broken else outcome
    if end.stop_asked:
        return Outcome("stopped", "Stopped on request before the trainer could save; what was saved earlier is there.", exit_code=3)
    if end.remains_ended:
        return Outcome("interrupted", _launcher_died(end.exit_code, saved=told is not None), "Resume the run.", end.exit_code)
    if told is not None and told.get("exit_code") == 3:
        return Outcome("interrupted", _process_died(killed), "Resume the run.", killed)
    return _untold(end.exit_code, killed)


def has_word(run: Path, status: Status) -> bool:
    """Whether the trainer has said how this attempt ended."""
    return _last_word(run, status, stop_asked=False) is not None


def _was_meant(told: Mapping[str, Any], end: End, killed: int | None) -> bool:
    """Whether what the trainer told is the cause of the end.

    It is not where we ended it after its launcher's death. Nor is it where a rank was killed: the launcher then ends the others and their workers,
    which report that as a stop or as an error of their own.
    """
    if told["kind"] == "done" and told.get("exit_code") == 0:
        return True
    if end.remains_ended:
        return False
    stopped = told.get("exit_code") == 3 and not end.stop_asked and told.get("reason") != "paused" and (killed or 0) < 0
    broken = told["kind"] == "error" and told.get("exit_code") == 1 and killed == _KILLED
    return not stopped and not broken


def _last_word(run: Path, status: Status, *, stop_asked: bool) -> dict[str, Any] | None:
    """Rank 0's outcome record of this attempt, unless another rank's error came first: the launcher ends the other ranks then, as if by request."""
    records = [event for event in read_all_events(run / EVENTS_FILE, offset=status.events_offset) if event["kind"] in ("done", "error")]
    last = records[-1] if records else None
    if stop_asked or (last is not None and (last["kind"] == "error" or last.get("exit_code") == 0)):
        return last
    errors = [event for path in sorted(run.glob("error-*.json")) if (event := parse_event(path.read_bytes(), kind="error")) is not None]
    return errors[0] if errors else last


def _told(record: Mapping[str, Any]) -> Outcome:
    code = record.get("exit_code")
    code = code if isinstance(code, int) else 1
    if record["kind"] == "error":
        return Outcome("stopped" if code == 3 else "failed", str(record.get("text") or "The trainer failed."), str(record.get("fix") or ""), code)
    reason = str(record.get("reason") or "")
    if code == 3:
        return Outcome("paused" if reason == "paused" else "stopped", sentence(reason or "stopped on request"), exit_code=3)
    if code:
        return Outcome("failed", sentence(reason) if reason else f"The trainer ended with exit code {code}.", exit_code=code)
    return Outcome("finished", sentence(reason or "finished"), exit_code=0)


def _untold(exit_code: int | None, trainer: int | None) -> Outcome:
    """No record. `trainer` is the code that the launcher reported in the log, if it did; a launcher that reports one has no other code to tell."""
    code = trainer if trainer is not None and (exit_code is None or exit_code >= 0) else exit_code
    if code is None:
        return Outcome(
            "interrupted", "The training ended without a word, and nobody was there to see why.", "Resume the run, or look at the end of the log."
        )
    return Outcome("failed", _trainer_ended(code), _remedy(code), code or 1)


def sentence(text: str) -> str:
    """What a trainer says of its end, as a sentence."""
    text = text.strip()
    return SAID.get(text) or f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def _code_in_log(run: Path, status: Status) -> int | None:
    found = list(_ENDS.finditer(read_tail(run / LOG_FILE, offset=status.log_offset)))
    if not found:
        return None
    groups = found[-1].groupdict()
    return -int(groups["signal"]) if groups["signal"] else int(groups["status"] or groups["code"])


def _trainer_ended(code: int) -> str:
    if code < 0:
        return f"The trainer was killed by signal {-code} ({_signal_name(code)})."
    if code == 0:
        return "The trainer ended without saying that it was done."
    return f"The trainer ended with exit code {code} and gave no reason; the end of the log may."


def _process_died(code: int | None) -> str:
    if code is not None and code < 0:
        return f"A process of the training was killed by signal {-code} ({_signal_name(code)}). The others saved what they had."
    return "A process of the training ended, and nobody was there to see why. The others saved what they had."


def _launcher_died(code: int | None, *, saved: bool) -> str:
    if code is None and saved:
        return "The launcher ended, and nobody was there to see why. The trainer saved what it had."
    if code is None:
        return "The launcher ended, and nobody was there to see why. The trainer was ended with it."
    if saved:
        return f"The launcher was killed by signal {-code} ({_signal_name(code)}). The trainer saved what it had."
    return f"The launcher was killed by signal {-code} ({_signal_name(code)}). The trainer was ended with it."


def _remedy(code: int) -> str:
    if code == -9:
        return "If nobody killed it, the machine ran out of memory: close other programs, or lower the batch size or the resolution."
    return ""


def _signal_name(code: int) -> str:
    """Of the signal that an exit code means."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return "unknown"
