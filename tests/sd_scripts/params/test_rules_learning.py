"""Rules on rates, schedules, optimizers, noise and loss."""

from __future__ import annotations

import pytest

from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.optimizer import OPTIMIZER_PACKAGES
from sd_scripts.params.rules import learning, one_rate

LORA = command("train_network")


def found(rule, **values) -> list[tuple[str, str]]:
    return [(problem.field, problem.severity) for problem in rule(make_config(LORA, values))]


@pytest.mark.parametrize("name", ["", "AdamW", "adamw", "ADAFACTOR", "SGD", "NAdam", "torch.optim.Adam"])
def test_optimizers_without_a_package_are_known_in_any_case(name):
    assert found(learning.optimizer_is_known, optimizer_type=name) == []


def test_an_unknown_optimizer_names_the_nearest():
    problem = next(learning.optimizer_is_known(make_config(LORA, {"optimizer_type": "AdamW8bits"})))
    assert "AdamW8bit" in problem.fix


@pytest.mark.parametrize("name", [name for name, package in OPTIMIZER_PACKAGES.items() if package])
def test_an_absent_optimizer_package_is_named(name, monkeypatch):
    monkeypatch.setattr(learning, "is_installed", lambda package: False)
    problem = next(learning.optimizer_is_known(make_config(LORA, {"optimizer_type": name.lower()})))
    assert OPTIMIZER_PACKAGES[name] in problem.message
    assert "extras optimizers" in problem.fix


def test_a_dotted_path_needs_its_package():
    assert found(learning.optimizer_is_known, optimizer_type="no_such_package.Fast") == [("optimizer_type", "error")]


def test_old_switches_agree_with_the_name():
    assert found(learning.optimizer_switches_agree, use_8bit_adam=True, use_lion_optimizer=True) == [("use_lion_optimizer", "error")]
    assert found(learning.optimizer_switches_agree, use_8bit_adam=True, optimizer_type="Lion") == [("use_8bit_adam", "error")]
    assert found(learning.optimizer_switches_agree, use_8bit_adam=True, optimizer_type="adamw8bit") == []


def test_arguments_are_key_value_words():
    assert found(learning.words_are_readable, optimizer_args=["decay"]) == [("optimizer_args", "error")]
    assert found(learning.words_are_readable, lr_scheduler_args=["gamma"]) == [("lr_scheduler_args", "error")]
    assert found(learning.words_are_readable, optimizer_args=["betas=0.9,0.99", "weight_decay=0.01"]) == []


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("AdamW", "weight_decy=1", "weight_decay"),
        ("adamw8bit", "betas=0.9", "two numbers"),
        ("Prodigy", "decouple=1", "True or False"),
        ("Lion", "lr=1", "learning_rate"),
        ("Muon", "ns_steps=2.5", "whole number"),
        ("pytorch_optimizer.CAME", "eps=1", "eps2"),
    ],
)
def test_a_wrong_optimizer_argument_is_named(name, word, said):
    (problem,) = learning.optimizer_arguments_fit(make_config(LORA, {"optimizer_type": name, "optimizer_args": [word]}))
    assert problem.severity == "error" and said in problem.message + problem.fix


def test_right_optimizer_arguments_and_unknown_classes_are_left_alone():
    assert found(learning.optimizer_arguments_fit, optimizer_type="Prodigy", optimizer_args=["decouple=True", "betas=0.9,0.99", "beta3=None"]) == []
    assert found(learning.optimizer_arguments_fit, optimizer_type="some.Class", optimizer_args=["anything=1"]) == []


def test_the_default_rate_is_not_for_lora():
    problem = next(learning.rate_fits_lora(make_config(LORA, {})))
    assert (problem.field, problem.severity) == ("learning_rate", "warning")
    assert "0.0001" in problem.fix
    assert found(learning.rate_fits_lora, learning_rate=1e-4) == found(learning.rate_fits_lora, unet_lr=1e-4) == []


