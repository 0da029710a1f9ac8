"""What is made from the registry for readers and editors, and the presets that are made for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.params.check import check
from sd_scripts.params.commands import COMMANDS, command
from sd_scripts.params.docs import options_page
from sd_scripts.params.migrate import import_any
from sd_scripts.params.schema import config_schema

PRESETS = sorted(path for path in (Path(__file__).parents[3] / "presets").glob("*/start.json"))
LEFT_TO_THE_USER = {"pretrained_model_name_or_path", "train_data_dir", "output_dir", "token_string"}
TRAINERS = {
    "lora": ("train_network", "sdxl_train_network"),
    "dreambooth": ("train_db",),
    "finetune": ("fine_tune", "sdxl_train"),
    "textual_inversion": ("train_textual_inversion", "sdxl_train_textual_inversion"),
}
"""Trainers that the presets of a folder are for."""


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.script)
def test_the_page_of_options_names_each_with_its_help(row):
    page = options_page()
    for parameter in row.flags:
        assert f"| `--{parameter.name}` |" in page
    assert all(line.count(" | ") == 3 for line in page.splitlines() if line.startswith("| `"))


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.script)
def test_the_schema_is_json_and_has_every_flag(row):
    schema = json.loads(json.dumps(config_schema(row)))
    names = {parameter.name for parameter in row.flags} - {"config_file", "output_config"}
    assert set(schema["properties"]) == names | {"studio"}
    assert schema["properties"]["huber_c"] | {"description": ""} == {
        "title": "Huber threshold",
        "description": "",
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 0.1,
    }


@pytest.mark.parametrize(
    ("path", "script"),
    [(path, script) for path in PRESETS for script in TRAINERS[path.parent.name]],
    ids=lambda value: value if isinstance(value, str) else f"{value.parent.name}/{value.stem}",
)
def test_a_bundled_preset_is_taken_whole_and_sound(path, script):
    made = import_any(path, command(script))
    assert {row.outcome for row in made.rows} == {"taken"}
    assert {problem.field for problem in check(made.config)} <= LEFT_TO_THE_USER
