"""From what the user names as a model to a path: a local file or folder, or a hub id, of which the local cache is asked first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from sd_scripts.errors import ConfigError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_OTHER_COPIES = ("*non_ema*", "*ema_only*")
_ROUNDS = (("*.safetensors", ("*fp16*", *_OTHER_COPIES)), ("*.bin", ("*fp16*", *_OTHER_COPIES)), ("*.fp16.safetensors", _OTHER_COPIES))
INDEX = "model_index.json"
"""What a hub model's index is called: it names the parts that the model has."""
BARE_PART = "diffusion_pytorch_model"
"""The name of the weights in a repository of one part alone, which has no index: a VAE that is made for fp16, for one."""

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
        names = ", ".join(lacking)
        message = f"The hub model {name} is not in the local cache, and the network is switched off (HF_HUB_OFFLINE)."
        if cached:
            message = f"The hub model {name} lacks {names} in the local cache, and the network is switched off (HF_HUB_OFFLINE)."
        raise ConfigError(field, message, fix="Allow the download once, or name a file or folder that exists here.")
    return _download(name, field=field, folders=folders, missing=missing)


def _cached(name: str) -> Path | None:
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        return None


def _download(name: str, *, field: str, folders: tuple[str, ...], missing: MissingFiles) -> Path:
    """Fetch configuration and weights: safetensors, then pickles or half-precision files, only where the model has nothing better.

    Its index is read first, so that a model without a part that is needed costs no gigabytes.
    """
    index = _fetched(name, [INDEX], field=field) / INDEX
    lacking = _absent_parts(index, name, field=field, folders=folders) if index.is_file() else []
    for weights, unwanted in () if lacking else _ROUNDS:
        wanted = [f"{folder}/{pattern}" for folder in folders for pattern in ("config.json", "scheduler_config.json", weights)]
        if not index.is_file():
            wanted += ["config.json", weights.replace("*", BARE_PART)]
        path = _fetched(name, wanted, field=field, unwanted=unwanted)
        lacking = missing(path)
        if not lacking:
            return path
    raise ConfigError(field, f"The hub model {name} lacks {', '.join(lacking)}.", fix="Choose a model in the diffusers layout.")


def _fetched(name: str, wanted: list[str], *, field: str, unwanted: Sequence[str] = ()) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=list(unwanted)))
    except RepositoryNotFoundError as error:
        raise ConfigError(
            field,
            f"The hub has no model {name}, or it needs a login.",
            fix="Check the name, set HF_TOKEN, or name a file or folder that exists here.",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        message = f"The hub model {name} could not be downloaded: {error}."
        raise ConfigError(field, message, fix="Check the network, or name a local file.") from error


def _absent_parts(index: Path, name: str, *, field: str, folders: Sequence[str]) -> list[str]:
    """The folders that a model's index does not name, or says to be empty."""
    try:
        parts = dict(json.loads(index.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(field, f"The hub model {name} has an {INDEX} that cannot be read: {error}.", fix="Choose another model.") from error
    return [f"{folder} ({INDEX} names none)" for folder in folders if folder != "scheduler" and not (parts.get(folder) or [None])[0]]
