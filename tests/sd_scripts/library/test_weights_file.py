"""Saving and reading weight files: whole or not at all, and what the user is told when it fails."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from sd_scripts.errors import DataError, RunError
from sd_scripts.library.weights_file import read_weights, save_weights


def tensors() -> dict[str, Tensor]:
    return {
        "lora_unet_a.lora_down.weight": torch.arange(12, dtype=torch.float32).view(3, 4),
        "lora_unet_a.lora_up.weight": torch.ones(5, 3, dtype=torch.bfloat16),
        "lora_unet_a.alpha": torch.tensor(2.0),
        "counts": torch.arange(3),
        "empty": torch.zeros(0, 4),
    }


def described(values: dict[str, Tensor]) -> dict[str, object]:
    return {key: (value.dtype, value.tolist()) for key, value in values.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pt"])
def test_what_was_saved_is_read_back(tmp_path, suffix):
    saved = save_weights(tmp_path / f"ä b 中{suffix}", tensors(), {"ss_steps": "3"})
    found, metadata = read_weights(saved.path)
    assert metadata == ({"ss_steps": "3"} if suffix == ".safetensors" else {})
    assert described(found) == described(tensors())
    content = saved.path.read_bytes()
    assert (saved.bytes, saved.tensors, saved.sha256) == (len(content), 5, hashlib.sha256(content).hexdigest())
    assert saved.finite
    assert list(tmp_path.iterdir()) == [saved.path]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_not_a_number_is_reported(tmp_path, dtype):
    assert not save_weights(tmp_path / "a.safetensors", {"a": torch.tensor([1.0, float("nan")]).to(dtype)}, {}).finite


def test_a_non_contiguous_tensor_is_saved_by_its_values(tmp_path):
    wide = torch.arange(6.0).view(2, 3).T
    assert torch.equal(read_weights(save_weights(tmp_path / "a.safetensors", {"a": wide}, {}).path)[0]["a"], wide)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_full_disk_leaves_the_previous_file_and_says_what_was_to_be_written(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_weights(path, {"a": torch.ones(4)}, {})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(RunError, match=r"Could not write .*a\.(safetensors|pt) \(4,000,000 bytes\).* Free space"):
            save_weights(path, {"a": torch.ones(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(RunError, match="choose another output_dir"):
        save_weights(tmp_path / "no" / "a.safetensors", tensors(), {})


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_off_file_is_refused_with_its_path(tmp_path, suffix, share):
    path = save_weights(tmp_path / f"a{suffix}", tensors(), {}).path
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match="no whole weight file") as caught:
        read_weights(path)
    assert caught.value.path == path


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"a": Path("x")}, path)
    with pytest.raises(DataError, match="no whole weight file"):
        read_weights(path)


def test_a_checkpoint_with_its_tensors_one_level_down_is_read(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}, "global_step": 7}, path)
    assert list(read_weights(path)[0]) == ["a"]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.safetensors: There is no such file"):
        read_weights(tmp_path / "gone.safetensors")


def test_metadata_keeps_any_text(tmp_path):
    said = {"ss_training_comment": 'quotes " and 中文 \n lines', "empty": ""}
    path = save_weights(tmp_path / "a.safetensors", tensors(), said).path
    with safe_open(path, "pt") as file:
        assert file.metadata() == said
