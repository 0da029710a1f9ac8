"""kohya's TOML, read strictly and written back."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import COMMANDS, command
from sd_scripts.params.config import make_config
from sd_scripts.params.config_file import config_path, dumps, read_config, write_config
from sd_scripts.params.spec import Parameter

LORA = command("train_network")


def read(tmp_path, text, row=LORA):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, row)


def test_tables_only_group_keys(tmp_path):
    config = read(tmp_path, '[a]\nlearning_rate = 1e-4\n[b]\nresolution = "512"\n')
    assert dict(config.given) == {"resolution": "512", "learning_rate": 1e-4}


def test_the_studio_table_is_no_group(tmp_path):
    config = read(tmp_path, "seed = 1\n[studio]\nmethod = 'adapter'\n[studio.launcher]\nnum_processes = 2\n")
    assert config.studio == {"method": "adapter", "launcher": {"num_processes": 2}}
    assert config.given["num_processes"] == 2


def test_a_key_in_two_tables_is_reported_if_the_values_differ(tmp_path):
    config = read(tmp_path, "[a]\nseed = 1\nkeep_tokens = 1\n[b]\nseed = 2\nkeep_tokens = 1\n")
    assert config.value("seed") == 2
    assert [note.field for note in config.notes] == ["seed"]


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="learning_rate"):
        read(tmp_path, "learnig_rate = 1e-4\n")


@pytest.mark.parametrize("line", ['seed = "abc"', 'loss_type = "nonsense"', "max_train_steps = 1.5", "flip_aug = 7", "resolution = true"])
def test_wrong_types_and_choices_are_refused(tmp_path, line):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, line)
    assert refused.value.field == line.partition(" ")[0]


def test_false_leaves_out_an_option_that_may_be_unset(tmp_path):
    assert dict(read(tmp_path, "resume = false\nmax_train_epochs = false\nflip_aug = false\n").given) == {"flip_aug": False}


def test_another_scripts_key_is_kept_with_a_warning(tmp_path):
    config = read(tmp_path, "t5xxl_max_token_length = 512\n")
    assert config.studio["kept"] == {"t5xxl_max_token_length": 512}
    assert "flux_train" in config.notes[0].message


def test_an_old_name_is_read_with_a_note(tmp_path):
    config = read(tmp_path, "num_epochs = 3\n")
    assert config.value("max_train_epochs") == 3
    assert config.notes[0].field == "num_epochs"


def test_the_new_name_wins_over_the_old(tmp_path):
    assert read(tmp_path, "max_train_epochs = 5\nnum_epochs = 3\n").value("max_train_epochs") == 5
    assert read(tmp_path, "num_epochs = 3\nmax_train_epochs = 5\n").value("max_train_epochs") == 5


def test_what_kohyas_form_writes_without_a_flag_is_kept(tmp_path):
    config = read(tmp_path, 'epoch = 1\nnoise_offset_type = "Original"\nmax_token_length = 75\ndynamo_backend = "no"\n')
    assert config.studio["kept"] == {"epoch": 1, "noise_offset_type": "Original"}
    assert dict(config.given) == {}


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b'path = "C:\\Users"', b"[[datasets]]\nresolution = 512\n", b"[a.b]\nseed = 1\n"])
def test_unreadable_files_are_refused(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_config(path, LORA)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml", LORA)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbfseed = 1\r\n")
    assert read_config(path, LORA).value("seed") == 1


def test_secrets_are_never_written():
    text = dumps(make_config(LORA, {"wandb_api_key": "s3cret", "huggingface_token": "s3cret", "seed": 1}))
    assert "s3cret" not in text
    assert tomllib.loads(text) == {"seed": 1}


def test_network_words_are_written_as_kohya_writes_them():
    text = dumps(make_config(LORA, {"conv_dim": 8, "conv_alpha": 1.0}))
    assert tomllib.loads(text) == {"network_args": ["conv_dim=8", "conv_alpha=1"]}


def test_toml_is_added_to_a_name_without_ending():
    assert config_path("runs/a").name == "a.toml"
    assert config_path("v1.5").name == "v1.5.toml"
    assert config_path("a.toml").name == "a.toml"


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(lambda text: text.strip())
ONE = {
    "bool": st.booleans(),
    "int": st.integers(0, 2**40),
    "float": st.floats(0, 10, allow_nan=False),
    "number": st.one_of(st.integers(1, 10**6), st.floats(0, 0.99)),
    "str": TEXT,
    "path": TEXT,
}


def values_of(parameter: Parameter) -> st.SearchStrategy[object]:
    """Values that the option takes. Words of a list option have a form of their own and are drawn as network values."""
    if parameter.choices:
        return st.sampled_from(parameter.choices)
    one = ONE[parameter.kind]
    if parameter.kind == "str" and parameter.section in ARGUMENTS:  # blanks around a word are no part of it
        one = one.map(str.strip)
    return st.lists(one, min_size=1, max_size=3).map(tuple) if parameter.many else one


ARGUMENTS = ("LoRAArgs", "AdapterArgs", "LycorisArgs")
SKIPPED = ("network_args", "network_module", "config_file", "output_config", "wandb_api_key", "huggingface_token")


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.script)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_given_values_survive_writing_and_reading(row, data, tmp_path_factory):
    names = data.draw(st.lists(st.sampled_from([name for name in row.by_name if name not in SKIPPED]), unique=True, max_size=8))
    values = {name: data.draw(values_of(row.parameter(name)), label=name) for name in names}
    config = make_config(row, values, {"kept": {"odd key": [1, "ü"]}})
    path = tmp_path_factory.mktemp("round") / "run.toml"
    write_config(path, config)
    again = read_config(path, row)
    assert dict(again.given) == dict(config.given)
    assert again.studio == config.studio
    assert dict(again.sections) == dict(config.sections)
