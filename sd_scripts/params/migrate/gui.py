"""A JSON saved by the kohya GUI (2022 to 2026): form fields to options. Keys, units and defaults are those of that form, not of the trainer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.fields import CONVERTERS, RENAMED
from sd_scripts.params.migrate.ledger import Imported, Ledger, Row, with_guess
from sd_scripts.params.migrate.lora_types import ARGUMENT_FIELDS, LORA_TYPES, OLD_TYPES, LoraType, argument_name
from sd_scripts.params.migrate.shared import NOT_SET, is_on, is_secret, network_words
from sd_scripts.params.migrate.told_family import BOXES, Told, is_built, title
from sd_scripts.params.migrate.trainer import LORA_KEYS, METADATA_KEYS
from sd_scripts.params.network import LORA_MODULE
from sd_scripts.params.spec import Parameter
from sd_scripts.params.values import nearest

ABSENT = {
    "bucket_no_upscale": True,
    "cache_latents": True,
    "caption_extension": ".txt",
    "clip_skip": 1,
    "enable_bucket": True,
    "epoch": 1,
    "lr_scheduler": "cosine",
    "lr_warmup": 10,
    "max_bucket_reso": 2048,
    "max_data_loader_n_workers": 0,
    "max_resolution": "512,512",
    "mixed_precision": "fp16",
    "optimizer": "AdamW8bit",
    "output_name": "last",
    "sample_sampler": "euler_a",
    "save_every_n_epochs": 1,
    "save_precision": "fp16",
    "vae_batch_size": 0,
}
"""What that form fills in where a file says nothing, and the trainer would not. Steps are left out: files without them mean the epochs."""
ABSENT_BY_METHOD: Mapping[str, Mapping[str, Any]] = {
    "adapter": {"LoRA_type": "Standard", "network_dim": 8, "text_encoder_lr": 1e-4, "unet_lr": 1e-4},
    "finetune": {"dataset_repeats": 40},
}
"""What only the tab of that method fills in."""
NO_ADAPTER = LoraType("")
"""In the place of a LoRA type where the whole model or a word is trained."""

OTHER_METHODS = {"leco_denoise_guidance_scale": "LECO", "lllite_cond_dim": "ControlNet-LLLite"}
OTHER_KEYS = {
    "prompts_file": "It is for LECO, which is not trained here yet.",
    "leco_denoise_guidance_scale": "It is for LECO, which is not trained here yet.",
    "max_denoising_steps": "It is for LECO, which is not trained here yet.",
    "cond_emb_dim": "It is for ControlNet-LLLite, which is not trained here yet.",
    "effnet_checkpoint_path": "It is for Stable Cascade, which is not trained here.",
    "previewer_checkpoint_path": "It is for Stable Cascade, which is not trained here.",
}
"""Fields that only other tabs or branches of that program save."""
SAID_BY_THE_FORM = "It is not in the file; the form that wrote it starts with this."
SAME_AS = {
    "max_resolution": ("resolution",),
    "optimizer": ("optimizer_type", "use_8bit_adam"),
    "lr_warmup": ("lr_warmup_steps",),
    "LoRA_type": ("network_module", "locon"),
    "epoch": ("max_train_epochs", "max_train_steps"),
    "caption_extension": ("caption_extention",),
    "cache_latents": ("cache_latent",),
    "text_encoder_lr": ("network_train_unet_only",),
    "unet_lr": ("network_train_text_encoder_only",),
}
"""Keys whose presence says the same as an absent one."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form: its default, the flag that it fills, the tabs that save it (by their first letters), the family it is for, "" for any."""

    default: Any
    flag: str
    tabs: str
    family: str


@cache
def gui_keys() -> Mapping[str, Field]:
    """Every field of the form."""
    rows = json.loads(resources.files("sd_scripts.params.migrate").joinpath("gui_keys.json").read_text("utf-8"))
    return {key: Field(*row) for key, row in rows.items()}


