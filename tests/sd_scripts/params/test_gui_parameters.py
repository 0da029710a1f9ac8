"""Each of the kohya form's 316 parameters, set to something else than its default there: it is taken, converted, or kept with the reason.

`tests/golden/gui_parameters.json` has a row per parameter: key, the tab that has it, and a value that is not its default.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.params.commands import command
from sd_scripts.params.migrate import import_any
from sd_scripts.params.migrate.gui import gui_keys
from sd_scripts.params.migrate.ledger import KEPT, WHY_KEPT

ROWS = json.loads((Path(__file__).parents[2] / "golden" / "gui_parameters.json").read_text("utf-8"))
TRAINERS = {"lora": "train_network", "dreambooth": "train_db", "finetune": "fine_tune", "ti": "train_textual_inversion"}
SAYS_NOTHING = {
    "cache_latents": "off is what is so here without it",
    "enable_bucket": "off is what is so here without it",
    "bucket_no_upscale": "off is what is so here without it",
    "xformers": "none is what is so here without it",
    "factor": "0 is below the factors that there are, and means none there too",
    "train_on_input": "off is what is so here without it",
    "train_text_encoder": "off is what the fine-tuning form starts with here",
    "use_latent_files": "No is what is so here without it",
    "full_path": "metadata with full and with relative paths are both read",
    "caption_metadata_filename": "the name of a file that another program made, which in_json names",
    "latent_metadata_filename": "the name of a file that another program made, which in_json names",
    "resume_from_huggingface": "any text but true means no there",
}
"""Values that change nothing here, and why; the form switches some of these on, the trainer does not."""


def test_the_list_is_the_forms() -> None:
    assert {row[0] for row in ROWS} == set(gui_keys())


@pytest.mark.parametrize("tab", TRAINERS)
def test_every_parameter_is_accounted_for(tmp_path: Path, tab: str) -> None:
    wrong = []
    for key, of_tab, value in ROWS:
        if of_tab != tab:
            continue
        path = tmp_path / "form.json"
        path.write_text(json.dumps({key: value}), "utf-8")
        imported = import_any(path, command(TRAINERS[tab]))
        row = next(row for row in imported.rows if row.key == key)
        fine = {
            "taken": key in imported.config.given or bool(imported.config.studio),
            "converted": bool(row.became or row.note),
            "default": bool(row.note) or key in SAYS_NOTHING,
            "no counterpart": bool(row.note) and (row.value == "(not shown)" or _is_kept(imported.config.studio, key)),
        }
        if not fine.get(row.outcome):
            wrong.append((key, value, row))
    assert wrong == []


def _is_kept(studio: dict, key: str) -> bool:
    return key in studio.get(KEPT, {}) and key in studio.get(WHY_KEPT, {})
