"""A JSON saved by the kohya GUI (2022 to 2026): form fields to options. Keys, units and defaults are those of that form, not of the trainer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.fields import CONVERTERS, RENAMED
from sd_scripts.params.migrate.ledger import Imported, Ledger, Row
from sd_scripts.params.migrate.lora_types import ARGUMENT_FIELDS, LORA_TYPES, OLD_TYPES, LoraType, argument_name
from sd_scripts.params.migrate.shared import NOT_SET, is_on, is_secret, network_words
from sd_scripts.params.migrate.trainer import FAMILY_BOXES, FAMILY_OF_BOX, LORA_KEYS, METADATA_KEYS
from sd_scripts.params.network import LORA_MODULE
from sd_scripts.params.spec import Parameter

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


@cache
def gui_keys() -> Mapping[str, list[Any]]:
    """Every field of the form: its default, and the flag that it fills."""
    return json.loads(resources.files("sd_scripts.params.migrate").joinpath("gui_keys.json").read_text("utf-8"))


def import_gui(document: Mapping[str, Any], command: Command) -> Imported:
    """Account for every key of a saved form."""
    ledger = Ledger(command)
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
    if adapts:
        _arguments(ledger, whole, lora_type)
    ledger.rows = [Row(row.key, row.value, "default", SAID_BY_THE_FORM) if row.key in absent else row for row in ledger.rows]
    return ledger.finish()


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
    elif key in FAMILY_BOXES:
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
    ledger.take(key, value, name="network_module", made=lora_type.module, note=f"It is network_module {lora_type.module} here.")


def _family(ledger: Ledger, key: str, value: Any) -> None:
    if not is_on(value):
        ledger.skip(key, value)
        return
    family = FAMILY_BOXES[key]
    if FAMILY_OF_BOX.get(key) == ledger.command.family:
        ledger.rows.append(Row(key, value, "converted", f"The trainer is {ledger.command.script}."))
        return
    ledger.keep(key, value, note=f"The file is for {family}.")
    ledger.refuse(
        "pretrained_model_name_or_path", f"The file was saved for {family}; this trains {ledger.command.title}.", "Choose a base model of that kind."
    )


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
    if known is None:
        ledger.keep(key, value, note="No version of the form is known to have it.", outcome="unknown")
    elif value == known[0] or value in (*NOT_SET, False):
        ledger.skip(key, value)
    else:
        ledger.keep(key, value, note=f"It is {known[1]} for another kind of model or training." if known[1] else "It belongs to another trainer.")


def _argument(ledger: Ledger, key: str, value: Any, lora_type: LoraType) -> None:
    """Account for a field that is an argument of some LoRA type; `_arguments` writes those of this type."""
    default = gui_keys()[key][0] if key in gui_keys() else ""
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
    else:
        ledger.keep(key, value, note="It belongs to another LoRA type.")


def _is_set(value: Any) -> bool:
    return value not in (*NOT_SET, False, -1) and not _is_zero(value)


def _converted(key: str, value: Any, lora_type: LoraType) -> Row:
    return Row(key, value, "converted", f"It is network_args {argument_name(key, lora_type)}={value}.")


def _arguments(ledger: Ledger, document: Mapping[str, Any], lora_type: LoraType) -> None:
    """The `network_args` of a module that is not networks.lora, in that form's order."""
    if lora_type.module == LORA_MODULE:
        return
    words = [f"algo={lora_type.algo}"] if lora_type.algo else []
    for field in (*lora_type.always, *lora_type.fields):
        value = document.get(field, gui_keys().get(field, [""])[0])
        if field in lora_type.always or _is_set(value):
            words.append(f"{argument_name(field, lora_type)}={value}")
    if words:
        ledger.given["network_args"] = (*_given_words(ledger), *words)


def _given_words(ledger: Ledger) -> tuple[str, ...]:
    words = ledger.given.get("network_args", ())
    return words if isinstance(words, tuple) else ()
