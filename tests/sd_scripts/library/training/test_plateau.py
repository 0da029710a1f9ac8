"""A schedule that follows the losses, in a training: it lowers the rate, and a resumed run goes on with what it has seen."""

from __future__ import annotations

import torch
from tiny_runs import events, report_to, train

from sd_scripts.library.weights_file import read_weights


def test_the_rate_falls_when_the_loss_does_not_and_resuming_is_exact(tmp_path, monkeypatch):
    run_dir = report_to(tmp_path / "run", monkeypatch)
    words = ["factor=0.5", "patience=0", "threshold=0.9"]  # a loss must fall by nine tenths to count as falling
    given = {"lr_scheduler": "reduce_lr_on_plateau", "lr_scheduler_args": words, "max_train_steps": 16}
    assert train(tmp_path, output_name="whole", **given) == 0
    rates = [event["lr"]["unet"] for event in events(run_dir, "step")]  # type: ignore[index]
    assert rates[0] == 1e-3 and rates[-1] < 1e-3
    assert train(tmp_path, output_name="half", save_every_n_steps=13, save_state=True, **given) == 0
    assert train(tmp_path, output_name="rest", resume=tmp_path / "out" / "half-step00000013-state", **given) == 0
    whole, rest = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("whole", "rest"))
    assert all(torch.equal(whole[key], rest[key]) for key in whole)
