"""The adapter method on a small SD 1.x model: what is trained, merged, loaded and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.library.families.base import Conditions, Noised
from sd_scripts.library.families.sd import SD
from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.library.weights_file import save_weights
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.survey.plan import Plan
from tests.tiny_models import build_sd15_micro, build_sd15_tiny, wave

Make = Callable[..., Adapter]
WHOLE = Conditions.whole((64, 64), rows=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sd15_micro(tmp_path_factory.mktemp("model") / "micro.safetensors")


@pytest.fixture
def make(model: Path) -> Make:
    """A prepared method on a fresh copy of the model; keywords are options."""

    def build(**given: object) -> Adapter:
        start = {"pretrained_model_name_or_path": str(model), "network_module": "networks.lora", "network_dim": 2, "learning_rate": 1e-3, "seed": 7}
        asked = make_config(command("train_network"), {**start, **given})
        method = Adapter(asked, SD.load(asked, device=torch.device("cpu"), weight_dtype=torch.float32))
        method.prepare()
        return method

    return build


def disturb(method: Adapter, seed: int = 1) -> Adapter:
    """Give the up factors values, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in method.adapter.modules_by_name.values():
            module.lora_up.weight.copy_(0.3 * torch.randn(module.lora_up.weight.shape, generator=generator))  # type: ignore[union-attr]
    return method


@torch.no_grad()
def output(method: Adapter, caption: str = "a red square") -> Tensor:
    """The model's prediction for a caption, text encoder and U-Net with what is attached to them."""
    latents = wave(0.05, (1, 4, 8, 8))
    noised = Noised(latents, torch.tensor([400]), latents, torch.ones(1))
    return method.family.predict(noised, method.family.encode_text([caption]), WHOLE)


def saved(method: Adapter, path: Path) -> Path:
    return save_weights(path, method.tensors(None), method.metadata()).path


def plan(**numbers: object) -> Plan:
    return cast(Plan, SimpleNamespace(**numbers))


def test_a_fresh_adapter_changes_nothing_and_is_attached(make):
    method = make()
    plain = output(method)
    disturb(method)
    assert not torch.equal(output(method), plain)
    method.adapter.remove()
    assert torch.equal(output(method), plain)


def test_the_frozen_model_gets_no_gradient(make):
    method = make()
    latents = wave(0.05, (1, 4, 8, 8))
    noised = Noised(latents, torch.tensor([400]), latents, torch.ones(1))
    method.family.predict(noised, method.family.encode_text(["a"]), WHOLE).square().mean().backward()
    parts = (method.family.unet, method.family.text_encoders[0], method.family.vae)
    assert all(parameter.grad is None for part in parts for parameter in part.parameters())
    assert all(parameter.grad is not None for parameter in method.trainable())


@pytest.mark.parametrize(("names", "options"), [("sd15_lora", {}), ("sd15_lora_conv", {"network_args": ["conv_dim=1"]})])
def test_unet_names_of_the_real_depth_are_the_recorded_ones_in_order(names, options, tmp_path):
    golden = json.loads((Path(__file__).parents[3] / "golden" / "lora_module_names.json").read_text("utf-8"))[names]
    given = {"pretrained_model_name_or_path": str(build_sd15_tiny(tmp_path / "tiny.safetensors")), "network_module": "networks.lora", **options}
    asked = make_config(command("train_network"), given)
    method = Adapter(asked, SD.load(asked, device=torch.device("cpu"), weight_dtype=torch.float32))
    method.prepare()
    assert [name for name in method.adapter.modules_by_name if name.startswith("lora_unet_")] == golden["denoiser"]


def test_training_goes_on_from_a_saved_file(make, tmp_path):
    first = disturb(make(network_alpha=1))
    path = saved(first, tmp_path / "first.safetensors")
    second = make(network_alpha=1, network_weights=str(path))
    assert torch.equal(output(second), output(first))
    assert second.notes == ()