def test_a_very_high_rate_is_for_self_tuning_optimizers():
    assert found(learning.rate_fits_lora, learning_rate=1.0) == [("learning_rate", "warning")]
    assert found(learning.rate_fits_lora, learning_rate=1.0, optimizer_type="prodigy") == []
    assert found(learning.rate_fits_lora, learning_rate=1e-4, unet_lr=0.5) == [("unet_lr", "warning")]
    assert found(learning.rate_fits_lora, learning_rate=1.0, unet_lr=1e-4, text_encoder_lr=1e-4) == []


@pytest.mark.parametrize("name", ["Prodigy", "DAdaptAdam", "DAdaptation", "prodigyplus.ProdigyPlusScheduleFree"])
def test_a_low_rate_holds_self_tuning_optimizers_back(name):
    assert found(learning.rate_fits_lora, optimizer_type=name, learning_rate=1e-4) == [("learning_rate", "warning")]


def test_self_tuning_optimizers_take_one_rate():
    given = {"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", "learning_rate": 1}
    assert found(learning.rate_fits_lora, **given, text_encoder_lr=0.5) == [("unet_lr", "warning")]
    assert found(learning.rate_fits_lora, **given, text_encoder_lr=0) == []


def test_adafactor_with_relative_steps_ignores_the_rate():
    assert found(learning.rate_fits_lora, optimizer_type="Adafactor", learning_rate=1e-3) == [("learning_rate", "warning")]
    assert found(learning.rate_fits_lora, optimizer_type="Adafactor", learning_rate=1e-3, optimizer_args=["relative_step=False"]) == []
    assert found(learning.rate_fits_lora, optimizer_type="Adafactor") == []


def test_an_unknown_schedule_names_the_nearest():
    assert "cosine_with_restarts" in next(learning.schedule_is_known(make_config(LORA, {"lr_scheduler": "cosine_with_restart"}))).fix
    assert found(learning.schedule_is_known, lr_scheduler="anything", lr_scheduler_type="CosineAnnealingLR") == []


def test_the_adafactor_schedule_belongs_to_adafactor():
    assert found(learning.schedule_is_known, lr_scheduler="adafactor:1e-3") == [("lr_scheduler", "error")]
    assert found(learning.schedule_is_known, lr_scheduler="adafactor", optimizer_type="adafactor") == []


def test_piecewise_constant_needs_rules():
    assert found(learning.schedule_is_known, lr_scheduler="piecewise_constant") == [("lr_scheduler_args", "error")]


def test_schedule_free_optimizers_ignore_the_schedule():
    assert found(learning.schedule_free_has_no_schedule, optimizer_type="AdamWScheduleFree", lr_scheduler="cosine") == [("lr_scheduler", "warning")]
    assert found(learning.schedule_free_has_no_schedule, optimizer_type="AdamWScheduleFree") == []


def test_constant_refuses_a_warmup_and_offers_the_other():
    problem = next(learning.constant_has_no_warmup(make_config(LORA, {"lr_warmup_steps": 10})))
    assert problem.severity == "error"
    assert "constant_with_warmup" in problem.fix
    assert found(learning.constant_has_no_warmup, lr_warmup_steps=10, lr_scheduler="cosine") == []
    assert found(learning.constant_has_no_warmup, lr_warmup_steps=10, lr_scheduler_type="StepLR") == [("lr_warmup_steps", "error")]


@pytest.mark.parametrize("name", ["lr_warmup_steps", "lr_decay_steps", "stop_text_encoder_training"])
def test_a_share_above_one_is_refused(name):
    assert found(learning.shares_are_shares, **{name: 100.0}) == [(name, "error")]
    assert found(learning.shares_are_shares, **{name: 100}) == found(learning.shares_are_shares, **{name: 0.5}) == []