def import_gui(document: Mapping[str, Any], command: Command, told: Told | None) -> Imported:
    """Account for every key of a saved form, which was saved for the family `told`."""
    ledger = Ledger(command)
    ledger.meant_for(told)
    _refuse_other_methods(ledger, document)
    absent = {key: value for key, value in _filled_in(command, document).items() if key not in document}
    absent = {key: value for key, value in absent.items() if not any(other in document for other in SAME_AS.get(key, ()))}
    whole = {**absent, **document}
    adapts = command.method == "adapter"
    if adapts and not any(key in document for key in LORA_KEYS):
        ledger.warn(
            "network_module", "The file was saved for another kind of training.", "Look at rank, alpha and rates: they are a form's defaults."
        )
    lora_type = _lora_type(whole) if adapts else NO_ADAPTER
    for key, value in sorted(whole.items(), key=lambda pair: pair[0] == "additional_parameters"):
        _account(ledger, key, value, whole, lora_type=lora_type)
    if adapts and not _overruled(ledger):
        _arguments(ledger, whole, lora_type)
    ledger.rows = [Row(row.key, row.value, "default", SAID_BY_THE_FORM) if row.key in absent else row for row in ledger.rows]
    return ledger.finish()


def _overruled(ledger: Ledger) -> bool:
    """Whether the additional parameters hold the adapter's arguments, which then count instead of those of the fields."""
    if not any(row.key == "additional_parameters --network_args" and row.outcome == "converted" for row in ledger.rows):
        return False
    arguments = [parameter.name for section in ledger.command.descriptions if section.sink == "list:network_args" for parameter in section.params]
    for name in [name for name in arguments if name in ledger.given]:
        del ledger.given[name]
    return True


def _refuse_other_methods(ledger: Ledger, document: Mapping[str, Any]) -> None:
    """Tabs of that program whose kind of training is not built here are known by a key of their own."""
    for key, method in OTHER_METHODS.items():
        if key in document:
            ledger.refuse("network_module", f"The file is for {method}, which is not trained here yet.", "What is common to all was read.")


def _filled_in(command: Command, document: Mapping[str, Any]) -> dict[str, Any]:
    """What the tab that saved the file shows where the file says nothing. A family without DreamBooth of its own has that tab's files too."""
    by_metadata = any(key in document for key in METADATA_KEYS)
    return {**ABSENT, **(ABSENT_BY_METHOD.get(command.method, {}) if command.method != "finetune" or by_metadata else {})}


def _lora_type(document: Mapping[str, Any]) -> LoraType:
    module = document.get("network_module")
    if isinstance(module, str) and "LoRA_type" not in document:
        return LoraType(module)
    name = str(document.get("LoRA_type") or "Standard")
    return LORA_TYPES.get(OLD_TYPES.get(name, name), LoraType(name))


def _account(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any], *, lora_type: LoraType) -> None:
    parameter = ledger.command.by_name.get(RENAMED.get(key, key))
    if is_secret(ledger, key):
        ledger.hide(key, value)
    elif key == "LoRA_type" and lora_type is not NO_ADAPTER:
        _type(ledger, key, value, lora_type)
    elif key == "network_args" and lora_type is not NO_ADAPTER:
        network_words(ledger, [] if value in NOT_SET else value, document.get("network_module"))
    elif key in BOXES:
        _family(ledger, key, value)
    elif key in ARGUMENT_FIELDS and lora_type is not NO_ADAPTER:
        _argument(ledger, key, value, lora_type)
    elif key in CONVERTERS:
        CONVERTERS[key](ledger, key, value, document)
    elif parameter is not None:
        _field(ledger, key, value)
    else:
        _other(ledger, key, value)


def _type(ledger: Ledger, key: str, value: Any, lora_type: LoraType) -> None:
    if lora_type not in LORA_TYPES.values():
        ledger.keep(key, value, note="No such LoRA type is known.", outcome="unknown")
        return
    ledger.take(key, value, name="network_module", made=lora_type.module)


def _family(ledger: Ledger, key: str, value: Any) -> None:
    if not is_on(value):
        ledger.skip(key, value)
    elif BOXES[key] == ledger.command.family:
        ledger.convert(key, value, became=f"script = {ledger.command.script}")
    else:
        ledger.keep(key, value, note=f"It is for {title(BOXES[key])}.")


def _field(ledger: Ledger, key: str, value: Any) -> None:
    """A field that is an option under its own or a newer name. 0 means "not set" where the option may be unset, as that form has no empty numbers."""
    name = RENAMED.get(key, key)
    parameter = ledger.command.parameter(name)
    if _means_not_set(parameter, value):
        ledger.skip(key, value)
    elif isinstance(value, str) and parameter.many:
        ledger.take(key, value, name=name, made=value.replace('"', "").split())
    else:
        ledger.take(key, value, name=name)


