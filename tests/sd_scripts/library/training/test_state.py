"""A state folder is whole or not there, has accelerate's file names, and is refused in words when it does not fit."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sd_scripts.errors import DataError, RunError
from sd_scripts.library.training.state import Parts, Position, load_state, read_position, save_state


def parts(width: int = 3) -> Parts:
    """A linear layer with an optimizer that has taken one step, and a schedule."""
    layer = nn.Linear(width, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, width)).sum().backward()
    optimizer.step()
    return Parts(layer, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer))


WHERE = Position(7, 2, seed=5, processes=1, accumulation=2, steps_per_epoch=4, losses=(0.5, 0.25))


def test_a_state_comes_back_as_it_was(tmp_path):
    saved, fresh = parts(), parts()
    save_state(tmp_path / "a-state", saved, WHERE)
    load_state(tmp_path / "a-state", fresh)
    assert read_position(tmp_path / "a-state") == WHERE
    assert torch.equal(saved.method.weight, fresh.method.weight)
    moments = [part.optimizer.state[part.method.weight]["exp_avg"] for part in (saved, fresh)]
    assert torch.equal(*moments)


def test_files_have_the_names_that_other_programs_look_for(tmp_path):
    save_state(tmp_path / "a-state", parts(), WHERE)
    names = {path.name for path in (tmp_path / "a-state").iterdir()}
    assert names == {"model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl", "train_state.json", "studio_state.json"}
    assert json.loads((tmp_path / "a-state" / "train_state.json").read_text()) == {"current_epoch": 2, "current_step": 7}


def test_what_is_told_of_a_state_is_true(tmp_path):
    told = save_state(tmp_path / "a-state", parts(), WHERE)
    assert told.bytes == sum(path.stat().st_size for path in (tmp_path / "a-state").iterdir())
    assert (told.path, told.tensors, told.finite) == (tmp_path / "a-state", 2, True)


def test_an_older_state_of_the_name_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "a-state").mkdir()
    (tmp_path / "a-state" / "leftover").touch()
    save_state(tmp_path / "a-state", parts(), WHERE)
    assert not (tmp_path / "a-state" / "leftover").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a-state"]


def test_a_state_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="output_dir"):
        save_state(tmp_path / "file" / "a-state", parts(), WHERE)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin"])
def test_a_cut_file_is_named(name, tmp_path):
    save_state(tmp_path / "a-state", parts(), WHERE)
    path = tmp_path / "a-state" / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=name):
        load_state(tmp_path / "a-state", parts())


def test_a_state_without_its_optimizer_is_refused(tmp_path):
    save_state(tmp_path / "a-state", parts(), WHERE)
    (tmp_path / "a-state" / "optimizer.bin").unlink()
    with pytest.raises(DataError, match=r"optimizer\.bin"):
        load_state(tmp_path / "a-state", parts())


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()], ids=["missing", "empty"])
def test_a_folder_that_is_no_state_is_refused(make, tmp_path):
    make(tmp_path / "a-state")
    with pytest.raises(DataError, match="state"):
        read_position(tmp_path / "a-state")
