"""Configs of kohya's programs and of other trainers, read leniently and written: every key, and every option, is accounted for in a row."""

from __future__ import annotations

from sd_scripts.params.migrate.command_line import import_command_line
from sd_scripts.params.migrate.dataset import dataset_toml, with_dataset
from sd_scripts.params.migrate.export import PROGRAMS, Target, export_text
from sd_scripts.params.migrate.files import import_any
from sd_scripts.params.migrate.ledger import Imported, Row
from sd_scripts.params.migrate.past_run import import_metadata

__all__ = [
    "PROGRAMS",
    "Imported",
    "Row",
    "Target",
    "dataset_toml",
    "export_text",
    "import_any",
    "import_command_line",
    "import_metadata",
    "with_dataset",
]