def _means_not_set(parameter: Parameter, value: Any) -> bool:
    if parameter.kind == "bool":
        return not is_on(value)
    if parameter.kind in ("str", "path", "choice"):
        return value in (*NOT_SET, False, "False")
    return value in NOT_SET or (parameter.optional and _is_zero(value))


def _is_zero(value: Any) -> bool:
    try:
        return float(value) == 0
    except (TypeError, ValueError):
        return False


def _other(ledger: Ledger, key: str, value: Any) -> None:
    known = gui_keys().get(key)
    if known is None and (key in OTHER_KEYS or key.startswith("lllite_")):
        if value in (*NOT_SET, False):
            ledger.skip(key, value)
        else:
            ledger.keep(key, value, note=OTHER_KEYS.get(key, OTHER_KEYS["cond_emb_dim"]))
    elif known is None:
        _stranger(ledger, key, value)
    elif value in (known.default, *NOT_SET, False) or _same_number(value, known.default):
        ledger.skip(key, value)
    elif known.family not in ("", ledger.command.family):
        _of_family(ledger, key, value, known.family)
    else:
        ledger.keep(key, value, note=f"It is {known.flag} for another kind of model or training." if known.flag else "It belongs to another trainer.")


def _of_family(ledger: Ledger, key: str, value: Any, family: str) -> None:
    note = f"It is for {title(family)}." if is_built(family) else f"It is for {title(family)}, which is not trained here yet."
    ledger.keep(key, value, note=note)


def _stranger(ledger: Ledger, key: str, value: Any) -> None:
    """A key that no version of the form had: decoration, or put in by hand."""
    if not re.search(r"\w", key.strip("= -")) or (value in NOT_SET and key.startswith("==")):
        ledger.skip(key, value, "It is decoration.")
        return
    near = nearest(key, gui_keys())
    ledger.keep(key, value, note=with_guess("No version of the form is known to have it.", near), outcome="unknown")


def _same_number(value: Any, default: Any) -> bool:
    try:
        return not isinstance(default, bool) and float(value) == float(default)
    except (TypeError, ValueError):
        return False


def _argument(ledger: Ledger, key: str, value: Any, lora_type: LoraType) -> None:
    """Account for a field that is an argument of some LoRA type; `_arguments` writes those of this type."""
    default = gui_keys()[key].default if key in gui_keys() else ""
    belongs = key in (*lora_type.fields, *lora_type.always)
    if belongs and key in ledger.command.by_name and lora_type.module == LORA_MODULE:
        if value in NOT_SET or _is_zero(value):
            ledger.skip(key, value)
        else:
            ledger.take(key, value)
    elif belongs and (key in lora_type.always or _is_set(value)):
        ledger.rows.append(_converted(key, value, lora_type))
    elif value == default or not _is_set(value):
        ledger.skip(key, value)
    elif key in gui_keys() and gui_keys()[key].family not in ("", ledger.command.family):
        _of_family(ledger, key, value, gui_keys()[key].family)
    else:
        ledger.keep(key, value, note="It belongs to another LoRA type.")


def _is_set(value: Any) -> bool:
    return value not in (*NOT_SET, False, -1) and not _is_zero(value)


def _converted(key: str, value: Any, lora_type: LoraType) -> Row:
    return Row(key, value, "converted", became=f"network_args {argument_name(key, lora_type)}={value}")


def _arguments(ledger: Ledger, document: Mapping[str, Any], lora_type: LoraType) -> None:
    """The `network_args` of a module that is not networks.lora, in that form's order."""
    if lora_type.module == LORA_MODULE:
        return
    words = [f"algo={lora_type.algo}"] if lora_type.algo else []
    for field in (*lora_type.always, *lora_type.fields):
        value = document.get(field, gui_keys()[field].default if field in gui_keys() else "")
        if field in lora_type.always or _is_set(value):
            words.append(f"{argument_name(field, lora_type)}={value}")
    if words:
        ledger.given["network_args"] = (*_given_words(ledger), *words)


def _given_words(ledger: Ledger) -> tuple[str, ...]:
    words = ledger.given.get("network_args", ())
    return words if isinstance(words, tuple) else ()
