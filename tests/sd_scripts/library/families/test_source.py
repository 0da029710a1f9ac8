"""Weight files opened one tensor at a time, and pickles that would like to run code."""

import os
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sd_scripts.errors import DataError
from sd_scripts.library.families.source import open_source


class Callback:
    """A class as old trainers put it into their checkpoints."""

    def __init__(self):
        self.best = 3


class Attack:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_safetensors_give_shapes_metadata_and_tensors(tmp_path):
    save_file({"a": torch.ones(2, 3)}, tmp_path / "x.safetensors", metadata={"key": "value"})
    with open_source(tmp_path / "x.safetensors") as source:
        assert (source.shapes, source.metadata) == ({"a": (2, 3)}, {"key": "value"})
        assert torch.equal(source.tensor("a"), torch.ones(2, 3))


@pytest.mark.parametrize("content", [{"a": torch.ones(2)}, {"state_dict": {"a": torch.ones(2)}, "epoch": 3}], ids=["flat", "nested"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_give_their_tensors(tmp_path, content, zipped):
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    with open_source(tmp_path / "x.ckpt") as source:
        assert source.shapes == {"a": (2,)}
        assert torch.equal(source.tensor("a"), torch.ones(2))


def test_objects_beside_the_weights_are_skipped(tmp_path):
    others = {"callbacks": {Callback: Callback()}, "best": np.float64(3), "options": Namespace(rate=1e-4)}
    torch.save({"state_dict": {"a": torch.ones(2)}, **others}, tmp_path / "x.ckpt")
    with open_source(tmp_path / "x.ckpt") as source:
        assert source.shapes == {"a": (2,)}


def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(2)}, "attack": Attack()}, tmp_path / "x.ckpt")
    with pytest.raises(DataError, match="without running code"), open_source(tmp_path / "x.ckpt"):
        pass
    assert not Path("attacked").exists()


def test_code_in_an_old_pickle_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(DataError, match="without running code"), open_source(tmp_path / "x.pt"):
        pass
    assert not Path("attacked").exists()


def test_a_file_that_holds_no_weights_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "x.pt")
    with pytest.raises(DataError, match="holds a list"), open_source(tmp_path / "x.pt"):
        pass
