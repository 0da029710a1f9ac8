"""Defaults of the GUI from config.toml, and the options it is started with. What a training is asked to do is `params`' matter."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import COMMANDS
from sd_scripts.params.spec import Parameter

HOME = Path(__file__).resolve().parent.parent
OUTSIDE_HOME = ("/workspace", "/data", "/mnt", "/media", "/Volumes")


def _said(doc: str) -> dict[str, str]:
    """A setting's sentence in config.toml.example."""
    return {"doc": doc}


@dataclass(frozen=True, slots=True)
class Settings:
    """What config.toml says. Paths are absolute after `read_settings`; relative ones count from the program's folder. `source` is the file itself,
    which need not exist."""

    runs_dir: Path = field(default=Path("runs"), metadata=_said("One folder per training: what was asked, its log, its events."))
    models_dir: Path = field(default=Path("models"), metadata=_said("Where the file browser starts for base models."))
    output_dir: Path = field(default=Path("outputs"), metadata=_said("Filled in as the folder for finished files."))
    datasets_dir: Path = field(default=Path("datasets"), metadata=_said("Where pictures go that are dropped on the Dataset page."))
    allowed_roots: tuple[Path, ...] = field(
        default=(), metadata=_said("Folders that the page may read and write. Empty: your home folder, the program's folder and mounted drives.")
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(), metadata=_said("Further host names under which the page may be opened, for a reverse proxy without a login.")
    )
    poll_seconds: float = field(default=1.5, metadata=_said("How often the page of a run asks for news."))
    preset: str = field(default="start", metadata=_said("The preset with which an empty form starts (presets/lora/)."))
    defaults: Mapping[str, object] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    source: Path | None = field(default=None, compare=False)

    def roots(self) -> tuple[Path, ...]:
        """The folders the page may read and write, resolved."""
        chosen = self.allowed_roots or (Path.cwd(), Path.home(), HOME, *(Path(place) for place in OUTSIDE_HOME if Path(place).is_dir()))
        every = (*chosen, self.runs_dir, self.output_dir, self.models_dir, self.datasets_dir)
        return tuple(dict.fromkeys(path.expanduser().resolve() for path in every))


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server was started: kohya's options by their names. `server_port` 0 looks for a free one from 7860 on."""

    listen: str = "127.0.0.1"
    server_port: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    inbrowser: bool = False
    share: bool = False
    headless: bool = False
    language: str | None = None
    root_path: str = ""
    debug: bool = False


KOHYA_NAMES = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "epoch": "max_train_epochs",
    "state_dir": "resume",
    "vae_dir": "vae",
    "learning_rate_te": "text_encoder_lr",
    "repo_id": "huggingface_repo_id",
    "title": "metadata_title",
    "author": "metadata_author",
    "description": "metadata_description",
    "license": "metadata_license",
    "tags": "metadata_tags",
}
"""Keys of kohya's config.toml that have another name as an option."""


def read_settings(path: Path | str | None) -> Settings:
    """Read config.toml; a missing file (or None) means defaults.

    kohya's nested file is read too: keys with a counterpart count, others are in `ignored`.

    Raises:
        ConfigError: the file is no TOML, or a value has the wrong type.
    """
    return settings_from(_load(Path(path)) if path else {}, Path(path) if path else None)


def settings_from(data: dict[str, Any], source: Path | None) -> Settings:
    """What a file's tables say; `data` is used up. Raises ConfigError as `read_settings` does."""
    names = {row.name for row in dataclasses.fields(Settings) if "doc" in row.metadata}
    values: dict[str, Any] = {name: data.pop(name) for name in names & data.keys()}
    given = dict(data.pop("defaults", {}))
    ignored: list[str] = []
    for key, name, value in _kohya_keys(data):
        if key == "server.allowed_paths":
            values.setdefault("allowed_roots", value)
        elif key == "model.models_dir":
            values.setdefault("models_dir", value)
        elif name in OPTIONS and value not in ("", None):
            given.setdefault(name, value)
        elif value not in ("", None):
            ignored.append(key)
    typed = {name: _typed(name, values[name]) if name in values else _absolute(getattr(Settings(), name)) for name in names}
    return Settings(**typed, defaults=given, ignored=tuple(ignored), source=source)


OPTIONS: Mapping[str, Parameter] = {name: parameter for row in reversed(COMMANDS) for name, parameter in row.by_name.items()}
"""Every option of every trainer by its name, as the first trainer that has it declares it."""


def example_toml() -> str:
    """The text of config.toml.example: every setting commented out with its default."""
    lines = [
        "# Settings of the GUI. Copy this file to config.toml and take the # off what you want to change.",
        "# Relative paths count from this folder. kohya's nested config.toml is read too.",
        "",
    ]
    for row in dataclasses.fields(Settings):
        if "doc" in row.metadata:
            lines += [f"# {row.metadata['doc']}", f"# {row.name} = {_toml(row.default)}", ""]
    lines += [
        "# Values that a new form starts with, by the trainer's option names.",
        "[defaults]",
        "# learning_rate = 1e-4",
        "# network_dim = 16",
        '# output_dir = "outputs"',
        "",
    ]
    return "\n".join(lines)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failed:
        raise ConfigError("config", f"{path} cannot be read: {failed}.", fix="Compare it with config.toml.example.") from failed


def _kohya_keys(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every leaf as (full key, option name, value)."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _kohya_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", KOHYA_NAMES.get(key, key), value


def _typed(name: str, value: Any) -> Any:
    default = getattr(Settings(), name)
    if isinstance(default, Path) and isinstance(value, str):
        return _absolute(Path(value))
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(_absolute(Path(item)) if name == "allowed_roots" else item for item in value)
    if isinstance(default, float) and isinstance(value, (int, float)) and value > 0:
        return float(value)
    if isinstance(default, str) and isinstance(value, str):
        return value
    raise ConfigError(name, f"{value!r} in config.toml has the wrong type.", fix=f"Write it like {_toml(default)}.")


def _absolute(value: Any) -> Any:
    return (HOME / value.expanduser()).absolute() if isinstance(value, Path) else value


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value) if isinstance(value, float) else f'"{value.as_posix() if isinstance(value, Path) else value}"'
