"""Which modules get an adapter, with which rank, alpha and optimizer group: recorded for the real depth of SD 1.x and SDXL."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.load import skeleton
from sd_scripts.library.families.ldm.targets import text_targets
from sd_scripts.library.families.sdxl import SDXL
from sd_scripts.library.families.sdxl.targets import unet_targets
from sd_scripts.networks.base import Rates
from sd_scripts.networks.build import build as build_adapter
from sd_scripts.params.blocks import UNET_23, UNET_25, BlockLayout, lr_weights
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.network import LoRAArgs
from tests.tiny_models import SDXL_BASE, single_file_shapes

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = list(json.loads((GOLDEN / "adapters.json").read_text("utf-8"))["sd1 and sdxl"])
DEVIATIONS = {
    row["case"]: row["value"] for row in tomllib.loads((GOLDEN / "deviations.toml").read_text("utf-8"))["deviation"] if row["file"] == "adapters.json"
}
GROUPED = [case for case in CASES if "groups" in case]
HASH = "sha256 of the sorted lines 'name rank alpha' joined by newline"
DOWN, UP = (
    re.compile(r"down_blocks_(\d)_(?:attentions|resnets|(downsamplers))_(\d)"),
    re.compile(r"up_blocks_(\d)_(?:attentions|resnets|(upsamplers))_(\d)"),
)


def block_of(name: str) -> int:
    """Down block i, layer j is 1 + 3i + j (its downsampler 3i + 3), the middle 12, up 13 + 3i + j (its upsampler 15 + 3i)."""
    if "_mid_block_" in name:
        return 12
    down, up = DOWN.search(name), UP.search(name)
    level, sampler, index = (down or up).groups()  # type: ignore[union-attr]
    return (1 if down else 13) + 3 * int(level) + (2 if sampler else int(index))


def target(name: str) -> AdapterTarget:
    """A target of the recorded name around a module without memory, as wide as 64 blocks of networks.oft need."""
    if name.startswith("lora_te_"):
        return AdapterTarget(name, "text_encoder", nn.Linear(8, 8, device="meta"), "linear", False, None)
    conv = "_resnets_" in name or "samplers_" in name
    large, small = re.search(r"(conv1|conv2|samplers_0_conv)$", name), re.search(r"(proj_in|proj_out|conv_shortcut)$", name)
    kind = "conv3x3" if large else "conv1x1" if small else "linear"
    module = nn.Linear(64, 64, device="meta") if kind == "linear" else nn.Conv2d(64, 64, 3 if kind == "conv3x3" else 1, device="meta")
    return AdapterTarget(name, "unet", module, kind, conv, block_of(name))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sdxl_targets() -> list[AdapterTarget]:
    assert SDXL_BASE.second is not None
    layout = replace(SDXL_BASE, text_layers=2, second=replace(SDXL_BASE.second, layers=3))
    parts = skeleton(single_file_shapes(layout), SDXL.layout)
    first = text_targets(parts.text_encoders[0], part="text_encoder", prefix="lora_te1")
    second = text_targets(parts.text_encoders[1], part="text_encoder_2", prefix="lora_te2")
    return [*first, *second, *unet_targets(parts.unet)]


@pytest.fixture(scope="module")
def both(targets, sdxl_targets) -> dict[bool, list[AdapterTarget]]:
    """By whether it is SDXL."""
    return {False: targets, True: sdxl_targets}


@pytest.fixture(scope="module")
def targets() -> list[AdapterTarget]:
    names = json.loads((GOLDEN / "lora_module_names.json").read_text("utf-8"))["sd15_lora_conv"]["denoiser"]
    layers = [f"lora_te_text_model_encoder_layers_{i}" for i in range(2)]
    parts = ("self_attn_k_proj", "self_attn_v_proj", "self_attn_q_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2")
    return [target(name) for name in [*(f"{layer}_{part}" for layer in layers for part in parts), *names]]


def config(case: dict[str, Any]) -> Config:
    given: dict[str, object] = {"network_module": case["module"], "learning_rate": 1e-4, "unet_lr": 5e-4, "text_encoder_lr": (1e-4,)}
    given |= {key: case[key] for key in ("network_dim", "network_alpha") if case[key] is not None}
    given["network_args"] = [f"{key}={value}" for key, value in case["network_args"].items()]
    return make_config(command("sdxl_train_network" if case["sdxl"] else "train_network"), given)


def layout_of(case: dict[str, Any]) -> BlockLayout:
    return UNET_23 if case["sdxl"] else UNET_25


@pytest.mark.parametrize("case", [case for case in CASES if HASH in case], ids=lambda c: c["case"])
def test_modules_ranks_and_alphas_are_the_recorded_ones(case, both):
    modules = build_adapter(config(case), both[case["sdxl"]], layout=layout_of(case)).modules_by_name
    lines = sorted(f"{name} {module.rank} {module.alpha.item():g}" for name, module in modules.items())
    assert len(modules) == case["modules"]
    if case["case"] in DEVIATIONS:
        return
    assert Counter(str(module.rank) for module in modules.values()) == case["modules_per_rank"]
    assert set(case["some"]) <= set(lines)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == case[HASH]


@pytest.mark.parametrize("case", GROUPED, ids=lambda c: c["case"])
def test_optimizer_groups_are_the_recorded_ones(case, both):
    asked = config(case)
    arguments = asked[LoRAArgs]
    rates = Rates(
        5e-4,
        (1e-4,),
        arguments.loraplus_unet_lr_ratio or arguments.loraplus_lr_ratio,
        arguments.loraplus_text_encoder_lr_ratio or arguments.loraplus_lr_ratio,
        lr_weights(arguments, layout_of(case)),
    )
    groups = build_adapter(asked, both[case["sdxl"]], layout=layout_of(case)).param_groups(rates)
    expected = [(DEVIATIONS.get(case["case"], row["description"]) if "-1" in row["description"] else row["description"], row["tensors"])
                for row in case["groups"]]  # fmt: skip
    assert [(group.name, len(group.params)) for group in groups] == expected
    assert [group.lr for group in groups] == pytest.approx([row["lr"] for row in case["groups"]], rel=1e-8)


def test_a_block_list_of_the_wrong_length_is_refused(targets):
    case = next(case for case in CASES if case["case"] == "sd1 block dims wrong length")
    with pytest.raises(ConfigError, match="block_dims"):
        build_adapter(config(case), targets)


def test_a_plain_adapter_after_a_conv_one_has_the_plain_modules_only(targets):
    by_name = {case["case"]: case for case in CASES}
    build_adapter(config(by_name["sd1 conv"]), targets)
    assert len(build_adapter(config(by_name["sd1 default"]), targets).modules_by_name) == 204


def test_an_unknown_adapter_type_is_refused_with_the_known_ones(targets):
    with pytest.raises(ConfigError, match=r"--network_module: 'networks\.lorra' is not available\. Did you mean networks\.lora\?"):
        build_adapter(make_config(command("train_network"), {"network_module": "networks.lorra"}), targets)


def test_rank_zero_everywhere_is_refused():
    with pytest.raises(ConfigError, match="No module of the model would get an adapter"):
        build_adapter(make_config(command("train_network"), {"network_module": "networks.lora"}), [])
