"""Curves by TensorBoard and Weights & Biases, under kohya's folders and tags. Which numbers are drawn is report.py's business.

Folders: `logging_dir/<prefix><time>/<name>`. Format: docs/compatibility.md, "Logs".
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError, RunError
from sd_scripts.library.training.report import Axis, Curves
from sd_scripts.params.config import Config
from sd_scripts.params.logging import Logging

TRACKER_NAMES = {"adapter": "network_train", "dreambooth": "dreambooth", "finetune": "finetuning", "embedding": "textual_inversion"}
OTHER_TAGS = {
    "loss/current": "loss",
    "loss/epoch_average": "loss/epoch",
    "lr/text_encoder": "lr/text_encoder1",
    "lr/text_encoder_2": "lr/text_encoder2",
    "lr/embedding": "lr",
}
"""What trainers of other things than adapters call a number."""
KEY_VARIABLE = "WANDB_API_KEY"


class TensorBoard:
    """Event files for TensorBoard."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        """Begin files in `folder`; `told` are options that are written as text."""
        summary_writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter  # takes half a second, and most runs need none
        try:
            self._writer = summary_writer(str(folder), **settings)
        except OSError as error:
            raise RunError(f"The log folder {folder} cannot be written: {error.strerror}.", fix="Choose another logging_dir.") from error
        except TypeError as error:
            raise ConfigError("log_tracker_config", f"TensorBoard does not take these settings: {error}.", fix="Remove them.") from error
        if told:
            self._writer.add_text("config", f"```json\n{json.dumps(told, indent=1)}\n```")

    def draw(self, points: Mapping[str, float], *, step: int, epoch: int, by: Axis) -> None:
        """See `Curves`."""
        for tag, value in points.items():
            self._writer.add_scalar(tag, value, epoch if by == "epoch" else step)

    def close(self) -> None:
        """See `Curves`."""
        self._writer.close()


class WeightsAndBiases:
    """A run on wandb.ai; with WANDB_MODE=offline, files to send there later."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        """Begin a run whose files lie in `folder`. Its command line and code are not sent: they hold paths, and may hold keys."""
        wandb: Any = importlib.import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(x_disable_meta=True, disable_git=True, disable_code=True, console="off")
        try:
            words: dict[str, Any] = {"dir": str(folder), "config": dict(told), "settings": quiet, **settings}
            self._run = wandb.init(**words)
        except (wandb.errors.Error, TypeError, ValueError, OSError) as error:
            reason = (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
            fix = f"Give wandb_api_key (or {KEY_VARIABLE}), set WANDB_MODE=offline, or use log_with tensorboard."
            raise ConfigError("log_with", f"Weights & Biases cannot be used: {reason}.", fix=fix) from error
        self._run.define_metric("*", step_metric="global_step")
        for tag in ("loss/epoch", "loss/epoch_average", "loss/validation/epoch_average", "loss/validation/epoch_divergence"):
            self._run.define_metric(tag, step_metric="epoch")

    def draw(self, points: Mapping[str, float], *, step: int, epoch: int, by: Axis) -> None:
        """See `Curves`. What belongs to an epoch is added to the line of its last step."""
        self._run.log({**points, "global_step": step, "epoch": epoch}, step=step)

    def close(self) -> None:
        """See `Curves`."""
        self._run.finish()


class Several:
    """Curves in more than one place, under the tags of one kind of trainer."""

    def __init__(self, places: list[Curves], tags: Mapping[str, str]) -> None:
        self.places, self._tags = places, tags

    def draw(self, points: Mapping[str, float], *, step: int, epoch: int, by: Axis) -> None:
        """See `Curves`."""
        named = {self._tags.get(tag, tag).replace("lr/unet_block", "lr/block") if self._tags else tag: value for tag, value in points.items()}
        for place in self.places:
            place.draw(named, step=step, epoch=epoch, by=by)

    def close(self) -> None:
        """See `Curves`."""
        for place in self.places:
            place.close()


def open_curves(config: Config) -> Curves | None:
    """Where curves go, or None if nobody wants any.

    Raises:
        ConfigError: a package, a key or a settings file is missing or wrong.
        RunError: the folder cannot be written.
    """
    options = config[Logging]
    services = {"all": ("tensorboard", "wandb"), None: ("tensorboard",) if options.logging_dir else ()}.get(options.log_with, (options.log_with,))
    settings, told = _tracker_settings(options), _shown(config) if options.log_config else {}
    name = options.log_tracker_name or TRACKER_NAMES.get(config.command.method, config.command.script)
    folder = Path(options.logging_dir or ".") / f"{options.log_prefix or ''}{time.strftime('%Y%m%d%H%M%S')}"
    places: list[Curves] = []
    for service in services:
        if importlib.util.find_spec(service or "") is None:
            message = f"Curves need the package {service}, which is not installed."
            fix = "Install it with: python setup.py extras logging" if service == "wandb" else f"Install it with: pip install {service}"
            raise ConfigError("log_with", message, fix=fix)
        if service == "tensorboard":
            places.append(TensorBoard(folder / name, settings.get(service, {}), told))
            continue
        if options.wandb_api_key:
            os.environ[KEY_VARIABLE] = options.wandb_api_key  # the login would write it to a file
        named = {"project": name} | ({"name": options.wandb_run_name} if options.wandb_run_name else {})
        places.append(WeightsAndBiases(folder, {**named, **settings.get("wandb", {})}, told))
    return Several(places, {} if config.command.method == "adapter" else OTHER_TAGS) if places else None


def _tracker_settings(options: Logging) -> Mapping[str, Mapping[str, Any]]:
    """Tables of `log_tracker_config`, `[wandb]` and `[tensorboard]`: words for `wandb.init` and for TensorBoard's writer."""
    if not options.log_tracker_config:
        return {}
    path = Path(options.log_tracker_config)
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("log_tracker_config", f"{path} cannot be read: {error}.", fix="Name a TOML file.") from error
    unknown = [name for name, table in found.items() if name not in ("wandb", "tensorboard") or not isinstance(table, dict)]
    if unknown:
        raise ConfigError("log_tracker_config", f"{path} holds {unknown[0]!r}.", fix="Its tables are [wandb] and [tensorboard].")
    return found


def _shown(config: Config) -> dict[str, Any]:
    """The given options without secrets and without paths, which are nobody else's business."""
    hints = {parameter.name: parameter for parameter in config.command.parameters}
    return {name: value for name, value in config.given.items() if not hints[name].hints.secret and hints[name].kind != "path"}
