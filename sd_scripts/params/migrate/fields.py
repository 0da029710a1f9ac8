"""The kohya GUI's fields that are not simply an option: percentages, lengths of the run, choices that exclude each other, text in place of files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.migrate.ledger import Converter, Ledger
from sd_scripts.params.migrate.option_words import take_words
from sd_scripts.params.migrate.shared import NOT_SET, SHARED, STUDIO_PROMPTS, is_on, number
from sd_scripts.params.migrate.trainer import WHOLE
from sd_scripts.params.samples import PROMPT_FILES

RENAMED = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "lora_network_weights": "network_weights",
    "conv_dims": "conv_block_dims",
    "conv_alphas": "conv_block_alphas",
    "cache_latent": "cache_latents",
    "caption_extention": "caption_extension",
    "image_folder": "train_data_dir",
    "dataset_config_path": "dataset_config",
    "sample_prompts_path": "sample_prompts",
    "sdxl_min_timestep": "min_timestep",
    "sdxl_max_timestep": "max_timestep",
}
ONLY_BY_TYPE = {
    "Original": ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale"),
    "Multires": ("multires_noise_iterations", "multires_noise_discount"),
}


def warmup_percent(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Percent of the run, unless a number of steps is given; the constant schedule has no warm-up, whatever the field says."""
    percent = number(document, key)
    if not percent:
        ledger.skip(key, value)
    elif number(document, "lr_warmup_steps") > 0:
        ledger.keep(key, value, note="The warm-up in steps counts.")
    elif document.get("lr_scheduler") == "constant":
        ledger.keep(key, value, note="The constant schedule has no warm-up.")
    else:
        ledger.take(key, value, name="lr_warmup_steps", made=percent / 100, note=f"{percent:g} percent of the run.")


