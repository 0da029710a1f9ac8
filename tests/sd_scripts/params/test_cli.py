"""The command line in kohya's forms."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_scripts.errors import ConfigError
from sd_scripts.params.check import check
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command

LORA = command("train_network")


def values_of(*argv):
    return dict(parse_args(LORA, argv).given)


def test_values_follow_their_option_or_an_equals_sign():
    assert values_of("--seed", "1", "--learning_rate=1e-4", "--output_name", "a b") == {"seed": 1, "learning_rate": 1e-4, "output_name": "a b"}


def test_a_switch_stands_alone_or_with_a_truth_value():
    assert values_of("--flip_aug", "--color_aug", "false") == {"flip_aug": True, "color_aug": False}


def test_lists_take_words_up_to_the_next_option():
    values = values_of("--network_args", "conv_dim=8", "conv_alpha=1", "--text_encoder_lr", "1e-5", "2e-5", "--seed", "1")
    assert values == {"conv_dim": 8, "conv_alpha": 1.0, "text_encoder_lr": (1e-5, 2e-5), "seed": 1}


def test_negative_numbers_are_values():
    assert values_of("--stop_text_encoder_training", "-1") == {"stop_text_encoder_training": -1}


def test_text_that_begins_with_dashes_follows_an_equals_sign():
    assert values_of("--training_comment=--n bad")["training_comment"] == "--n bad"


@pytest.mark.parametrize(
    ("argv", "field", "part"),
    [
        (["--learnig_rate", "1"], "learnig_rate", "learning_rate"),
        (["--seed"], "seed", "missing"),
        (["--seed", "1", "2"], "seed", "one value"),
        (["--flip_aug", "perhaps"], "flip_aug", "switch"),
        (["cat.toml"], "", "cat.toml"),
        (["-x"], "", "-x"),
        (["--num_processes", "2"], "num_processes", "launcher"),
        (["--conv_dim", "8"], "conv_dim", "--network_args conv_dim"),
        (["--output_config"], "output_config", "--config_file"),
    ],
)
def test_wrong_words_are_refused_by_name(argv, field, part):
    with pytest.raises(ConfigError, match=part) as refused:
        parse_args(LORA, argv)
    assert refused.value.field == field


def test_another_scripts_option_is_a_warning():
    config = parse_args(LORA, ["--t5xxl_max_token_length", "512", "--seed", "1"])
    assert config.value("seed") == 1
    assert [note.severity for note in config.notes] == ["warning"]


def test_the_command_line_beats_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('seed = 1\nflip_aug = true\nkeep_tokens = 2\nnetwork_args = ["conv_dim=8"]\n')
    values = values_of("--config_file", str(path.with_suffix("")), "--seed", "2", "--flip_aug", "false", "--network_args", "module_dropout=0.1")
    assert values == {"seed": 2, "flip_aug": False, "keep_tokens": 2, "module_dropout": 0.1}


def test_a_json_is_asked_to_be_converted():
    with pytest.raises(ConfigError, match=r"gui\.py import"):
        parse_args(LORA, ["--config_file", "saved.json"])


def test_prompts_that_a_form_keeps_are_not_passed_over_in_silence(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('sample_at_first = true\n[studio]\nprompts = "a cat"\n')
    assert [note.field for note in parse_args(LORA, ["--config_file", str(path)]).notes] == ["sample_prompts"]


def test_output_config_writes_the_given_values_and_ends(tmp_path, capsys):
    path = tmp_path / "new.toml"
    with pytest.raises(SystemExit) as ended:
        parse_args(LORA, ["--config_file", str(path), "--output_config", "--seed", "3"])
    assert ended.value.code == 0
    assert tomllib.loads(path.read_text()) == {"seed": 3}
    assert str(path) in capsys.readouterr().out


def test_output_config_overwrites_nothing(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text("seed = 1\n")
    with pytest.raises(ConfigError, match="exists"):
        parse_args(LORA, ["--config_file", str(path), "--output_config"])
    assert path.read_text() == "seed = 1\n"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        parse_args(LORA, ["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"  --{parameter.name}" in text for parameter in LORA.flags)


@settings(max_examples=200, deadline=None)
@given(words=st.lists(st.one_of(st.sampled_from([f"--{name}" for name in LORA.by_name if "config" not in name]), st.text(max_size=5)), max_size=6))
def test_any_words_make_a_config_or_a_refusal(words):
    with contextlib.suppress(ConfigError, SystemExit):
        check(parse_args(LORA, words))


def test_the_registry_needs_no_torch():
    code = "import sys; from sd_scripts.params import cli, check, migrate; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
