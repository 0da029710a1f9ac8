"""Problems are found, named and never raised."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_scripts.params.applies import applies, why_not
from sd_scripts.params.check import check, check_value
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.problem import Problem

LORA = command("train_network")
SOUND = {
    "pretrained_model_name_or_path": "model.safetensors",
    "train_data_dir": "pictures",
    "output_dir": "out",
    "resolution": "512,512",
    "network_module": "networks.lora",
    "learning_rate": 1e-4,
}


def problems(**values) -> dict[str, Problem]:
    """The problems of a sound request with `values` changed, by option."""
    return {problem.field: problem for problem in check(make_config(LORA, {**SOUND, **values}))}


def test_a_sound_request_has_no_problems():
    assert problems() == {}


def test_errors_come_first():
    found = check(make_config(LORA, {**SOUND, "seed": -1, "use_8bit_adam": False, "network_alpha": 99}))
    assert [problem.severity for problem in found] == ["error", "warning"]


@pytest.mark.parametrize("name", [parameter.name for parameter in LORA.parameters if parameter.hints.unavailable])
def test_what_is_not_built_is_refused_with_the_reason(name):
    parameter = LORA.parameter(name)
    other = {"bool": True, "int": 1, "float": 0.5, "number": 1, "str": "a", "path": "a"}.get(parameter.kind) or next(
        choice for choice in parameter.choices if choice != parameter.default
    )
    problem = problems(**{name: other + 1 if name == "num_machines" else other})[name]
    assert problem.severity == "error"
    assert parameter.hints.unavailable in problem.message


def test_the_default_of_an_unavailable_option_passes():
    assert problems(zero_stage=2, deepspeed=False, validation_split=0.0) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_batch_size", 0),
        ("caption_dropout_rate", 1.5),
        ("huber_c", 0),
        ("seed", -1),
        ("max_timestep", 1001),
        ("text_encoder_lr", [-1]),
        ("rank_dropout", 2),
    ],
)
def test_values_out_of_range_are_errors(name, value):
    assert problems(**{name: value})[name].severity == "error"


@pytest.mark.parametrize(("name", "value"), [("train_batch_size", 1), ("caption_dropout_rate", 1), ("seed", 0), ("max_timestep", 1000)])
def test_limits_belong_to_the_range(name, value):
    assert check_value(LORA.parameter(name), value) is None


def test_an_option_without_effect_is_a_warning():
    assert problems(huber_c=0.2)["huber_c"].severity == "warning"
    assert "huber_c" not in problems(huber_c=0.2, loss_type="huber")
    assert "huber_c" not in problems(huber_c=0.1)


@pytest.mark.parametrize(
    ("given_", "needed"),
    [
        ({"lr_scheduler_num_cycles": 3}, {"lr_scheduler": "cosine_with_restarts"}),
        ({"lr_scheduler_power": 2}, {"lr_scheduler": "polynomial"}),
        ({"lr_decay_steps": 10}, {"lr_scheduler": "warmup_stable_decay"}),
        ({"multires_noise_discount": 0.8}, {"multires_noise_iterations": 6}),
        ({"noise_offset_random_strength": True}, {"noise_offset": 0.1}),
        ({"prior_loss_weight": 0.5}, {"reg_data_dir": "reg"}),
        ({"conv_alpha": 1}, {"conv_dim": 8}),
        ({"bucket_no_upscale": True}, {"enable_bucket": True}),
        ({"base_weights_multiplier": [0.5]}, {"base_weights": ["a"]}),
        ({"skip_cache_check": True}, {"cache_latents_to_disk": True}),
    ],
)
def test_options_that_lean_on_another_say_so(given_, needed):
    (name,) = given_
    assert problems(**given_)[name].severity == "warning"
    assert name not in problems(**given_, **needed)


def test_cycles_are_for_restarts_not_for_polynomial():
    assert problems(lr_scheduler="polynomial", lr_scheduler_num_cycles=3)["lr_scheduler_num_cycles"].severity == "warning"


def test_conditions_are_said_in_words():
    config = make_config(LORA, SOUND)
    assert why_not(LORA, "huber_c", config.value) == "loss_type is huber or smooth_l1"
    assert applies(LORA, "conv_dim", config.value)
    assert not applies(LORA, "conv_dim", make_config(LORA, {"network_module": "networks.oft"}).value)
    assert not applies(LORA, "random_crop", make_config(LORA, {"cache_latents": True}).value)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_checking_never_raises(data):
    kinds = {
        "bool": st.booleans(),
        "int": st.integers(-5, 5),
        "float": st.floats(-2, 2),
        "number": st.sampled_from([0, 1, 0.5, 1.5, -1]),
        "str": st.text(max_size=4),
        "path": st.text(max_size=4),
    }
    values = {}
    for name in data.draw(st.lists(st.sampled_from(list(LORA.by_name)), unique=True, max_size=12)):
        parameter = LORA.parameter(name)
        one = st.sampled_from(parameter.choices) if parameter.choices else kinds[parameter.kind]
        values[name] = data.draw(one)
    values.pop("network_args", None)
    values = {name: value for name, value in values.items() if value != "" or LORA.parameter(name).kind in ("str", "path")}
    assert all(isinstance(problem, Problem) for problem in check(make_config(LORA, values)))