def test_warmup_and_decay_fit_into_the_run():
    assert found(learning.warmup_fits, lr_warmup_steps=200, max_train_steps=100) == [("lr_warmup_steps", "error")]
    assert found(learning.warmup_fits, lr_warmup_steps=200, max_train_steps=100, max_train_epochs=3) == []
    assert found(learning.warmup_fits, lr_warmup_steps=0.6, lr_decay_steps=0.6) == [("lr_decay_steps", "error")]


def test_epochs_replace_steps():
    assert found(learning.epochs_count_first, max_train_epochs=2, max_train_steps=100) == [("max_train_steps", "warning")]
    assert found(learning.epochs_count_first, max_train_epochs=2) == []


def test_adaptive_noise_needs_an_offset():
    assert found(learning.adaptive_noise_needs_offset, adaptive_noise_scale=0.01) == [("adaptive_noise_scale", "error")]
    assert found(learning.adaptive_noise_needs_offset, adaptive_noise_scale=0.01, noise_offset=0.05) == []
    assert found(learning.adaptive_noise_needs_offset, noise_offset=0.05, multires_noise_iterations=6) == [("noise_offset", "warning")]


def test_the_lowest_timestep_is_below_the_highest():
    assert found(learning.timesteps_are_ordered, min_timestep=500, max_timestep=500) == [("min_timestep", "error")]
    assert found(learning.timesteps_are_ordered, min_timestep=0, max_timestep=1000) == []


def test_weights_fit_what_the_model_predicts():
    rule = learning.weights_fit_the_prediction
    scaled = {"scale_v_pred_loss_like_noise_pred": True}
    assert found(rule, **scaled, v_parameterization=False) == [("scale_v_pred_loss_like_noise_pred", "error")]
    assert found(rule, **scaled) == found(rule, v_pred_like_loss=0.5) == [], "the model's file decides"
    assert found(rule, v_pred_like_loss=0.5, v_parameterization=True) == [("v_pred_like_loss", "error")]
    assert found(rule, min_snr_gamma=5, debiased_estimation_loss=True) == [("debiased_estimation_loss", "warning")]
    assert found(rule, **scaled, v_parameterization=True) == []


BLOCK_RATES = ",".join(["1"] * 22 + ["2"])


@pytest.mark.parametrize(
    ("script", "given", "field"),
    [
        ("train_network", {"text_encoder_lr": [0.5]}, "text_encoder_lr"),
        ("train_network", {"unet_lr": 0.5}, "unet_lr"),
        ("train_network", {"loraplus_lr_ratio": 16.0}, "loraplus_lr_ratio"),
        ("train_network", {"down_lr_weight": "cosine"}, "down_lr_weight"),
        ("train_network", {"network_reg_lrs": "*attn*=1e-4"}, "network_reg_lrs"),
        ("train_network", {"token_string": "sks", "embedding_lr": 0.3}, "embedding_lr"),
        ("sdxl_train_network", {"text_encoder_lr": [1.0, 0.5]}, "text_encoder_lr"),
        ("train_db", {"learning_rate_te": 0.5}, "learning_rate_te"),
        ("sdxl_train", {"block_lr": BLOCK_RATES}, "block_lr"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rates_beside_an_optimizer_that_takes_one_are_refused(script, given, field):
    def told(optimizer: str) -> list[tuple[str, str]]:
        config = make_config(command(script), {"optimizer_type": optimizer, "learning_rate": 1.0, **given})
        return [(problem.field, problem.severity) for problem in one_rate.one_rate_for_all(config)]

    assert told("Prodigy") == told("dadaptlion") == [(field, "error")]
    assert told("AdamW") == told("prodigyplus.ProdigyPlusScheduleFree") == []


@pytest.mark.parametrize(
    "given", [{}, {"text_encoder_lr": [0.0]}, {"unet_lr": 0.5, "network_train_unet_only": True}, {"loraplus_lr_ratio": 1.0}, {"up_lr_weight": "1"}]
)
def test_one_rate_for_all_is_let_through(given):
    assert found(one_rate.one_rate_for_all, optimizer_type="Prodigy", learning_rate=1.0, **given) == []
