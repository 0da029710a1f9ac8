"""Block options of networks.lora against recorded lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.params.blocks import UNET_23, UNET_25, block_ranks, lr_weights
from sd_scripts.params.network import LoRAArgs, Network

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lora.json").read_text("utf-8"))
REFUSED = [case for case in GOLDEN["block_dims"] if "raises" in case]
TAKEN = [case for case in GOLDEN["block_dims"] if "raises" not in case]


def text(value: Any) -> str | None:
    """A golden list as the argument's text; one item with a comma, since a bare number means all blocks."""
    if isinstance(value, list):
        return ",".join(map(str, value)) if len(value) > 1 else f"{value[0]},1,1"
    return value


def identifier(case: dict[str, Any]) -> str:
    return f"{'xl' if case['sdxl'] else 'sd'}-{case['down']}-{case['mid']}-{case['up']}".replace(" ", "")[:60]


@pytest.mark.parametrize("case", GOLDEN["block_lr_weight"], ids=identifier)
def test_lr_weights_are_the_recorded_ones(case):
    arguments = LoRAArgs(
        down_lr_weight=text(case["down"]), mid_lr_weight=text(case["mid"]), up_lr_weight=text(case["up"]), block_lr_zero_threshold=case["threshold"]
    )
    weights = lr_weights(arguments, UNET_23 if case["sdxl"] else UNET_25)
    assert weights == pytest.approx(case["weights"], abs=1e-8)


@pytest.mark.parametrize("case", GOLDEN["block_lr_kwargs_sd1"], ids=lambda c: str(c["network_args"])[:60])
def test_lr_weights_of_written_arguments_are_the_recorded_ones(case):
    arguments = {**case["network_args"]}
    if "block_lr_zero_threshold" in arguments:
        arguments["block_lr_zero_threshold"] = float(arguments["block_lr_zero_threshold"])
    weights = lr_weights(LoRAArgs(**arguments))
    assert weights == (None if case["weights"] is None else pytest.approx(case["weights"], abs=1e-8))


def test_one_number_is_the_weight_of_all_blocks_of_its_side():
    weights = lr_weights(LoRAArgs(down_lr_weight="0.5"))
    assert weights == (0.5,) * 12 + (1.0,) * 13


@pytest.mark.parametrize("case", TAKEN, ids=lambda c: f"{'xl' if c['sdxl'] else 'sd'}-{str(c['args']['block_dims'])[:12]}")
def test_block_lists_are_the_recorded_ones(case):
    network = Network(network_dim=case["network_dim"], network_alpha=case["network_alpha"])
    ranks = block_ranks(
        network, LoRAArgs(**case["args"], conv_dim=case["conv_dim"], conv_alpha=case["conv_alpha"]), UNET_23 if case["sdxl"] else UNET_25
    )
    assert list(ranks.ranks) == case["block_dims"]
    assert list(ranks.alphas) == case["block_alphas"]
    assert list(ranks.conv_ranks or ()) == case["conv_block_dims"]
    assert list(ranks.conv_alphas) == case["conv_block_alphas"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c["args"]["block_dims"])
def test_a_block_list_of_the_wrong_length_is_refused_with_both_lengths(case):
    with pytest.raises(ConfigError, match=r"--block_dims: It has 2 values, this model has 25 blocks\."):
        block_ranks(Network(), LoRAArgs(**case["args"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"down_lr_weight": "cosin"}, "--down_lr_weight: 'cosin' is not a number or one of sine, cosine"),
        ({"up_lr_weight": "1,x"}, "--up_lr_weight: 'x' is not a number or one of"),
        ({"block_dims": "4.5" + ",4" * 24}, "--block_dims: '4.5' is not a whole number"),
    ],
)
def test_a_wrong_item_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        block_ranks(Network(), LoRAArgs(**arguments))


def test_blocks_at_or_below_the_threshold_get_no_rank():
    ranks = block_ranks(Network(network_dim=8), LoRAArgs(conv_dim=2, up_lr_weight="0.2,0.3" + ",1" * 10, block_lr_zero_threshold=0.2))
    assert ranks.ranks[13:16] == (0, 8, 8)
    assert ranks.conv_ranks is not None
    assert ranks.conv_ranks[13:16] == (0, 2, 2)
