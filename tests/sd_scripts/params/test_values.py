"""Values as people write them become the declared types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command
from sd_scripts.params.values import nearest, step_or_share, typed

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "schedules.json").read_text("utf-8"))["lr_warmup_steps_parser"]
LORA = command("train_network")


def value(name: str, given: object) -> object:
    return typed(LORA.parameter(name), given)


@pytest.mark.parametrize("text", GOLDEN)
def test_warmup_text_is_read_as_kohya_reads_it(text):
    expected = GOLDEN[text]
    if "raises" in expected:
        with pytest.raises(ValueError):
            step_or_share(text)
        return
    number = step_or_share(text)
    assert number == pytest.approx(expected["value"])
    assert type(number).__name__ == expected["type"]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", 1, 1.0),
        ("max_train_steps", "1600", 1600),
        ("max_train_steps", 1600.0, 1600),
        ("gradient_accumulation_steps", "1.0", 1),
        ("flip_aug", "true", True),
        ("flip_aug", 0, False),
        ("max_token_length", "150", 150),
        ("loss_type", "huber", "huber"),
        ("seed", "", None),
        ("sample_prompts", Path("a/b.txt"), str(Path("a/b.txt"))),
        ("resolution", 512, "512"),
        ("resolution", [512, 768], "512,768"),
        ("text_encoder_lr", 5e-5, (5e-5,)),
        ("text_encoder_lr", ["1e-4", 2], (1e-4, 2.0)),
        ("optimizer_args", "weight_decay=0.01 betas=0.9,0.99", ("weight_decay=0.01", "betas=0.9,0.99")),
        ("caption_separator", ",", ","),
        ("caption_extension", "", ""),
        ("lr_warmup_steps", 100, 100),
        ("lr_warmup_steps", "10%", 0.1),
    ],
)
def test_written_values_become_typed(name, given, expected):
    made = value(name, given)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("learning_rate", "fast"),
        ("learning_rate", float("nan")),
        ("learning_rate", True),
        ("max_train_steps", 1.5),
        ("max_train_steps", [1, 2]),
        ("flip_aug", "perhaps"),
        ("loss_type", "nonsense"),
        ("max_token_length", 100),
        ("output_name", ["a"]),
        ("output_name", False),
        ("train_batch_size", ""),
        ("lr_warmup_steps", "abc"),
    ],
)
def test_values_without_meaning_are_refused_by_name(name, given):
    with pytest.raises(ConfigError) as refused:
        value(name, given)
    assert refused.value.field == name


def test_a_wrong_choice_names_the_nearest():
    with pytest.raises(ConfigError, match="smooth_l1"):
        value("loss_type", "smoothl1")


def test_nearest_knows_typos_and_case():
    assert nearest("learnig_rate", LORA.by_name) == "learning_rate"
    assert nearest("adamW8BIT", ["AdamW", "AdamW8bit"]) == "AdamW8bit"
    assert nearest("zzz", LORA.by_name) == ""
