"""Run folders as a trainer leaves them behind, written without one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from kohya_gui.jobs.runs import create_run
from kohya_gui.jobs.states import Status, write_status
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.events import EVENTS_FILE, event_line

PROMPTS = ("<b>a cat</b>", "a cat at night")


def write_run(
    runs_dir: Path,
    *,
    name: str = "cat",
    steps: int = 20,
    total: int = 40,
    state: str = "finished",
    reason: str = "",
    saves: Sequence[int] = (),
    samples: Mapping[int, int] | None = None,
) -> Path:
    """A run of `steps` steps in `state` with a log, a final file and more after the steps `saves`, their files beside the run.

    `samples` has the number of prompts that were drawn after a step; without it one was, after step 10.
    """
    config = make_config(command("train_network"), {"output_name": name, "network_dim": 4, "output_dir": str(runs_dir / "out")})
    run = create_run(runs_dir, config, argv=["python", "-c", "pass"])
    append_steps(run, 0, steps, total)
    for step, prompts in ({10: 1} if samples is None else samples).items():
        for index in range(prompts):
            append_sample(run, name, step, index)
    for step in saves:
        append_save(run, f"{name}-step{step:08d}.safetensors", step)
    append_save(run, f"{name}.safetensors", steps, final=True)
    (run / "log.txt").write_text("loading\nsteps 1/40\rsteps 2/40\rsteps 3/40\n<script>alert(1)</script>\n", "utf-8")
    now = time.time()
    write_status(run, Status(state=state, reason=reason, created=now - 100, started=now - 90, ended=now - 10))  # type: ignore[arg-type]
    return run


def append_event(run: Path, kind: str, **fields: object) -> None:
    """Write one event."""
    with (run / EVENTS_FILE).open("a", encoding="utf-8") as file:
        file.write(event_line(kind, **fields))


def append_sample(run: Path, name: str, step: int, index: int = 0) -> None:
    """A sample picture and its event."""
    picture = run.parent / f"{name}_{step:06d}_{index:02d}.png"
    Image.new("RGB", (8, 8), (200, 10 * index, step % 250)).save(picture)
    append_event(run, "sample", path=str(picture), prompt=PROMPTS[index], step=step, seed=1, index=index)


def append_save(run: Path, name: str, step: int, *, final: bool = False) -> Path:
    """A weight file and its event; its content is its name."""
    weights = run.parent / name
    weights.write_text(name, "utf-8")
    facts = {"bytes": len(name.encode()), "tensors": 2, "sha256": hashlib.sha256(name.encode()).hexdigest(), "finite": True}
    append_event(run, "save", path=str(weights), what="weights", step=step, epoch=1, final=final, **facts)
    return weights


def append_validation(run: Path, losses: Mapping[int, float]) -> None:
    """Measurements by step."""
    for step, loss in losses.items():
        append_event(run, "validation", step=step, epoch=1, loss=loss, best_loss=loss, best_step=step)


def append_steps(run: Path, first: int, last: int, total: int) -> None:
    """Write the events of the steps after `first` up to `last`."""
    with (run / EVENTS_FILE).open("a", encoding="utf-8") as file:
        for step in range(first + 1, last + 1):
            loss = 0.1 + 0.05 * (step % 7)
            file.write(
                event_line(
                    "step",
                    step=step,
                    total=total,
                    epoch=1,
                    epochs=2,
                    loss=loss,
                    avg_loss=0.2,
                    lr={"unet": 1e-4},
                    it_s=2.0,
                    eta_s=1,
                    memory={"rss_bytes": 10**9},
                )
            )
