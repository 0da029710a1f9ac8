"""Configs of kohya's programs, read leniently: what can be taken is taken, and every key is accounted for in a row."""

from __future__ import annotations

from sd_scripts.params.migrate.command_line import import_command_line
from sd_scripts.params.migrate.files import import_any
from sd_scripts.params.migrate.ledger import Imported, Row
from sd_scripts.params.migrate.past_run import import_metadata

__all__ = ["Imported", "Row", "import_any", "import_command_line", "import_metadata"]
