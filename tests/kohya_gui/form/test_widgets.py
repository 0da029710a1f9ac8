"""Fields are made from declarations, and their values come back whole."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.form.widgets import join_words, make_field, raw, shown, split_words
from kohya_gui.text import Words
from sd_scripts.params.commands import command
from sd_scripts.params.spec import Parameter
from sd_scripts.params.values import typed

LORA = command("train_network")
WORD = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="\"'"), min_size=1)


@pytest.mark.parametrize("parameter", LORA.parameters, ids=lambda parameter: parameter.name)
def test_a_default_survives_its_field(parameter: Parameter) -> None:
    value = raw(parameter, shown(parameter, parameter.default))
    assert (value is None and parameter.default in (None, "")) or typed(parameter, value) == parameter.default


@pytest.mark.parametrize("parameter", LORA.parameters, ids=lambda parameter: parameter.name)
def test_every_field_has_label_flag_help_and_one_input(parameter: Parameter) -> None:
    found = html.unescape(make_field(parameter, Words(), parameter.default))
    assert f'<label for="i-{parameter.name}" class="name">{parameter.label}</label>' in found
    assert f"<code>{parameter.name}</code> {parameter.help}" in found
    assert found.count(f'data-key="{parameter.name}"') == 1


def test_a_value_cannot_break_out_of_its_field() -> None:
    found = make_field(LORA.parameter("output_name"), Words(), '"><script>alert(1)</script>')
    assert "<script" not in found and "&quot;&gt;" in found


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("learning_rate", 1e-4, "0.0001"),
        ("text_encoder_lr", (5e-5, 1e-5), "5e-5 1e-5"),
        ("network_alpha", 8.0, "8"),
        ("seed", 2**62 + 1, "4611686018427387905"),
        ("vae", None, ""),
    ],
)
def test_numbers_are_shown_as_people_write_them_and_lose_nothing(name: str, value: object, text: str) -> None:
    parameter = LORA.parameter(name)
    assert shown(parameter, value) == text
    assert typed(parameter, raw(parameter, text)) == value


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-12, max_value=1e12))
def test_a_rate_survives_to_fifteen_digits(rate: float) -> None:
    parameter = LORA.parameter("learning_rate")
    assert typed(parameter, raw(parameter, shown(parameter, rate))) == pytest.approx(rate, rel=1e-14)


@given(st.lists(st.one_of(WORD, st.lists(WORD, min_size=2).map(" ".join))))
def test_words_survive_joining_and_splitting(words: list[str]) -> None:
    assert split_words(join_words(words)) == tuple(words)


def test_a_windows_path_keeps_its_backslashes() -> None:
    assert split_words(r"C:\new\table.safetensors 'D:\my files\b.pt'") == (r"C:\new\table.safetensors", r"D:\my files\b.pt")


def test_an_open_quote_is_taken_as_it_stands() -> None:
    assert split_words("a=1 b='2") == ("a=1", "b='2")


def test_secrets_are_typed_unseen() -> None:
    assert 'type="password"' in make_field(LORA.parameter("huggingface_token"), Words(), None)
