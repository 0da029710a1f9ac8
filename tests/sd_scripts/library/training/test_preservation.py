"""Output preservation against targets that are computed by hand from the model without its adapter."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from tiny_runs import draw_pictures, micro_model, options, train

from sd_scripts.library.data.dataset import Batch
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.diffusion.loss import per_sample_loss
from sd_scripts.library.families.base import Conditions
from sd_scripts.library.families.sd.family import SD
from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.library.training.preservation import in_place_of, make_preservation
from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.params.loss import Loss
from sd_scripts.survey.blueprint import Blueprint
from sd_scripts.survey.items import Item

CAPTIONS = ("a photo of sks", "a photo of a dog")
CLASS = {"preservation_class": "cat", "preservation_trigger": "sks", "preservation_weight": 0.5}


class Setting:
    """The small model with an adapter that has an effect, one noised batch of two pictures, the second of them for regularisation."""

    def __init__(self, root, **given) -> None:
        config = parse_args(command("train_network"), options(root, **given))
        self.family = SD.load(config, device=torch.device("cpu"), weight_dtype=torch.float32)
        latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        self.noised = self.family.add_noise(latents, Draws(1, 1, 1, (0, 1)))
        self.conditions = Conditions.whole((64, 64), rows=2, device=torch.device("cpu"))
        self.before = self.predict(CAPTIONS)
        self.class_before = self.predict(("a photo of cat", CAPTIONS[1]))
        self.method = Adapter(config, self.family)
        self.method.prepare()
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in self.method.trainable():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        self.preservation = make_preservation(config, self.family, self.method, self.family.encode_text, trained_text=True, blueprint=Blueprint(()))

    def predict(self, captions) -> torch.Tensor:
        return self.family.predict(self.noised, self.family.encode_text(captions), self.conditions).detach()

    def batch(self) -> Batch:
        items = tuple(cast(Item, FakeItem(is_reg)) for is_reg in (False, True))
        weights, sizes = torch.ones(2), self.conditions.sizes
        return Batch(None, (0, 1), items, (0, 1), CAPTIONS, (False, False), weights, sizes, None, None, preserved=(False, False))

    def __call__(self):
        assert self.preservation is not None
        return self.preservation(
            self.batch(), self.noised, self.family.encode_text(CAPTIONS), self.conditions, model_pred=self.noised.target, mask=None
        )


class FakeItem:
    """A picture that is nothing but for regularisation or not."""

    def __init__(self, is_reg: bool) -> None:
        self.is_reg = is_reg


def test_regularisation_pictures_aim_at_the_model_before_training(tmp_path):
    setting = Setting(tmp_path, reg_output_preservation=True)
    target, extra = setting()
    torch.testing.assert_close(target[1], setting.before[1])
    assert torch.equal(target[0], setting.noised.target[0])
    assert extra == 0
    assert not torch.allclose(setting.predict(CAPTIONS), setting.before, atol=1e-4)


def test_class_captions_are_held_to_the_model_before_training(tmp_path):
    setting = Setting(tmp_path, **CLASS)
    target, extra = setting()
    moved = setting.predict(("a photo of cat", CAPTIONS[1]))
    by_hand = per_sample_loss(moved, setting.class_before, Loss(), timesteps=setting.noised.timesteps, schedule=setting.family.schedule)
    assert target is setting.noised.target
    torch.testing.assert_close(extra, by_hand * torch.tensor([0.5, 0.0]))  # the second caption has no trigger
    assert float(extra[0].detach()) > 0
    extra.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in setting.method.trainable())


def test_the_adapter_is_on_again_afterwards(tmp_path):
    setting = Setting(tmp_path, **CLASS)
    trained = setting.predict(CAPTIONS)
    setting()
    assert torch.equal(setting.predict(CAPTIONS), trained)


def test_nothing_asked_for_is_nothing_preserved(tmp_path):
    assert Setting(tmp_path).preservation is None


@pytest.mark.parametrize(
    ("caption", "changed"),
    [("a photo of SKS, red", "a photo of cat, red"), ("sks sksy", "cat sksy"), ("a dog", None), ("asks", None), ("sks", "cat")],
)
def test_the_class_takes_the_place_of_whole_words(caption, changed):
    assert in_place_of("sks", "cat", caption) == changed


def weights(root, name: str, **given) -> dict[str, torch.Tensor]:
    assert train(root, output_name=name, max_train_steps=2, **given) == 0
    return read_weights(root / "out" / f"{name}.safetensors")[0]


def test_each_option_changes_what_is_learnt(tmp_path):
    draw_pictures(tmp_path / "reg" / "1_cat")
    reg = {"reg_data_dir": tmp_path / "reg"}
    # Captions of the small runs begin with "cat".
    ways = [
        {},
        {"preservation_class": "animal", "preservation_trigger": "cat"},
        {"preservation_class": "animal", "preservation_trigger": "cat", "preservation_weight": 3.0},
        {"preservation_class": "animal", "preservation_trigger": "number"},
        {"reg_output_preservation": True},
    ]
    made = [weights(tmp_path, f"way{number}", **reg, **way) for number, way in enumerate(ways)]
    for number, first in enumerate(made):
        assert all(any(not first[key].equal(second[key]) for key in first) for second in made[:number])


def test_preserving_resumes_to_the_same_bits(tmp_path):
    shared = {**CLASS, "preservation_trigger": "cat", "preservation_class": "dog", "network_dropout": 0.2, "save_state": True}
    whole = {**shared, "max_train_steps": 4, "save_every_n_steps": 2}
    assert train(tmp_path, output_name="whole", **whole) == 0
    assert train(tmp_path, output_name="rest", resume=tmp_path / "out" / "whole-step00000002-state", **whole) == 0
    one, other = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("whole", "rest"))
    assert all(one[key].equal(other[key]) for key in one)


@pytest.mark.parametrize(
    "given",
    [
        {"preservation_class": "cat"},
        {"preservation_class": "cat", "preservation_trigger": " Cat"},
        {"reg_output_preservation": True},
    ],
)
def test_what_cannot_work_is_refused(given, tmp_path):
    assert micro_model(tmp_path).exists()
    assert train(tmp_path, **given) == 2
