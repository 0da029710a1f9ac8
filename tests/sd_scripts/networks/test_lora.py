"""networks.lora against recorded numbers: forward, merge, dropout, init, norms, file loading."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import Adapter
from sd_scripts.networks.build import merge_file
from sd_scripts.networks.lora import Dropouts, LoRAModule

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lora.json").read_text("utf-8"))


def wave(function: Any, step: float, scale: float, shape: tuple[int, ...], offset: float = 0.0) -> Tensor:
    """f(step · k + offset) · scale, row-major, float64 stored as float32."""
    values = [function(step * k + offset) * scale for k in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().view(shape)


def toy(kind: str) -> tuple[nn.Module, Tensor]:
    """The golden file's module and its input."""
    if kind == "linear":
        module: nn.Module = nn.Linear(6, 4)
        weight, bias, inputs = wave(math.sin, 1, 0.5, (4, 6)), wave(math.cos, 1, 0.1, (4,)), wave(math.sin, 0.3, 1, (2, 3, 6))
    elif kind == "conv1":
        module = nn.Conv2d(4, 6, 1)
        weight, bias, inputs = wave(math.sin, 0.7, 0.5, (6, 4, 1, 1)), torch.zeros(6), wave(math.cos, 0.2, 1, (2, 4, 5, 5))
    else:
        module = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        weight, bias, inputs = wave(math.sin, 0.7, 0.3, (6, 4, 3, 3)), wave(math.cos, 1, 0.1, (6,)), wave(math.cos, 0.2, 1, (2, 4, 5, 5))
    module.load_state_dict({"weight": weight, "bias": bias})
    return module.requires_grad_(False), inputs


def adapted(
    kind: str, *, rank: int = 3, alpha: float = 1.0, dropouts: Dropouts | None = None, name: str = "lora_unet_toy"
) -> tuple[LoRAModule, Tensor]:
    """The toy module with the golden factors attached, and its input."""
    module, inputs = toy(kind)
    target = AdapterTarget(name, "unet", module, {"linear": "linear", "conv1": "conv1x1", "conv3": "conv3x3"}[kind], False, 0)  # type: ignore[arg-type]
    adapter = LoRAModule(target, rank, alpha, dropouts=dropouts)
    with torch.no_grad():
        adapter.lora_down.weight.copy_(wave(math.cos, 0.5, 0.4, tuple(adapter.lora_down.weight.shape)))
        adapter.lora_up.weight.copy_(wave(math.sin, 0.9, 0.6, tuple(adapter.lora_up.weight.shape), 0.2))
    return adapter, inputs


def assert_like(tensor: Tensor, golden: dict[str, Any], tolerance: float = 1e-5) -> None:
    flat = tensor.detach().double().flatten()
    assert list(tensor.shape) == golden["shape"]
    assert flat[:6].tolist() == pytest.approx(golden["first6"][: flat.numel()], abs=tolerance, rel=tolerance)
    assert flat[-3:].tolist() == pytest.approx(golden["last3"], abs=tolerance, rel=tolerance)
    assert flat.norm().item() == pytest.approx(golden["norm"], rel=tolerance)


@pytest.mark.parametrize("case", GOLDEN["lora_forward"], ids=lambda c: f"{c['module']}-{c['alpha']}-{c['multiplier']}")
def test_forward_and_merge_give_the_recorded_numbers(case):
    module, inputs = adapted(case["module"], rank=case["rank"], alpha=case["alpha"])
    adapter = Adapter([module], multiplier=case["multiplier"])
    assert_like(module.target.module(inputs), case["base_output"])
    adapter.apply()
    assert_like(module.target.module(inputs), case["output"])
    assert module.alpha.item() == case["alpha_buffer"]
    adapter.merge()
    assert_like(module.target.module.weight, case["merged_weight"])
    assert_like(module.target.module(inputs), case["output"])


@pytest.mark.parametrize("case", GOLDEN["dropout"], ids=lambda c: f"{c['module']}-{'-'.join(c['options'])}")
def test_dropouts_draw_in_the_recorded_order(case):
    options = case["options"]
    dropouts = Dropouts(options.get("dropout", 0.0), options.get("rank_dropout", 0.0), options.get("module_dropout", 0.0))
    module, inputs = adapted(case["module"], dropouts=dropouts)
    module.attach()
    for row in case["training"]:
        torch.manual_seed(row["torch_seed"])
        assert_like(module.target.module(inputs), row["output"])
    module.eval()
    assert_like(module.target.module(inputs), case["eval"])


