"""When weights are updated, and their average, from the command line to the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import events, report_to, train
from torch import Tensor

from sd_scripts.library.weights_file import read_weights

EARLY = {"fused_backward_pass": True}


def saved(root: Path, name: str = "cat") -> dict[str, Tensor]:
    return read_weights(root / "out" / f"{name}.safetensors")[0]


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [key for key, value in a.items() if not torch.equal(value, b[key])]


@pytest.mark.parametrize(
    ("script", "early"),
    [("train_network", EARLY), ("train_db", EARLY), ("sdxl_train", {"fused_optimizer_groups": 5, "train_text_encoder": True})],
)
def test_early_updates_give_the_same_model(tmp_path, script, early):
    """Without clipping, which looks at other weights together, nothing may differ: not with recomputed blocks, not with a part that stops."""
    shared = {"max_grad_norm": 0, "gradient_checkpointing": True, **({"train_text_encoder": True} if script == "sdxl_train" else {})}
    if script == "train_db":
        shared["stop_text_encoder_training"] = 1
    assert train(tmp_path, script, output_name="usual", **shared) == 0
    assert train(tmp_path, script, output_name="early", **{**shared, **early}) == 0
    usual, soon = saved(tmp_path, "usual"), saved(tmp_path, "early")
    assert max((usual[key].float() - soon[key].float()).abs().max().item() for key in usual) < 1e-7


@pytest.mark.parametrize(
    ("script", "early"),
    [
        ("train_db", {**EARLY, "max_grad_norm": 0.01}),
        ("sdxl_train", {**EARLY, "train_text_encoder": True, "block_lr": ",".join(["1e-4"] * 13 + ["1e-3"] * 10)}),
        ("sdxl_train", {"fused_optimizer_groups": 5}),
    ],
    ids=["train_db", "sdxl_train", "sdxl_train-groups"],
)
def test_stopping_and_resuming_early_updates_gives_the_same_model(tmp_path, script, early):
    given = {**early, "max_train_steps": 3}
    assert train(tmp_path, script, save_every_n_steps=2, save_state=True, **given) == 0
    assert train(tmp_path, script, output_name="rest", resume=tmp_path / "out" / "cat-step00000002-state", **given) == 0
    assert differing(saved(tmp_path), saved(tmp_path, "rest")) == []
    assert differing(saved(tmp_path), saved(tmp_path, "cat-step00000002"))


@pytest.mark.parametrize(
    ("script", "given", "named"),
    [
        ("train_db", {**EARLY, "gradient_accumulation_steps": 2}, "gradient_accumulation_steps to 1"),
        ("train_db", {**EARLY, "mixed_precision": "fp16"}, "mixed_precision to bf16"),
        ("train_db", {**EARLY, "optimizer_type": "Prodigy", "learning_rate": 1}, "Prodigy has to see all weights together"),
        ("sdxl_train", {**EARLY, "fused_optimizer_groups": 3}, "Keep one of them"),
        ("train_network", {"ema_decay": 0.9, "optimizer_type": "AdamWScheduleFree"}, "averages the weights itself"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, capsys, script, given, named):
    assert train(tmp_path, script, **given) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("script", ["train_network", "train_db", "train_textual_inversion"])
def test_files_hold_the_average_and_the_training_goes_on_without_it(tmp_path, script):
    """Three files, and the numbers that the definition gives from the files of a run without an average."""
    word = (
        {"token_string": "sks", "init_word": "cat", "caption_prefix": "sks ", "learning_rate": 1e-2, "save_model_as": "safetensors"}
        if "inversion" in script
        else {}
    )
    shared = {"max_train_steps": 3, "save_every_n_steps": 1, "save_precision": "float", **word}
    assert train(tmp_path, script, output_name="plain", **shared) == 0
    assert train(tmp_path, script, output_name="mean", ema_decay=0.9, **shared) == 0
    plain = [saved(tmp_path, f"plain-step{step:08d}") for step in (1, 2)] + [saved(tmp_path, "plain")]
    mean = [saved(tmp_path, f"mean-step{step:08d}") for step in (1, 2)] + [saved(tmp_path, "mean")]
    key = next(key for key in plain[0] if plain[0][key].is_floating_point() and not torch.equal(plain[0][key], plain[2][key]))
    expected = mean[0][key]
    for number in (1, 2):
        kept = (2 + number) / (11 + number)
        expected = expected * kept + plain[number][key] * (1 - kept)
        torch.testing.assert_close(mean[number][key], expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(mean[2][key], plain[2][key])


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("train_network", {"validation_split": 0.3, "validate_every_n_steps": 1}),
        ("train_network", {"network_module": "networks.dylora", "network_args": ("unit=2",)}),
        ("train_db", {"stop_text_encoder_training": 3}),
        ("fine_tune", {"train_text_encoder": True}),
        ("sdxl_train", {}),
        ("train_textual_inversion", {"token_string": "sks", "init_word": "cat", "caption_prefix": "sks ", "save_model_as": "safetensors"}),
        ("sdxl_train_textual_inversion", {"token_string": "sks", "init_word": "cat", "caption_prefix": "sks ", "save_model_as": "safetensors"}),
    ],
    ids=["lora", "dylora", "train_db", "fine_tune", "sdxl_train", "textual_inversion", "sdxl_textual_inversion"],
)
def test_stopping_and_resuming_with_an_average_gives_the_same_files(tmp_path, script, more):
    given = {"ema_decay": 0.8, **more}
    assert train(tmp_path, script, max_train_steps=4, **given) == 0
    assert train(tmp_path, script, output_name="half", max_train_steps=2, save_state=True, **given) == 0
    assert train(tmp_path, script, output_name="rest", max_train_steps=4, resume=tmp_path / "out" / "half-state", **given) == 0
    assert differing(saved(tmp_path), saved(tmp_path, "half"))
    assert differing(saved(tmp_path), saved(tmp_path, "rest")) == []


@pytest.mark.parametrize(("first", "then", "said"), [({}, {"ema_decay": 0.8}, "begins here"), ({"ema_decay": 0.8}, {}, "not used")])
def test_an_average_that_begins_or_ends_with_a_resumed_run_is_told(tmp_path, monkeypatch, first, then, said):
    train(tmp_path, output_name="half", max_train_steps=1, save_state=True, **first)
    run_dir = report_to(tmp_path / "run", monkeypatch)
    assert train(tmp_path, max_train_steps=2, resume=tmp_path / "out" / "half-state", **then) == 0
    assert any(said in str(event["text"]) for event in events(run_dir, "warning"))
