"""From a config to the fields of the kohya GUI's form: the reverse of `fields` and `lora_types`. Whether it succeeds is seen by reading it back."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from sd_scripts.params.config import Config
from sd_scripts.params.migrate.gui import Field, gui_keys
from sd_scripts.params.migrate.lora_types import LORA_TYPES, LoraType, argument_name
from sd_scripts.params.migrate.shared import STUDIO_PROMPTS

TABS = {"adapter": "l", "dreambooth": "d", "finetune": "f", "embedding": "t"}
"""The tab of a method, by its letter in the table of fields."""
FIELD_OF = {"resolution": "max_resolution", "optimizer_type": "optimizer"}
SWITCHES_OF_SDXL = {"cache_text_encoder_outputs": "sdxl_cache_text_encoder_outputs", "no_half_vae": "sdxl_no_half_vae"}
NO_LIMIT = 1000


def tab_of(config: Config) -> str:
    """The tab of the form that trains this config."""
    if config.command.family == "sdxl" and config.command.method == "finetune" and not config.given.get("in_json"):
        return "d"
    return TABS[config.command.method]


def fields_of(config: Config) -> dict[str, Any]:
    """Every field of the tab, so that nothing of what that form shows stays."""
    tab = tab_of(config)
    fields = {key: field.default for key, field in gui_keys().items() if tab in field.tabs}
    for key in fields:
        option = {field: name for name, field in FIELD_OF.items()}.get(key, key)
        if option in config.command.by_name:
            fields[key] = _value(config.value(option), gui_keys()[key])
    made = {
        **_length(config),
        **_warmup(config),
        **_noise(config),
        **_attention(config),
        **_family(config),
        **_text_encoder(config),
        **_rates_of_text(config),
        **_rates_of_parts(config),
        **_compiler(config),
        **_pictures(config),
        **_word(config),
        **(_adapter(config) if tab == "l" else {}),
        "max_timestep": _number(config, "max_timestep") or NO_LIMIT,
        "sample_prompts": str(config.studio.get(STUDIO_PROMPTS) or ""),
        "additional_parameters": "",
        "optimizer_args": _words(config.given.get("optimizer_args")),
        "lr_scheduler_args": _words(config.given.get("lr_scheduler_args")),
        "save_model_as": _format(config),
        "model_list": "custom",
    }
    return {**fields, **{key: value for key, value in made.items() if key in fields}}


def _value(value: object, field: Field) -> Any:
    """A value as its field holds it: that form has no empty numbers and switches."""
    if value is None:
        return False if isinstance(field.default, bool) else 0 if isinstance(field.default, (int, float)) else ""
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else _words(value)
    return value


def _words(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, tuple) else ""


def _number(config: Config, name: str) -> Any:
    value = config.value(name) if name in config.command.by_name else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _length(config: Config) -> dict[str, Any]:
    """Epochs count before steps there; the form's own field `epoch` counts last."""
    epochs = _number(config, "max_train_epochs")
    return {"max_train_epochs": epochs, "max_train_steps": 0 if epochs else _number(config, "max_train_steps"), "epoch": 1}


def _warmup(config: Config) -> dict[str, Any]:
    warmup = _number(config, "lr_warmup_steps")
    percent = round(warmup * 100, 10) if 0 < warmup < 1 else 0
    return {"lr_warmup": percent, "lr_warmup_steps": warmup if warmup >= 1 else 0}


def _noise(config: Config) -> dict[str, Any]:
    return {"noise_offset_type": "Multires" if _number(config, "multires_noise_iterations") else "Original"}


def _attention(config: Config) -> dict[str, Any]:
    return {"xformers": "sdpa" if config.given.get("sdpa") else "none", "mem_eff_attn": False}


def _family(config: Config) -> dict[str, Any]:
    is_sdxl = config.command.family == "sdxl"
    made: dict[str, Any] = {"sdxl": is_sdxl, "sdxl_checkbox": is_sdxl}
    for option, field in SWITCHES_OF_SDXL.items():
        made[field] = bool(is_sdxl and option in config.command.by_name and config.value(option))
    return made


def _text_encoder(config: Config) -> dict[str, Any]:
    """When its training stops is a percentage there, and -1 never starts it."""
    stop = _number(config, "stop_text_encoder_training")
    made: dict[str, Any] = {"stop_text_encoder_training": -1 if stop == -1 else round(stop * 100, 10) if 0 < stop < 1 else 0}
    if "max_token_length" in config.command.by_name:
        made["max_token_length"] = _number(config, "max_token_length") or 75
    return made


def _rates_of_text(config: Config) -> dict[str, Any]:
    """A rate of 0 says there that a text encoder is not trained; one without a rate of its own has the main one."""
    trained = "train_text_encoder" not in config.command.by_name or config.value("train_text_encoder")
    names = [name for name in ("learning_rate_te", "learning_rate_te1", "learning_rate_te2") if name in config.command.by_name]
    rates = {name: config.value(name) for name in names}
    return {name: (config.value("learning_rate") if rate is None else rate) if trained else 0 for name, rate in rates.items()}


def _rates_of_parts(config: Config) -> dict[str, Any]:
    """The same of the two parts of an adapter's model: where one has a rate of its own, the other needs one that is not 0."""
    switches = ("network_train_unet_only", "network_train_text_encoder_only")
    if "unet_lr" not in config.command.by_name or any(config.value(name) for name in switches):
        return {}
    rates = {name: config.value(name) for name in ("unet_lr", "text_encoder_lr")}
    unset = [name for name, rate in rates.items() if rate is None]
    return {name: config.value("learning_rate") for name in unset} if len(unset) == 1 else {}


def _compiler(config: Config) -> dict[str, Any]:
    return {"dynamo_backend": config.value("dynamo_backend") if config.given.get("torch_compile") else "no"}


def _pictures(config: Config) -> dict[str, Any]:
    """A metadata file is a folder and a name there."""
    path = str(config.given.get("in_json") or "")
    folder, name = (str(PurePosixPath(path).parent), PurePosixPath(path).name) if path else ("", "")
    return {
        "image_folder": str(config.given.get("train_data_dir") or ""),
        "train_dir": folder,
        "latent_metadata_filename": name or "meta_lat.json",
        "use_latent_files": "Yes",
        "create_caption": False,
        "create_buckets": False,
    }


def _word(config: Config) -> dict[str, Any]:
    kinds = {"use_object_template": "object template", "use_style_template": "style template"}
    return {"template": next((words for option, words in kinds.items() if config.given.get(option)), "caption")}


def _format(config: Config) -> str:
    value = config.value("save_model_as")
    return str(value) if value is not None else "same as source model"


def _adapter(config: Config) -> dict[str, Any]:
    """The LoRA type that has the module, and the algorithm where that is LyCORIS, with its fields from the typed arguments."""
    name, kind = _lora_type(config)
    if kind is None:
        return {"LoRA_type": str(config.given.get("network_module") or "Standard")}
    made: dict[str, Any] = {"LoRA_type": name}
    for field in (*kind.always, *kind.fields):
        argument = argument_name(field, kind)
        if argument in config.given and field in gui_keys():
            made[field] = _value(config.given[argument], gui_keys()[field])
    return made


def _lora_type(config: Config) -> tuple[str, LoraType | None]:
    module, given = config.given.get("network_module"), config.given
    for name, kind in LORA_TYPES.items():
        if kind.module == module and (not kind.algo or kind.algo == given.get("algo", "lora")):
            if name == "Standard" and ("conv_dim" in given or "conv_alpha" in given):
                continue
            return name, kind
    return "", None
