"""The kinds of adapters beside networks.lora: recorded numbers, gradients against explicit weights, starts, files and what they do together."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import Adapter, AdapterModule
from sd_scripts.networks.build import merge_file
from sd_scripts.networks.delta import DeltaModule, Dropouts
from sd_scripts.networks.dylora import DyLoRAModule
from sd_scripts.networks.loha import LoHaModule
from sd_scripts.networks.lokr import Form, LoKrModule
from sd_scripts.networks.lora import LoRAFAModule, LoRAModule, kept_ranks
from sd_scripts.networks.oft import OFTModule
from sd_scripts.survey.lycoris_sizes import split_side
from tests.sd_scripts.networks.test_lora import assert_like, toy, wave

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lora.json").read_text("utf-8"))
KINDS: dict[str, Callable[[AdapterTarget], AdapterModule]] = {
    "lora": lambda at: LoRAModule(at, 2, 1.0),
    "lora_fa": lambda at: LoRAFAModule(at, 2, 1.0),
    "lora dora": lambda at: LoRAModule(at, 2, 1.0, dora=True),
    "dylora": lambda at: DyLoRAModule(at, 4, 2.0, unit=2),
    "loha": lambda at: LoHaModule(at, 2, 1.0),
    "loha tucker": lambda at: LoHaModule(at, 2, 1.0, tucker=True),
    "loha dora": lambda at: LoHaModule(at, 2, 1.0, dora=True),
    "lokr": lambda at: LoKrModule(at, 1, 0.5),
    "lokr factor": lambda at: LoKrModule(at, 1, 0.5, form=Form.of(at, 1, factor=2)),
    "lokr both": lambda at: LoKrModule(at, 1, 0.5, form=Form.of(at, 1, both=True, factor=2)),
    "lokr full": lambda at: LoKrModule(at, 1, 0.5, form=Form.of(at, 1, full=True)),
    "lokr tucker": lambda at: LoKrModule(at, 1, 0.5, form=Form.of(at, 1, factor=1), tucker=True),
    "lokr dora": lambda at: LoKrModule(at, 1, 0.5, dora=True),
    "oft": lambda at: OFTModule(at, 2, 0.1),
}
LAYERS = ("linear", "conv1", "conv3")


def layer(kind: str) -> tuple[AdapterTarget, Tensor]:
    module, inputs = toy(kind)
    return AdapterTarget("lora_unet_toy", "unet", module, {"linear": "linear", "conv1": "conv1x1", "conv3": "conv3x3"}[kind], False, 0), inputs  # type: ignore[arg-type]


def disturbed(adapter: AdapterModule) -> AdapterModule:
    """Every parameter away from its start."""
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters()):
            parameter.add_(0.3 * wave(math.sin, 0.7 + number, 1.0, tuple(parameter.shape), 0.4))
    return adapter


def applied(target: AdapterTarget, weight: Tensor, inputs: Tensor) -> Tensor:
    module: Any = target.module
    if isinstance(module, nn.Linear):
        return F.linear(inputs, weight, module.bias)
    return F.conv2d(inputs, weight, module.bias, module.stride, module.padding)


@pytest.mark.parametrize("case", GOLDEN["oft_rows"], ids=lambda c: f"{c['module']}-{c['num_blocks']}-{c['alpha']}-{c['multiplier']}")
def test_oft_gives_the_recorded_numbers(case):
    target, inputs = layer(case["module"])
    module = OFTModule(target, case["num_blocks"], case["alpha"])
    assert list(module.oft_blocks.shape) == case["block_shape"]
    assert module.constraint == pytest.approx(case["constraint"])
    with torch.no_grad():
        module.oft_blocks.copy_(wave(math.sin, 0.8, 0.3, tuple(module.oft_blocks.shape), 0.1))
    adapter = Adapter([module], multiplier=case["multiplier"])
    adapter.apply()
    assert_like(target.module(inputs), case["output"])
    adapter.merge()
    assert_like(target.module.weight, case["merged_weight"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "case", [row for row in GOLDEN["dylora_rows"] if "output" in row], ids=lambda c: f"{c['module']}-{c['unit']}-{c['random_draw']}"
)
def test_dylora_gives_the_recorded_numbers(case, monkeypatch):
    target, inputs = layer(case["module"])
    module = DyLoRAModule(target, case["rank"], case["alpha"], unit=case["unit"])
    down, up = module.file_tensors()["lora_down.weight"], module.file_tensors()["lora_up.weight"]
    module.load_file(
        {
            "lora_down.weight": wave(math.cos, 0.5, 0.4, tuple(down.shape)),
            "lora_up.weight": wave(math.sin, 0.9, 0.6, tuple(up.shape), 0.2),
            "alpha": torch.tensor(float(case["alpha"])),
        }
    )
    module.attach()
    if case["random_draw"] is None:
        module.eval()
    else:
        monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([case["random_draw"]]))
    output = target.module(inputs)
    assert_like(output, case["output"])
    if case["random_draw"] is not None:
        output.square().mean().backward()
        trained = [row for at, part in enumerate(module.lora_A) if part.grad is not None for row in range(at * module.unit, (at + 1) * module.unit)]
        assert trained == case["trainable_rows"]


def test_a_dylora_file_is_a_lora_file():
    golden = next(row for row in GOLDEN["dylora_rows"] if "saved_shapes" in row)
    target, _ = layer(golden["module"])
    saved = DyLoRAModule(target, 4, 2).file_tensors()
    for key, tensor in saved.items():
        assert list(tensor.shape) == golden["saved_shapes"].get(f"n.{key}", golden["saved_shapes"].get(key)), key


@pytest.mark.parametrize(("label", "kind"), [("lora_fa linear", "linear"), ("lora_fa conv3", "conv3")])
def test_lora_fa_starts_normal_and_trains_only_the_up_factor(label, kind):
    golden = GOLDEN["init"][label]
    target, _ = layer(kind)
    module = LoRAFAModule(target, golden["rank"], 1.0)
    assert module.lora_down.weight.std().item() == pytest.approx(golden["std = sqrt(2/(in + rank))"], rel=0.1)
    assert [name for name, parameter in module.named_parameters() if any(parameter is one for one in module.trained_parameters())] == golden[
        "trainable"
    ]


@pytest.mark.parametrize(("name", "kind"), itertools.product(KINDS, LAYERS))
def test_output_and_gradients_equal_those_of_an_explicit_weight(name, kind):
    """The module's own path against W + change written out, by autograd: every parameter's gradient, and the input's."""
    target, inputs = layer(kind)
    module = disturbed(KINDS[name](target)).eval()
    one, other = inputs.clone().requires_grad_(True), inputs.clone().requires_grad_(True)
    module.attach()
    given = target.module(one)
    module.detach()
    expected = applied(target, explicit(module), other)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(target.module.weight + module.change(), explicit(module).detach(), rtol=1e-4, atol=1e-5)  # type: ignore[operator]
    parameters = module.trained_parameters()
    weights = wave(math.cos, 0.31, 1.0, tuple(given.shape))
    mine = torch.autograd.grad((given * weights).sum(), [one, *parameters])
    theirs = torch.autograd.grad((expected * weights).sum(), [other, *parameters])
    for left, right in zip(mine, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def explicit(module: AdapterModule) -> Tensor:
    """The weight with the module's change, built from its parameters by the paper's formula, differentiable."""
    weight = module.weight.detach()
    if isinstance(module, OFTModule):
        skew = module.oft_blocks - module.oft_blocks.transpose(1, 2)
        norm = skew.flatten().norm()
        skew = skew * ((norm.clamp(max=module.constraint) + 1e-8) / (norm + 1e-8))
        turns = [torch.linalg.solve((torch.eye(len(q)) - q).T, (torch.eye(len(q)) + q).T).T for q in skew]
        return (torch.block_diag(*turns).T @ weight.flatten(1)).view(weight.shape)
    assert isinstance(module, DeltaModule)
    changed = weight + module.scale * explicit_delta(module).view(weight.shape)
    if module.dora_scale is None:
        return changed
    rows = changed.detach().flatten(1).norm(dim=1).view(-1, *(1 for _ in weight.shape[1:]))
    return module.dora_scale / rows * changed


def explicit_delta(module: DeltaModule) -> Tensor:
    if isinstance(module, LoRAModule):
        return module.lora_up.weight.flatten(1) @ module.lora_down.weight.flatten(1)
    if isinstance(module, DyLoRAModule):
        return sum(b.flatten(1) @ a.flatten(1) for a, b in zip(module.lora_A, module.lora_B, strict=True))  # type: ignore[return-value]
    parts = dict(module.named_parameters())
    if isinstance(module, LoHaModule):
        if module.tucker:
            halves = [torch.einsum("abkl,ao,bi->oikl", parts[f"hada_t{n}"], parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"]) for n in (1, 2)]
        else:
            halves = [parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"] for n in (1, 2)]
        return halves[0] * halves[1]
    small = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    kernel = module.weight.shape[2:]
    inner = module.weight.shape[1] // small.shape[1]
    if "lokr_w2" in parts:
        large = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        large = torch.einsum("abkl,ao,bi->oikl", parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
    else:
        large = (parts["lokr_w2_a"] @ parts["lokr_w2_b"]).view(-1, inner, *kernel)
    rows = [torch.cat([small[i, j] * large for j in range(small.shape[1])], dim=1) for i in range(small.shape[0])]
    return torch.cat(rows)


@pytest.mark.parametrize(("name", "kind"), itertools.product([*KINDS, "pissa"], LAYERS))
def test_it_starts_without_effect_and_its_file_has_its_effect(name, kind):
    target, inputs = layer(kind)
    target = replace(target, name="oft_unet_toy") if name == "oft" else target
    module = LoRAModule(target, 2, 1.0, pissa=True) if name == "pissa" else KINDS[name](target)
    adapter = Adapter([module])
    plain = target.module(inputs)
    adapter.apply()
    adapter.eval()
    torch.testing.assert_close(target.module(inputs), plain, rtol=1e-4, atol=1e-5)
    disturbed(module)
    changed = target.module(inputs)
    assert not torch.allclose(changed, plain, atol=2e-4)
    adapter.remove()
    merge_file([target], {key: tensor.detach().clone() for key, tensor in adapter.file_tensors().items()}, 1.0)
    torch.testing.assert_close(target.module(inputs), changed, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [*KINDS, "pissa"])
def test_a_file_goes_on_where_it_ended(name):
    target, _ = layer("linear")

    def make() -> AdapterModule:
        return LoRAModule(target, 2, 1.0, pissa=True) if name == "pissa" else KINDS[name](target)

    source, copy = disturbed(make()), make()
    copy.load_file({key: tensor.detach().clone() for key, tensor in source.file_tensors().items()})
    torch.testing.assert_close(copy.change(), source.change())


def test_pissa_starts_from_the_strongest_directions():
    target, _ = layer("linear")
    module = LoRAModule(target, 2, 1.0, pissa=True)
    values = torch.linalg.svdvals(target.module.weight.float())  # type: ignore[operator]
    product = module.scale * module.lora_up.weight @ module.lora_down.weight
    torch.testing.assert_close(torch.linalg.svdvals(product)[:2], values[:2], rtol=1e-4, atol=1e-5)


def test_t_lora_keeps_more_ranks_at_cleaner_timesteps():
    kept = kept_ranks(torch.tensor([0, 500, 999]), 8, least=2, exponent=1.0)
    assert kept.sum(dim=1).tolist() == [8, 5, 2]
    target, inputs = layer("linear")
    module = disturbed(LoRAModule(target, 2, 1.0))
    module.attach()
    whole = target.module(inputs)
    assert isinstance(module, LoRAModule)
    module.kept = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    given = target.module(inputs)
    assert torch.equal(given[0], whole[0]) and not torch.allclose(given[1], whole[1])
    module.eval()
    assert torch.equal(target.module(inputs), whole)


@pytest.mark.parametrize("name", ["loha", "lokr"])
def test_dropouts_change_the_output_while_training_only(name):
    target, inputs = layer("linear")
    make = {"loha": LoHaModule, "lokr": LoKrModule}[name]
    for dropouts in (Dropouts(rank=0.5), Dropouts(module=0.5)):
        module = disturbed(make(target, 1, 1.0, dropouts=dropouts))
        module.attach()
        torch.manual_seed(0)
        outputs = [target.module(inputs) for _ in range(6)]
        assert any(not torch.equal(outputs[0], output) for output in outputs[1:])
        module.eval()
        assert torch.equal(target.module(inputs), target.module(inputs))
        module.detach()


@pytest.mark.parametrize(
    ("size", "factor", "parts"), [(128, -1, (8, 16)), (320, -1, (16, 20)), (320, 8, (8, 40)), (320, 7, (5, 64)), (768, 4, (4, 192)), (7, -1, (1, 7))]
)
def test_sides_are_split_as_recorded_in_lycoris_documentation(size, factor, parts):
    assert split_side(size, factor) == parts


@pytest.mark.parametrize("name", [name for name in KINDS if not name.endswith("dora") and name != "oft"])
def test_norms_are_limited(name):
    target, _ = layer("linear")
    module = disturbed(KINDS[name](target))
    adapter = Adapter([module])
    before = module.change().norm().item()
    scaled, mean, largest = adapter.scale_norms(before / 2)
    assert scaled == 1 and mean == pytest.approx(largest)
    assert module.change().norm().item() == pytest.approx(before / 2, rel=1e-3)