def test_gradients_are_the_recorded_ones():
    golden = GOLDEN["gradients"]
    module, inputs = adapted("linear")
    module.attach()
    module.target.module(inputs).square().mean().backward()
    torch.testing.assert_close(module.lora_down.weight.grad, torch.tensor(golden["grad_down"]), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(module.lora_up.weight.grad, torch.tensor(golden["grad_up"]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("label", "kind"), [("lora linear", "linear"), ("lora conv3", "conv3")])
def test_init_is_uniform_within_the_recorded_bound_and_starts_without_effect(label, kind):
    golden = GOLDEN["init"][label]
    module, inputs = toy(kind)
    adapter = LoRAModule(AdapterTarget("lora_unet_toy", "unet", module, "linear", False, 0), golden["rank"], 1.0)
    bound = golden["uniform_bound = 1/sqrt(fan_in)"]
    assert 0.98 * bound < adapter.lora_down.weight.abs().max().item() <= bound
    assert not adapter.lora_up.weight.any()
    plain = module(inputs)
    adapter.attach()
    assert torch.equal(module(inputs), plain)


def test_init_depends_on_seed_and_name_alone():
    module = nn.Linear(6, 4)

    def down(name: str, seed: int) -> Tensor:
        return LoRAModule(AdapterTarget(name, "unet", module, "linear", False, 0), 4, 1.0, seed=seed).lora_down.weight.detach()

    before = torch.random.get_rng_state()
    first, other_name, other_seed, again = down("a", 1), down("b", 1), down("a", 2), down("a", 1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other_name)
    assert not torch.equal(first, other_seed)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("case", GOLDEN["scale_weight_norms"], ids=lambda c: str(c["max_norm"]))
def test_scale_norms_shrinks_both_factors_as_recorded(case):
    modules = {name: adapted(kind, name=name)[0] for name, kind in (("a_linear", "linear"), ("b_conv1", "conv1"), ("c_conv3", "conv3"))}
    adapter = Adapter(modules.values())
    scaled, mean, largest = adapter.scale_norms(case["max_norm"])
    assert scaled == case["keys_scaled"]
    assert mean == pytest.approx(case["mean_norm"], rel=1e-5)
    assert largest == pytest.approx(case["max_norm_after"], rel=1e-5)
    for name, (down, up) in case["norms_after (down, up)"].items():
        assert modules[name].lora_down.weight.norm().item() == pytest.approx(down, rel=1e-5)
        assert modules[name].lora_up.weight.norm().item() == pytest.approx(up, rel=1e-5)


@pytest.mark.parametrize("kind", ["linear", "conv1", "conv3"])
def test_removing_an_adapter_gives_the_module_its_own_forward_back(kind):
    module, inputs = adapted(kind)
    plain = module.target.module(inputs)
    adapter = Adapter([module])
    adapter.apply()
    adapter.apply()
    assert not torch.equal(module.target.module(inputs), plain)
    adapter.remove()
    assert torch.equal(module.target.module(inputs), plain)
    assert "forward" not in vars(module.target.module)


def test_multiplier_zero_switches_the_adapter_off():
    module, inputs = adapted("linear")
    plain = module.target.module(inputs)
    adapter = Adapter([module])
    adapter.apply()
    adapter.multiplier = 0.0
    assert torch.equal(module.target.module(inputs), plain)


def test_the_frozen_module_is_neither_saved_nor_trained():
    module, _ = adapted("linear")
    assert list(Adapter([module]).state_dict()) == ["lora_unet_toy.alpha", "lora_unet_toy.lora_down.weight", "lora_unet_toy.lora_up.weight"]


def test_loading_keeps_the_effect_of_a_file_with_another_alpha():
    source, inputs = adapted("linear", alpha=3.0)
    tensors = {key: value.clone() for key, value in Adapter([source]).state_dict().items()}
    source.attach()
    wanted = source.target.module(inputs)
    module, _ = toy("linear")
    adapter = Adapter([LoRAModule(AdapterTarget("lora_unet_toy", "unet", module, "linear", False, 0), 3, 1.0)])
    report = adapter.load(tensors)
    adapter.apply()
    torch.testing.assert_close(module(inputs), wanted)
    assert report.rescaled == ("lora_unet_toy",)
    assert adapter.state_dict()["lora_unet_toy.alpha"].item() == 1.0


def test_loading_names_what_is_missing_and_what_is_left_over():
    module, _ = adapted("linear")
    report = Adapter([module]).load({"lora_unet_other.alpha": torch.tensor(1.0)})
    assert (report.missing, report.unexpected) == (("lora_unet_toy",), ("lora_unet_other",))


def test_a_factor_of_another_rank_is_refused_by_name():
    module, _ = adapted("linear")
    tensors = dict(Adapter([adapted("linear", rank=2)[0]]).state_dict())
    with pytest.raises(ValueError, match=r"lora_unet_toy\.lora_down\.weight is \(2, 6\) in the file and \(3, 6\) here"):
        Adapter([module]).load(tensors)


@pytest.mark.parametrize("kind", ["linear", "conv1", "conv3"])
def test_merging_a_file_equals_running_beside_it(kind):
    module, inputs = adapted(kind, alpha=2.0)
    adapter = Adapter([module], multiplier=0.7)
    tensors = {key: value.clone() for key, value in adapter.state_dict().items()}
    adapter.apply()
    beside = module.target.module(inputs)
    adapter.remove()
    left = merge_file([module.target], {**tensors, "lora_te_other.alpha": torch.tensor(1.0)}, 0.7)
    torch.testing.assert_close(module.target.module(inputs), beside)
    assert left == ("lora_te_other",)


def test_autocast_to_bfloat16_keeps_the_factors_in_float32():
    module, inputs = adapted("linear")
    module.attach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = module.target.module(inputs)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert module.lora_up.weight.dtype == module.lora_up.weight.grad.dtype == torch.float32
