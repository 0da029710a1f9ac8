"""TensorBoard curves in kohya's folders: `logging_dir/<prefix><time>/<name>`. Which numbers are drawn is report.py's business."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError, RunError
from sd_scripts.library.training.report import Curves
from sd_scripts.params.config import Config
from sd_scripts.params.logging import Logging

TRACKER_NAMES = {"adapter": "network_train"}


def open_curves(config: Config) -> Curves | None:
    """Where curves go, or None if nobody wants any.

    Raises:
        ConfigError: TensorBoard is not installed.
        RunError: the folder cannot be written.
    """
    options = config[Logging]
    if not options.logging_dir:
        return None
    if importlib.util.find_spec("tensorboard") is None:
        message = "Curves need the package tensorboard, which is not installed."
        raise ConfigError("logging_dir", message, fix="Leave logging_dir out, or install tensorboard.")
    from torch.utils.tensorboard import SummaryWriter  # takes half a second to import, and most runs need none

    name = options.log_tracker_name or TRACKER_NAMES.get(config.command.method, config.command.script)
    folder = Path(options.logging_dir) / f"{options.log_prefix or ''}{time.strftime('%Y%m%d%H%M%S')}" / name
    try:
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise RunError(f"The log folder {folder} cannot be written: {error.strerror}.", fix="Choose another logging_dir.") from error
    if options.log_config:
        writer.add_text("config", f"```json\n{json.dumps(_shown(config), indent=1)}\n```")
    return writer


def _shown(config: Config) -> dict[str, Any]:
    """The given options without secrets and without paths, which are nobody else's business."""
    hints = {parameter.name: parameter for parameter in config.command.parameters}
    return {name: value for name, value in config.given.items() if not hints[name].hints.secret and hints[name].kind != "path"}
