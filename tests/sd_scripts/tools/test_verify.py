"""The verifier tells whole files from broken ones, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sd_scripts.library.training.metadata import model_hashes
from sd_scripts.library.weights_file import save_weights
from sd_scripts.tools.verify import main
from tests.tiny_models import build_sd15_micro


def lora(rank: int = 4, alpha: float = 2.0) -> dict[str, Tensor]:
    stem = "lora_unet_down_blocks_0_attentions_0_proj_in"
    return {
        f"{stem}.lora_down.weight": torch.ones(rank, 8, 1, 1),
        f"{stem}.lora_up.weight": torch.ones(8, rank, 1, 1),
        f"{stem}.alpha": torch.tensor(alpha),
    }


def said(capsys: pytest.CaptureFixture[str], *files: Path) -> tuple[int, list[dict[str, object]]]:
    """Exit code and parsed lines."""
    code = main([str(path) for path in files])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_lora_is_described(tmp_path, capsys):
    tensors = lora()
    metadata = {"ss_base_model_version": "sd_v1", "sshs_model_hash": model_hashes(tensors, {})[0]}
    saved = save_weights(tmp_path / "a.safetensors", tensors, metadata)
    code, (found,) = said(capsys, saved.path)
    assert code == 0
    assert found == {
        "path": str(saved.path), "ok": True, "kind": "lora", "family": "sd1", "precision": "fp32", "bytes": saved.bytes, "tensors": 3, "finite": True,
        "sha256": saved.sha256, "states_its_hash": True, "ranks": {"4": 1}, "alphas": {"2": 1},
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_checkpoint_is_recognised(tmp_path, capsys, suffix):
    code, (found,) = said(capsys, build_sd15_micro(tmp_path / f"m{suffix}"))
    assert (code, found["kind"], found["family"], found["finite"]) == (0, "checkpoint", "sd1", True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_a_number_is_named_by_its_key(tmp_path, capsys, bad):
    tensors = lora()
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    tensors[key][0, 0] = bad
    code, (found,) = said(capsys, save_weights(tmp_path / "a.safetensors", tensors, {}).path)
    assert (code, found["ok"], found["finite"], found["not_finite"]) == (2, False, False, [key])


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_cut_off_file_is_bad_and_the_others_are_still_checked(tmp_path, capsys, suffix):
    cut = save_weights(tmp_path / f"cut{suffix}", lora(), {}).path
    cut.write_bytes(cut.read_bytes()[:-20])
    whole = save_weights(tmp_path / "whole.safetensors", lora(), {}).path
    code, (first, second) = said(capsys, cut, whole)
    assert code == 2
    assert first["ok"] is False
    assert str(cut) in str(first["error"])
    assert second["ok"] is True


def test_a_wrong_hash_in_the_metadata_is_told(tmp_path, capsys):
    saved = save_weights(tmp_path / "a.safetensors", lora(), {"sshs_model_hash": "0" * 64})
    assert said(capsys, saved.path)[1][0]["states_its_hash"] is False


def test_a_missing_file_is_bad(tmp_path, capsys):
    code, (found,) = said(capsys, tmp_path / "gone.safetensors")
    assert code == 2
    assert "does not exist" in str(found["error"])


def test_text_is_one_line_per_file(tmp_path, capsys):
    saved = save_weights(tmp_path / "a.safetensors", lora(), {})
    assert main(["--text", str(saved.path), str(tmp_path / "gone.ckpt")]) == 2
    good, bad = capsys.readouterr().out.splitlines()
    assert good.startswith("ok ")
    assert saved.sha256 in good
    assert bad.startswith("BAD ")