def test_a_file_with_another_alpha_keeps_its_effect_and_says_so(make, tmp_path):
    first = disturb(make(network_alpha=2))
    second = make(network_alpha=1, network_weights=str(saved(first, tmp_path / "first.safetensors")))
    torch.testing.assert_close(output(second), output(first))
    assert [note.field for note in second.notes] == ["network_weights"]
    assert "another alpha" in second.notes[0].message


def test_ranks_and_modules_come_from_the_file_where_asked(make, tmp_path):
    first = disturb(make(network_dim=3, network_alpha=2, network_args=["conv_dim=5"], network_train_unet_only=True))
    second = make(network_dim=8, dim_from_weights=True, network_weights=str(saved(first, tmp_path / "first.safetensors")))
    assert list(second.adapter.modules_by_name) == list(first.adapter.modules_by_name)
    assert {module.rank for module in second.adapter.modules_by_name.values()} == {3, 5}
    assert torch.equal(output(second), output(first))
    assert second.metadata()["ss_network_dim"] == "Dynamic"


def test_dim_from_weights_without_a_file_is_refused(make):
    with pytest.raises(ConfigError, match=r"--dim_from_weights: There is no file to take ranks from\."):
        make(dim_from_weights=True)


def test_ranks_from_a_file_of_another_kind_are_refused(make, tmp_path):
    path = save_weights(tmp_path / "other.safetensors", {"lora_unet_double_blocks_0.lora_down.weight": torch.ones(2, 2)}, {}).path
    with pytest.raises(ConfigError, match=r"--network_weights: The file holds no LoRA for this model\."):
        make(dim_from_weights=True, network_weights=str(path))


def test_base_weights_are_merged_with_their_multipliers(make, tmp_path):
    first = disturb(make())
    path = saved(first, tmp_path / "first.safetensors")
    first.adapter.multiplier = 0.5 + 1.0
    merged = make(base_weights=[str(path), str(path)], base_weights_multiplier=[0.5], network_train_unet_only=True)
    torch.testing.assert_close(output(merged), output(first))


def test_merging_equals_running_beside(make):
    method = disturb(make(network_args=["conv_dim=2"]))
    beside = output(method)
    method.adapter.merge()
    torch.testing.assert_close(output(method), beside)


def test_a_file_of_another_rank_is_refused_with_a_remedy(make, tmp_path):
    path = saved(make(network_dim=4), tmp_path / "four.safetensors")
    with pytest.raises(ConfigError, match=r"--network_weights: .* is \(4, \d+\) in the file and \(2, \d+\) here\. Set network_dim"):
        make(network_weights=str(path))


@pytest.mark.parametrize("field", ["network_weights", "base_weights"])
def test_a_file_of_another_kind_is_refused_by_path(make, tmp_path, field):
    path = save_weights(tmp_path / "other.safetensors", {"lora_unet_double_blocks_0.lora_down.weight": torch.ones(2, 2)}, {}).path
    with pytest.raises(DataError) as caught:
        make(**{field: str(path) if field == "network_weights" else [str(path)]})
    assert caught.value.path == path
    assert "same model type" in caught.value.fix


def test_modules_that_a_file_lacks_or_has_beyond_are_listed(make, tmp_path):
    tensors = {key: value for key, value in make().tensors(None).items() if "_te_" not in key} | {"lora_unet_extra.alpha": torch.tensor(1.0)}
    method = make(network_weights=str(save_weights(tmp_path / "part.safetensors", tensors, {}).path))
    lacking, extra = method.notes
    assert "lacks modules that are trained here (12): lora_te_text_model_encoder_layers_0_self_attn_k_proj," in lacking.message
    assert "has modules that are not trained here (1): lora_unet_extra." in extra.message


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({}, ["textencoder", "unet"]),
        ({"network_train_unet_only": True}, ["unet"]),
        ({"network_train_text_encoder_only": True}, ["textencoder"]),
        ({"stop_text_encoder_training": -1}, ["unet"]),
        ({"unet_lr": 0.0}, ["textencoder"]),
        ({"text_encoder_lr": (0.0,)}, ["unet"]),
        ({"network_args": ["loraplus_unet_lr_ratio=4"]}, ["textencoder", "unet", "unet plus"]),
    ],
)
def test_what_is_trained_follows_from_rates_and_switches(make, options, groups):
    method = make(**options)
    assert [group.name for group in method.param_groups()] == groups
    trained = {id(parameter) for parameter in method.trainable()}
    assert all(parameter.requires_grad == (id(parameter) in trained) for parameter in method.adapter.parameters())


