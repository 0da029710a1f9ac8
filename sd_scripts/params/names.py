"""Keys that are not this command's options: other kohya scripts' flags, old names, other programs' words. Typing is `values.py`'s."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.problem import Problem, warning
from sd_scripts.params.values import nearest


@dataclass(frozen=True)
class Recognised:
    """What a key turned into: values by option name, what is kept for the record, and warnings."""

    given: Mapping[str, object] = field(default_factory=dict)
    kept: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()


@cache
def foreign_flags() -> Mapping[str, list[str]]:
    """The scripts of the kohya ecosystem that take each flag, by its name."""
    groups = json.loads(resources.files("sd_scripts.params").joinpath("foreign_flags.json").read_text("utf-8"))
    return {flag: group["scripts"] for group in groups for flag in group["flags"]}


RENAMED = {
    "caption_extention": "caption_extension",
    "epochs": "max_train_epochs",
    "num_epochs": "max_train_epochs",
    "network_rank": "network_dim",
    "lora_rank": "network_dim",
    "lora_alpha": "network_alpha",
    "lr_restart_cycles": "lr_scheduler_num_cycles",
    "dataloader_num_workers": "max_data_loader_n_workers",
    "persistent_data_loader_worker": "persistent_data_loader_workers",
    "sdxl_no_half_vae": "no_half_vae",
    "cache_latent": "cache_latents",
    "lora_network_weights": "network_weights",
}
"""Names that older versions, forks and people use for an option of ours, with the same meaning and unit."""

STANDS_FOR_DEFAULT = (("max_token_length", 75), ("max_token_length", "75"), ("dynamo_backend", "no"))
"""Values that kohya's form writes and kohya's parser would refuse on the command line: they mean that the option is not set."""

WITHOUT_FLAG = {
    "noise_offset_type": "The form writes it only to choose between noise_offset and multires_noise_iterations.",
    "epoch": "It is a form's field; max_train_epochs or max_train_steps decide.",
    "LoRA_type": "It is a form's field; network_module decides.",
    "model_train_type": "It is another form's field; the script decides.",
    "train_type": "It is another form's field; the script decides.",
    "fine_tuning": "The option is gone since 2023.",
    "replace_clip_l14_336": "The option is gone since 2023.",
    "hypernetwork_module": "Hypernetworks are gone since 2023.",
    "hypernetwork_weights": "Hypernetworks are gone since 2023.",
    "save_as_bool": "It is a form's field without meaning.",
}
"""Keys that real files hold and no trainer reads."""


def recognise(command: Command, key: str, value: object) -> Recognised:
    """What the key of a config file means to `command`.

    Raises:
        ConfigError: nobody is known to write that key.
    """
    if key in {parameter.name for parameter in command.flags}:
        return Recognised({} if _says_nothing(command, key, value) else {key: value})
    if key in command.by_name:
        return _elsewhere(command, key, value)
    if key in RENAMED and RENAMED[key] in command.by_name:
        return Recognised({RENAMED[key]: value}, notes=(warning(key, f"It is called {RENAMED[key]} here.", f"Write {RENAMED[key]}."),))
    if key in WITHOUT_FLAG:
        return Recognised(kept={key: value}, notes=(warning(key, f"It has no effect. {WITHOUT_FLAG[key]}", "Remove it."),))
    return Recognised(kept={key: value}, notes=(foreign(command, key),))


def _says_nothing(command: Command, key: str, value: object) -> bool:
    """Whether a file writes an option only to leave it out: `resume = false`, or one of kohya's own spellings of "not set"."""
    parameter = command.parameter(key)
    if value is False:
        return parameter.optional and parameter.kind != "bool"
    return any(key == name and value == unset for name, unset in STANDS_FOR_DEFAULT)


def foreign(command: Command, key: str) -> Problem:
    """The warning for an option that other kohya scripts take and `command` does not.

    Raises:
        ConfigError: no kohya script has that option.
    """
    scripts = foreign_flags().get(key)
    if scripts is None:
        near = nearest(key, command.by_name)
        raise ConfigError(key, f"{command.script} has no such option.", fix=f"Did you mean --{near}?" if near else "Remove it, or see --help.")
    where = ", ".join(scripts[:3]) + (", ..." if len(scripts) > 3 else "")
    return warning(key, f"{command.script} does not use it; it belongs to {where}.", "Remove it, or train with that script.")


def _elsewhere(command: Command, key: str, value: object) -> Recognised:
    """An option of ours that is no flag: a network argument, or the launcher's."""
    note = (
        warning(key, "It is an option of the launcher.", "Write it in the [studio.launcher] table.")
        if command.section(key).sink == "launcher"
        else warning(key, "It is an argument of the network.", f'Write network_args = ["{key}={value}"].')
    )
    return Recognised({key: value}, notes=(note,))
