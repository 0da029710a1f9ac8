"""Rules on the adapter."""

from __future__ import annotations

import pytest

from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.rules import network

LORA = command("train_network")


def found(rule, **values) -> list[tuple[str, str]]:
    return [(problem.field, problem.severity) for problem in rule(make_config(LORA, values))]


@pytest.mark.parametrize(
    ("module", "part"),
    [(None, "networks.lora"), ("networks.lora_flux", "networks.lora"), ("networks.lorra", "networks.lora")],
)
def test_the_adapter_is_named_and_built(module, part):
    (problem,) = network.module_is_known(make_config(LORA, {"network_module": module}))
    assert problem.severity == "error"
    assert part in problem.fix


def test_alpha_above_rank_is_a_warning():
    assert found(network.alpha_stays_below_rank, network_dim=8, network_alpha=16) == [("network_alpha", "warning")]
    assert found(network.alpha_stays_below_rank, network_dim=8, network_alpha=8) == []
    assert found(network.alpha_stays_below_rank, network_alpha=5) == [("network_alpha", "warning")]
    assert found(network.alpha_stays_below_rank, conv_dim=4, conv_alpha=8) == [("conv_alpha", "warning")]


def test_an_alpha_of_zero_means_the_rank():
    assert found(network.alpha_stays_below_rank, network_dim=8, network_alpha=0) == []


def test_rank_from_weights_ignores_the_rank():
    values = {"dim_from_weights": True, "network_weights": "a.safetensors"}
    assert found(network.weights_give_the_rank, **values, network_dim=8) == [("network_dim", "warning")]
    assert found(network.weights_give_the_rank, dim_from_weights=True) == [("dim_from_weights", "error")]
    assert found(network.weights_give_the_rank, **values) == []


def test_each_merged_lora_has_at_most_one_strength():
    assert found(network.merged_loras_have_strengths, base_weights=["a"], base_weights_multiplier=[1, 0.5]) == [("base_weights_multiplier", "error")]
    assert found(network.merged_loras_have_strengths, base_weights=["a", "b"], base_weights_multiplier=[1]) == []


def test_the_parts_exclude_each_other():
    values = {"network_train_unet_only": True, "network_train_text_encoder_only": True}
    assert found(network.something_is_trained, **values) == [("network_train_text_encoder_only", "error")]


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": 0},
        {"unet_lr": 0, "text_encoder_lr": 0},
        {"unet_lr": 0, "network_train_unet_only": True},
        {"text_encoder_lr": 0, "network_train_text_encoder_only": True},
        {"unet_lr": 0, "stop_text_encoder_training": -1},
    ],
)
def test_something_must_be_trained(values):
    assert found(network.something_is_trained, **values) == [("learning_rate", "error")]


@pytest.mark.parametrize("values", [{}, {"unet_lr": 0}, {"text_encoder_lr": 0}, {"learning_rate": 0, "unet_lr": 1e-4}])
def test_a_rate_of_zero_leaves_a_part_out(values):
    assert found(network.something_is_trained, **values) == []


def test_one_text_encoder_takes_one_rate():
    assert found(network.as_many_rates_as_encoders, text_encoder_lr=[1e-4, 1e-5]) == [("text_encoder_lr", "warning")]


def test_stopping_the_text_encoder_takes_steps_a_share_or_minus_one():
    rule = network.text_encoder_can_stop
    assert found(rule, stop_text_encoder_training=-0.5) == [("stop_text_encoder_training", "error")]
    assert found(rule, stop_text_encoder_training=100, text_encoder_lr=0) == [("stop_text_encoder_training", "warning")]
    for value in (-1, 0, 100, 0.5):
        assert found(rule, stop_text_encoder_training=value) == []


def test_lycoris_drops_inner_values_only_with_bypass():
    given = {"network_module": "lycoris.kohya", "network_dropout": 0.1}
    assert found(network.kinds_go_together, **given) == [("network_dropout", "warning")]
    assert found(network.kinds_go_together, **given, bypass_mode=True) == []


def numbers(count: int) -> str:
    return ",".join(["4"] * count)


@pytest.mark.parametrize("name", ["block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"])
def test_lists_by_block_have_25_values(name):
    assert found(network.block_lists_are_readable, **{name: numbers(24)}) == [(name, "error")]
    assert (name, "error") not in found(network.block_lists_are_readable, **{name: numbers(25)})


def test_blocks_without_attention_take_no_rank():
    (problem,) = network.block_lists_are_readable(make_config(LORA, {"block_dims": numbers(25)}))
    assert problem.severity == "warning"
    assert "1, 4, 7, 10, 11, 12, 14, 15, 16" in problem.message
    assert found(network.block_lists_are_readable, block_dims=numbers(25), conv_dim=4) == []


def test_blocks_up_to_the_threshold_get_no_adapter():
    values = {"down_lr_weight": "0,0.1,1,1,1,1,1,1,1,1,1,1", "block_lr_zero_threshold": 0.1}
    (problem,) = network.block_lists_are_readable(make_config(LORA, values))
    assert "Blocks 1, 2 get no LoRA" in problem.message


def test_a_weight_that_is_no_number_is_refused():
    assert found(network.block_lists_are_readable, up_lr_weight="steep") == [("up_lr_weight", "error")]
