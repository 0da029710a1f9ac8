"""From what the user names as a model to a path: a local file or folder, or a hub id, of which the local cache is asked first."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from sd_scripts.errors import ConfigError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_ROUNDS = ("*.safetensors", "*.bin")

MissingFiles = Callable[[Path], list[str]]


def find_model(name: str, *, field: str, folders: tuple[str, ...], missing: MissingFiles) -> Path:
    """The local path of the model that the option `field` names.

    Args:
        name: a path, or a hub id (`owner/model`) whose files are in the cache or may be downloaded.
        folders: a hub model's folders that are needed ("unet", ...).
        missing: which needed files a folder lacks; empty when it is complete.

    Raises:
        ConfigError: there is no such file, or the hub model is not cached and cannot be downloaded; it says which files are missing.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    if not _HUB_ID.fullmatch(name) or path.suffix in _WEIGHT_SUFFIXES:
        raise ConfigError(field, f"There is no file or folder {name}.", fix="Check the path; a hub model is written owner/name.")
    cached = _cached(name)
    lacking = missing(cached) if cached else []
    if cached and not lacking:
        return cached
    if constants.is_offline_mode():
        what = f"lacks {', '.join(lacking)} in the local cache" if cached else "is not in the local cache"
        message = f"The hub model {name} {what}, and the network is switched off (HF_HUB_OFFLINE)."
        raise ConfigError(field, message, fix="Allow the download once, or name a file or folder that exists here.")
    return _download(name, field=field, folders=folders, missing=missing)


def _cached(name: str) -> Path | None:
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        return None


def _download(name: str, *, field: str, folders: tuple[str, ...], missing: MissingFiles) -> Path:
    """Fetch configuration and weights: safetensors, and pickles only where the model has nothing else."""
    lacking: list[str] = []
    for weights in _ROUNDS:
        wanted = [f"{folder}/{pattern}" for folder in folders for pattern in ("config.json", "scheduler_config.json", weights)]
        try:
            path = Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=["*fp16*", "*non_ema*", "*ema_only*"]))
        except RepositoryNotFoundError as error:
            raise ConfigError(
                field,
                f"The hub has no model {name}, or it needs a login.",
                fix="Check the name, set HF_TOKEN, or name a file or folder that exists here.",
            ) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            message = f"The hub model {name} could not be downloaded: {error}."
            raise ConfigError(field, message, fix="Check the network, or name a local file.") from error
        lacking = missing(path)
        if not lacking:
            return path
    raise ConfigError(field, f"The hub model {name} lacks {', '.join(lacking)}.", fix="Choose a model in the diffusers layout.")
