"""The prompts of a run as a file: written before anything starts, read back, and copied to where kohya's tools look for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.samples import PROMPT_FILES, Samples

STUDIO_PROMPTS = "prompts"
"""Key in the studio table under which a form keeps the prompts' text; it counts before the file that `sample_prompts` names."""

RUN_STEM = "prompts"
"""Name, without the suffix, of the prompt file in a run folder."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """The whole text of a prompt file, and the suffix that says how it is read (.txt, .toml, .json)."""

    text: str
    suffix: str = ".txt"

    def write(self, folder: Path, stem: str) -> Path:
        """Write the file and read it back; return its path.

        Raises:
            RunError: the file cannot be written, or does not hold what was written.
        """
        path = folder / f"{stem}{self.suffix}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.text)
            same = path.read_text("utf-8") == self.text
        except OSError as failed:
            raise RunError(
                f"The prompt file {path} cannot be written: {failed.strerror}.", fix="Free space, or choose another output_dir."
            ) from failed
        if not same:
            raise RunError(f"The prompt file {path} does not hold what was written to it.", fix="Check the disk.")
        return path


def prompts_of(config: Config) -> PromptText | None:
    """The prompts that `config` asks for, typed into a form or in a file; None without any.

    Raises:
        ConfigError: the file cannot be read, or is no prompt file.
    """
    typed = typed_prompts(config)
    if typed is not None:
        return typed
    named = config[Samples].sample_prompts
    if not named:
        return None
    path = Path(named)
    if path.suffix.lower() not in PROMPT_FILES:
        raise ConfigError("sample_prompts", f"{named} is no prompt file.", fix="Use a .txt file with one prompt per line, or .toml or .json.")
    try:
        return PromptText(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"), path.suffix.lower())
    except OSError as failed:
        raise ConfigError("sample_prompts", f"{named} cannot be read: {failed.strerror}.", fix="Check the path.") from failed
    except UnicodeDecodeError as failed:
        raise ConfigError("sample_prompts", f"{named} is not UTF-8 text.", fix="Save it as UTF-8.") from failed


def has_prompts(run: Path) -> bool:
    """Whether the run in this folder has something to draw sample pictures of."""
    return any((run / f"{RUN_STEM}{suffix}").exists() for suffix in PROMPT_FILES)


def typed_prompts(config: Config) -> PromptText | None:
    """The prompts that stand in the config itself, as a form's lines."""
    typed = config.studio.get(STUDIO_PROMPTS)
    return PromptText(f"{typed.strip()}\n".replace("\r\n", "\n")) if isinstance(typed, str) and typed.strip() else None


def with_values(config: Config, values: Mapping[str, object]) -> Config:
    """The same config with some options given anew."""
    return make_config(config.command, {**config.given, **values}, config.studio, notes=config.notes)


def absolute(config: Config, base: Path) -> Config:
    """The same config with every relative path that leads to something below `base` made absolute; a Hugging Face id stays one."""
    paths = {parameter.name: config.given.get(parameter.name) for parameter in config.command.parameters if parameter.kind == "path"}
    made = {name: str(base / value) for name, value in paths.items() if isinstance(value, str) and (name.endswith("_dir") or (base / value).exists())}
    return with_values(config, made)