def test_rates_of_unet_and_text_encoder_win_over_the_main_one(make):
    groups = make(learning_rate=1.0, unet_lr=0.5, text_encoder_lr=(0.25,)).param_groups()
    assert [(group.name, group.lr) for group in groups] == [("textencoder", 0.25), ("unet", 0.5)]


def test_no_rate_at_all_is_refused(make):
    with pytest.raises(ConfigError, match="Every learning rate is 0"):
        make(learning_rate=0.0).param_groups()


def test_the_text_encoder_rests_from_its_stop_step_on(make):
    method = make(stop_text_encoder_training=2)
    optimizer = torch.optim.AdamW([group.as_dict() for group in method.param_groups()], weight_decay=0.1)
    moved = []
    for step in range(4):
        before = method.tensors(None)
        method.before_step(step, plan(text_encoder_stop_step=2))
        latents = wave(0.05, (1, 4, 8, 8))
        noised = Noised(latents, torch.tensor([400]), latents, torch.ones(1))
        method.family.predict(noised, method.family.encode_text(["a"]), WHOLE).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        changed = {key[:7] for key, value in method.tensors(None).items() if not torch.equal(value, before[key])}
        moved.append(sorted(changed))
    assert moved == [["lora_te", "lora_un"]] * 2 + [["lora_un"]] * 2


def test_a_state_goes_back_bit_for_bit_and_another_one_is_refused(make):
    first = disturb(make())
    second = make(seed=8)
    second.load_state_dict(first.state_dict())
    assert torch.equal(output(second), output(first))
    with pytest.raises(DataError, match="The state does not fit this adapter"):
        make(network_dim=3).load_state_dict(first.state_dict())


def test_checkpoints_are_copies_in_the_dtype_asked_for(make):
    method = make()
    tensors = method.tensors(torch.bfloat16)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    full = method.tensors(None)
    disturb(method)
    assert not any(tensor.any() for key, tensor in full.items() if "lora_up" in key)


def test_large_norms_are_scaled_after_a_step_and_reported(make):
    method = disturb(make(scale_weight_norms=0.2))
    numbers = method.after_step()
    assert numbers["max_norm/keys_scaled"] == len(method.adapter.modules_by_name)
    assert numbers["max_norm/max_key_norm"] == pytest.approx(0.2, rel=1e-5)
    assert make().after_step() == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"network_alpha": 2},
            {"ss_network_module": "networks.lora", "ss_network_dim": "2", "ss_network_alpha": "2.0", "ss_network_dropout": "None"},
        ),
        (
            {"network_dim": None},
            {"ss_network_module": "networks.lora", "ss_network_dim": "None", "ss_network_alpha": "1", "ss_network_dropout": "None"},
        ),
    ],
)
def test_metadata_is_written_as_kohya_writes_it(make, options, said):
    assert make(**options).metadata() == said


def test_arguments_stand_in_the_metadata_as_text(make):
    said: dict[str, Any] = json.loads(make(network_args=["conv_dim=4", "conv_alpha=1"]).metadata()["ss_network_args"])
    assert said["conv_dim"] == "4"
    assert said["dropout"] is None


def test_half_training_keeps_the_adapter_in_half(make):
    method = make(full_bf16=True, mixed_precision="bf16")
    assert {parameter.dtype for parameter in method.trainable()} == {torch.bfloat16}