def warmup_steps(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Steps; 0 leaves it to the percentage."""
    steps = number(document, key)
    if steps <= 0:
        ledger.skip(key, value)
    elif document.get("lr_scheduler") == "constant":
        ledger.keep(key, value, note="The constant schedule has no warm-up.")
    else:
        ledger.take(key, value, made=int(steps) if steps >= 1 else steps)


def length(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Epochs count before steps, steps before the form's own field `epoch`, which made steps out of the pictures there are."""
    fields = ("max_train_epochs", "max_train_steps", "epoch")
    ruling = next((field for field in fields if number(document, field) > 0), "")
    if key == ruling:
        amount = int(number(document, key))
        ledger.take(key, value, name="max_train_epochs" if key == "epoch" else key, made=amount)
    elif number(document, key) > 0:
        ledger.keep(key, value, note=f"{ruling} counts.")
    else:
        ledger.skip(key, value)


def text_encoder_stop(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Percent of the run; -1 never trains the text encoder."""
    percent = number(document, key)
    if percent == 0:
        ledger.skip(key, value)
    elif percent < 0:
        ledger.take(key, value, name="stop_text_encoder_training", made=-1)
    elif "stop_text_encoder_training" not in ledger.command.by_name:
        ledger.keep(key, value, note="It belongs to another trainer.")
    elif ledger.command.parameter("stop_text_encoder_training").kind == "int":
        ledger.keep(key, value, note=f"{percent:g} percent of the run: this trainer wants a step, which the pictures decide.")
    else:
        ledger.take(key, value, name="stop_text_encoder_training", made=percent / 100, note=f"{percent:g} percent of the run.")


def token_length(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """75 is what an empty option means."""
    if number(document, key) in (0, 75):
        ledger.skip(key, value)
    else:
        ledger.take(key, value, made=int(number(document, key)))


def noise(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """The form's noise type chooses one of two sets of fields; the other set has no effect."""
    kind = str(document.get("noise_offset_type") or "Original")
    if key in ONLY_BY_TYPE.get(kind, ()):
        _noise_value(ledger, key, value, document)
    elif value in (*NOT_SET, False) or number(document, key) == 0:
        ledger.skip(key, value)
    else:
        ledger.keep(key, value, note=f"It has no effect with noise type {kind}.")


def _noise_value(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    depends = {
        "adaptive_noise_scale": "noise_offset",
        "noise_offset_random_strength": "noise_offset",
        "multires_noise_discount": "multires_noise_iterations",
    }
    if value in (*NOT_SET, False) or (not isinstance(value, bool) and number(document, key) == 0):
        ledger.skip(key, value)
    elif key in depends and number(document, depends[key]) == 0:
        ledger.keep(key, value, note=f"It has no effect without {depends[key]}.")
    else:
        ledger.take(key, value)


def noise_type(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """No option: it has chosen between the noise fields."""
    ledger.convert(key, value, note="It chooses between noise_offset and multires_noise_iterations.")


def part_rate(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """0 leaves that part out if the other part has a rate; if both are 0, the main rate counts for both."""
    other, only = {
        "text_encoder_lr": ("unet_lr", "network_train_unet_only"),
        "unet_lr": ("text_encoder_lr", "network_train_text_encoder_only"),
    }[key]
    if isinstance(value, (list, tuple)) or number(document, key) != 0:
        ledger.take(key, value)
    elif number(document, other) > 0 and value not in NOT_SET:
        ledger.take(key, value, name=only, made=True)
    else:
        ledger.skip(key, value)


def old_adam(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """A switch before there was a list of optimizers."""
    if document.get("optimizer") or document.get("optimizer_type"):
        ledger.skip(key, value, "optimizer counts.")
    else:
        ledger.take(key, value, name="optimizer_type", made="AdamW8bit" if is_on(value) else "AdamW")


def prompts(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Text in the form, a path in files written by hand."""
    text = value if isinstance(value, str) else ""
    if not text.strip():
        ledger.skip(key, value)
    elif "\n" not in text.strip() and text.strip().lower().endswith(PROMPT_FILES):
        ledger.take(key, value, name="sample_prompts")
    else:
        ledger.studio[STUDIO_PROMPTS] = text
        ledger.convert(key, value, became="prompts", note="They are kept as text and written to a file at the start.")


def file_format(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Formats of whole models do not fit a LoRA or a word."""
    if value in ("same as source model", *NOT_SET):
        ledger.skip(key, value)
    elif ledger.command.method in WHOLE or value in ("ckpt", "pt", "safetensors"):
        ledger.take(key, value)
    else:
        ledger.take(key, value, made="safetensors", note="What is trained here is saved as safetensors.")


def highest_timestep(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """The form's 1000 and 0 are no limit."""
    if number(document, key) in (0, 1000):
        ledger.skip(key, value)
    else:
        ledger.take(key, value, name="max_timestep")


def metadata_file(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """A folder and a file's name make `in_json`: that with the latents' sizes where they are used, else that with captions alone."""
    uses_latents = str(document.get("use_latent_files", "Yes")).strip().lower() in ("yes", "true")
    ruling = "latent_metadata_filename" if uses_latents else "caption_metadata_filename"
    folder, name = str(document.get("train_dir") or ""), str(document.get(ruling) or "")
    if not folder or (key != ruling and key not in ("train_dir", "use_latent_files")):
        ledger.skip(key, value)
    elif key == ruling and name:
        ledger.take(key, value, name="in_json", made=f"{folder.rstrip('/')}/{name}")
    else:
        ledger.convert(key, value, became="in_json", note="It is part of that path.")


def template(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Sentences in the place of captions."""
    switch = {"object template": "use_object_template", "style template": "use_style_template"}.get(str(value))
    if switch:
        ledger.take(key, value, name=switch, made=True)
    else:
        ledger.skip(key, value)


def only_sdxl(name: str) -> Converter:
    """A field of the section for SDXL, which counts with its box alone."""

    def convert(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
        if not is_on(value):
            ledger.skip(key, value)
        elif ledger.command.family == "sdxl" and name in ledger.command.by_name:
            ledger.take(key, value, name=name, made=True)
        else:
            ledger.keep(key, value, note="It counts for SDXL alone.")

    return convert


def text_rate(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Rates of whole models' text encoders: one of SDXL's above 0 has them trained, which a switch says here."""
    if key not in ledger.command.by_name:
        ledger.keep(key, value, note="It counts for another family or another kind of training.")
        return
    ledger.take(key, value)
    if key != "learning_rate_te" and number(document, key) > 0:
        ledger.given["train_text_encoder"] = True


def bucket_steps(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """That form took any number, its trainers only multiples of what the family needs."""
    divisor = FAMILIES[ledger.command.family].bucket_divisor
    steps = int(number(document, key))
    fitting = max(1, -(-steps // divisor)) * divisor
    if steps == fitting:
        ledger.take(key, value)
    else:
        ledger.take(key, value, made=fitting, note=f"Sides of buckets are multiples of {divisor} here.")


def seed(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """0, -1 and nothing are a new seed each time."""
    if number(document, key) <= 0:
        ledger.skip(key, value)
    else:
        ledger.take(key, value)


def additional(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Words for the trainer's command line, which count before the form's fields."""
    text = str(value or "").replace('"', "").strip()
    if not text:
        ledger.skip(key, value)
        return
    try:
        take_words(ledger, shlex.split(text, posix=False), within=key)
    except ConfigError as refused:
        ledger.keep(key, value, note=f"{refused.message} {refused.fix}".strip())
        return
    except ValueError as failed:
        ledger.keep(key, value, note=f"It cannot be read: {failed}.")
        return
    ledger.convert(key, value, note="Its words are options of their own here.")


def dropped(note: str) -> Converter:
    """A field without meaning for a run."""

    def drop(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
        ledger.skip(key, value, note)

    return drop


CONVERTERS: dict[str, Converter] = {
    **SHARED,
    "lr_warmup": warmup_percent,
    "lr_warmup_steps": warmup_steps,
    "epoch": length,
    "max_train_epochs": length,
    "max_train_steps": length,
    "stop_text_encoder_training": text_encoder_stop,
    "stop_text_encoder_training_pct": text_encoder_stop,
    "max_token_length": token_length,
    "noise_offset_type": noise_type,
    **{field: noise for fields in ONLY_BY_TYPE.values() for field in fields},
    "text_encoder_lr": part_rate,
    "unet_lr": part_rate,
    "use_8bit_adam": old_adam,
    "sample_prompts": prompts,
    "sample_prompts_path": prompts,
    "save_model_as": file_format,
    "max_timestep": highest_timestep,
    "sdxl_max_timestep": highest_timestep,
    "additional_parameters": additional,
    "bucket_reso_steps": bucket_steps,
    "seed": seed,
    "train_dir": metadata_file,
    "use_latent_files": metadata_file,
    "caption_metadata_filename": metadata_file,
    "latent_metadata_filename": metadata_file,
    "template": template,
    "sdxl_cache_text_encoder_outputs": only_sdxl("cache_text_encoder_outputs"),
    "sdxl_no_half_vae": only_sdxl("no_half_vae"),
    "learning_rate_te": text_rate,
    "learning_rate_te1": text_rate,
    "learning_rate_te2": text_rate,
    "full_path": dropped("It prepared files for another trainer."),
    "create_caption": dropped("It prepared files for another trainer."),
    "create_buckets": dropped("It prepared files for another trainer."),
    "batch_size": dropped("It prepared files for another trainer."),
    "model_list": dropped("pretrained_model_name_or_path counts."),
    "save_as_bool": dropped("It is no setting."),
    "generate_caption_database": dropped("It prepared files for another trainer."),
    "generate_image_buckets": dropped("It prepared files for another trainer."),
}
