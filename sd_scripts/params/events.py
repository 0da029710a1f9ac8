"""What a trainer tells those who watch it: the kinds of line in a run folder's events.jsonl, and the requests in its control folder.

Both sides, trainer and GUI, import this file and nothing else of each other. Every event has `t` (unix seconds) and `kind`.
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

RUN_DIR_VARIABLE = "STUDIO_RUN_DIR"
RUN_ID_VARIABLE = "STUDIO_RUN_ID"
EVENTS_FILE = "events.jsonl"
CONTROL_FOLDER = "control"
NOTE_FILE = "note.json"
"""What a person says of the run: one JSON object. The trainer reads `kept` alone, the absolute path of a weight file that is not to be replaced
by newer ones; "" or a missing file for none."""

Phase = Literal["loading", "caching", "training", "sampling", "saving", "validating"]
Request = Literal["stop", "save", "sample", "pause"]
REQUESTS: tuple[Request, ...] = ("stop", "save", "sample", "pause")

FIELDS: dict[str, tuple[str, ...]] = {
    "phase": ("phase", "done", "total"),
    "plan": ("plan",),
    "step": ("step", "total", "epoch", "epochs", "loss", "avg_loss", "lr", "it_s", "eta_s", "memory"),
    "validation": ("step", "epoch", "loss", "best_loss", "best_step"),
    "sample": ("path", "prompt", "step", "seed", "index"),
    "save": ("path", "what", "step", "epoch", "bytes", "tensors", "sha256", "finite", "final"),
    "resume": ("step", "epoch", "path"),
    "removed": ("path",),
    "warning": ("code", "text", "fix"),
    "error": ("code", "text", "fix", "exit_code", "step"),
    "done": ("exit_code", "reason", "step"),
}
"""Fields of each kind. `lr` maps a group's name to its rate; `memory` has rss_bytes and, with an accelerator, gpu_bytes and gpu_peak_bytes;
`what` is "weights", "embedding" (a word beside an adapter) or "state"; `validation` has the lowest loss so far with its step;
`removed` tells that pruning deleted a checkpoint, which is then no longer promised."""


def event_line(kind: str, **fields: Any) -> str:
    """One JSON line, newline included, for events.jsonl.

    Raises:
        ValueError: `kind` is unknown, or `fields` are not exactly those of that kind.
    """
    if kind not in FIELDS:
        raise ValueError(f"unknown event kind {kind!r}")
    if set(fields) != set(FIELDS[kind]):
        raise ValueError(f"event {kind!r} has fields {FIELDS[kind]}, got {tuple(fields)}")
    return json.dumps({"t": round(time.time(), 3), "kind": kind, **fields}, ensure_ascii=False) + "\n"
