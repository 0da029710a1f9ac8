"""Run folders as a trainer leaves them behind, written without one."""

from __future__ import annotations

import time
from pathlib import Path

from PIL import Image

from kohya_gui.jobs.runs import create_run
from kohya_gui.jobs.states import Status, write_status
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.events import EVENTS_FILE, event_line


def write_run(runs_dir: Path, *, name: str = "cat", steps: int = 20, total: int = 40, state: str = "finished", reason: str = "") -> Path:
    """A run of `steps` steps with one sample, one checkpoint and a log, in `state`."""
    config = make_config(command("train_network"), {"output_name": name, "network_dim": 4})
    run = create_run(runs_dir, config, argv=["python", "-c", "pass"])
    picture, weights = run.parent / f"{name}_000010_00.png", run.parent / f"{name}.safetensors"
    Image.new("RGB", (8, 8), "red").save(picture)
    weights.write_bytes(b"weights")
    append_steps(run, 0, steps, total)
    with (run / EVENTS_FILE).open("a", encoding="utf-8") as file:
        file.write(event_line("sample", path=str(picture), prompt="<b>a cat</b>", step=10, seed=1, index=0))
        file.write(
            event_line("save", path=str(weights), what="weights", step=steps, epoch=1, bytes=7, tensors=2, sha256="0", finite=True, final=True)
        )
    (run / "log.txt").write_text("loading\nsteps 1/40\rsteps 2/40\rsteps 3/40\n<script>alert(1)</script>\n", "utf-8")
    now = time.time()
    write_status(run, Status(state=state, reason=reason, created=now - 100, started=now - 90, ended=now - 10))  # type: ignore[arg-type]
    return run


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
