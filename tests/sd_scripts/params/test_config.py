"""From given values to frozen sections."""

from __future__ import annotations

import dataclasses

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.params.cache import Cache
from sd_scripts.params.captions import Captions
from sd_scripts.params.commands import COMMANDS, command
from sd_scripts.params.config import make_config, network_words
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.loss import Loss, SNRWeight
from sd_scripts.params.network import LoRAArgs, Network
from sd_scripts.params.noise import NoiseDDPM

LORA = command("train_network.py")


def test_defaults_fill_what_is_not_given():
    config = make_config(LORA, {"loss_type": "huber"})
    assert config[Loss] == Loss(loss_type="huber")
    assert dict(config.given) == {"loss_type": "huber"}
    assert config.value("learning_rate") == 2e-6


def test_sections_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config(LORA, {})[Loss].loss_type = "l1"


def test_none_and_blank_count_as_not_given():
    assert dict(make_config(LORA, {"seed": "", "vae": None}).given) == {}


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="learning_rate") as refused:
        make_config(LORA, {"learnig_rate": 1e-4})
    assert refused.value.field == "learnig_rate"


def test_network_args_reach_the_typed_section():
    config = make_config(LORA, {"network_args": ["conv_dim=8", "conv_alpha=0.5", "block_dims=1,2"]})
    assert config[LoRAArgs] == LoRAArgs(conv_dim=8, conv_alpha=0.5, block_dims="1,2")
    assert config.given["conv_dim"] == 8
    assert "network_args" not in config.given


def test_typed_network_values_become_words_and_win_over_words():
    config = make_config(LORA, {"conv_dim": 16, "network_args": ["conv_dim=8", "conv_alpha=1"]})
    assert network_words(config) == config[Network].network_args == ("conv_dim=16", "conv_alpha=1")


@pytest.mark.parametrize("words", [["conv_dims=8"], ["conv_dim"], ["conv_dim=many"], ["conv_dim=1", "conv_dim=2"], ["=1"]])
def test_unreadable_network_words_are_refused(words):
    with pytest.raises(ConfigError):
        make_config(LORA, {"network_args": words})


def test_words_of_another_module_are_left_alone():
    config = make_config(LORA, {"network_module": "lycoris.kohya", "network_args": ["algo=loha"]})
    assert network_words(config) == ("algo=loha",)
    assert config[LoRAArgs] == LoRAArgs()


def test_launcher_values_ride_in_the_studio_table():
    config = make_config(LORA, {"num_processes": 2}, {"launcher": {"multi_gpu": True, "num_processes": 1}, "kept": {"x": 1}})
    assert config[Launcher] == Launcher(num_processes=2, multi_gpu=True)
    assert config.studio == {"launcher": {"num_processes": 2, "multi_gpu": True}, "kept": {"x": 1}}


def test_stand_ins_are_resolved_in_sections_but_not_in_given():
    given = {
        "caption_extension": "",
        "vae_batch_size": 0,
        "train_batch_size": 4,
        "multires_noise_discount": 0,
        "min_snr_gamma": 0,
        "max_train_epochs": 0,
    }
    config = make_config(LORA, given)
    assert config[Captions].caption_extension == ".caption"
    assert config[Cache].vae_batch_size == 4
    assert config[NoiseDDPM].multires_noise_discount == 0.3
    assert config[SNRWeight].min_snr_gamma is None
    assert config.value("max_train_epochs") is None
    assert config.given["vae_batch_size"] == 0


def test_the_old_spelling_of_caption_extension_is_read():
    assert make_config(LORA, {"caption_extention": ".txt"})[Captions].caption_extension == ".txt"
    assert make_config(LORA, {"caption_extention": ".txt", "caption_extension": ".cap"})[Captions].caption_extension == ".cap"


def test_caching_on_disk_caches():
    assert make_config(LORA, {"cache_latents_to_disk": True})[Cache].cache_latents


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.script)
def test_every_option_has_one_section_label_and_help(row):
    names = [parameter.name for parameter in row.parameters]
    assert len(names) == len(set(names))
    for parameter in row.parameters:
        assert parameter.help.endswith((".", "0.01")), parameter.name
        assert parameter.label, parameter.name


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.script)
def test_conditions_name_options_that_exist(row):
    conditions = [parameter.hints.when for parameter in row.parameters] + [section.when for section in row.descriptions]
    assert {name for when in conditions for name in when or {}} <= set(row.by_name)


def test_basic_view_is_short():
    basic = [parameter.name for parameter in LORA.parameters if not parameter.hints.advanced]
    assert 12 <= len(basic) <= 30
    assert {"pretrained_model_name_or_path", "train_data_dir", "output_name", "resolution", "learning_rate", "network_dim"} <= set(basic)
