"""OneTrainer's JSON: a file holds what differs from its defaults, or everything. Its parts of a model are tables; times have a unit beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import Imported
from sd_scripts.params.migrate.rivals.onetrainer_learning import LEARNING
from sd_scripts.params.migrate.rivals.onetrainer_parts import OPTIMIZER_RULES, PARTS, argument_rules
from sd_scripts.params.migrate.rivals.onetrainer_pictures import PICTURES, take_concepts, take_samples
from sd_scripts.params.migrate.rivals.reading import (
    Program,
    Readable,
    Reading,
    Rule,
    as_number,
    choice,
    dotted,
    finished,
    is_true,
    known_keys,
    part_of,
    switch,
    to,
    trainer_for,
    without,
)
from sd_scripts.params.migrate.shared import NOT_SET
from sd_scripts.params.migrate.told_family import Told
from sd_scripts.params.network import LOHA_MODULE, LOKR_MODULE, LORA_MODULE, OFT_MODULE

MODEL_TYPES = (
    ("STABLE_DIFFUSION_XL", "sdxl"), ("STABLE_DIFFUSION_3", "sd3"), ("STABLE_DIFFUSION", "sd"), ("WUERSTCHEN", "wuerstchen"),
    ("STABLE_CASCADE", "cascade"), ("PIXART", "pixart"), ("FLUX_2", "flux2"), ("FLUX", "flux"), ("SANA", "sana"), ("HUNYUAN_VIDEO", "hunyuan_video"),
    ("HI_DREAM", "hidream"), ("CHROMA", "chroma"), ("QWEN", "qwen_image"), ("ANIMA", "anima"), ("Z_IMAGE", "z_image"), ("ERNIE", "ernie"),
)  # fmt: skip
"""Families by how a model type begins."""
METHODS = {"LORA": "adapter", "FINE_TUNE": "dreambooth", "EMBEDDING": "embedding"}
OLD_NAMES = {
    "train_unet": "unet.train",
    "unet_learning_rate": "unet.learning_rate",
    "unet_weight_dtype": "unet.weight_dtype",
    "train_text_encoder": "text_encoder.train",
    "train_text_encoder_epochs": "text_encoder.stop_training_after",
    "text_encoder_learning_rate": "text_encoder.learning_rate",
    "text_encoder_weight_dtype": "text_encoder.weight_dtype",
    "train_text_encoder_2": "text_encoder_2.train",
    "train_text_encoder_2_epochs": "text_encoder_2.stop_training_after",
    "text_encoder_2_learning_rate": "text_encoder_2.learning_rate",
    "text_encoder_2_weight_dtype": "text_encoder_2.weight_dtype",
    "vae_model_name": "vae.model_name",
    "vae_weight_dtype": "vae.weight_dtype",
    "token_count": "embedding.token_count",
    "initial_embedding_text": "embedding.initial_embedding_text",
    "save_after": "save_every",
    "save_after_unit": "save_every_unit",
    "lora_layers": "layer_filter",
    "lora_layer_preset": "layer_filter_preset",
    "lora_layers_regex": "layer_filter_regex",
    "latent_caching": "image_caching",
    "dataloader_threads": "caching_threads",
}
"""Keys of older versions."""
UNITS = {"EPOCH": "epochs", "STEP": "steps"}
_BY_THE_CLOCK = "It goes by the clock; here things happen after steps or epochs."


def is_onetrainer(document: Mapping[str, Any]) -> bool:
    """Whether a document is a config of that program."""
    return "training_method" in document or ("model_type" in document and "base_model_name" in document)


def import_onetrainer(document: Mapping[str, Any], near: Command, *, folder: Path, readable: Readable) -> Imported:
    """Account for every key of a OneTrainer config that lies in `folder`."""
    flat = dotted(document)
    if isinstance(document.get("optimizer"), str):
        flat |= {f"optimizer.{key.removeprefix('optimizer_')}": flat.pop(key) for key in list(flat) if key.startswith("optimizer_")}
        flat["optimizer.optimizer"] = flat.pop("optimizer")
    kind = str(document.get("model_type") or "STABLE_DIFFUSION_15")
    family = next((family for start, family in MODEL_TYPES if kind.startswith(start)), kind.lower())
    told = Told(family, kind)
    method = METHODS.get(str(document.get("training_method") or "FINE_TUNE"), "dreambooth")
    reading = Reading(PROGRAM, flat, trainer_for(told, method, near), folder=folder, readable=readable)
    reading.rename(OLD_NAMES)
    return finished(reading, told)


def import_concepts(document: list[Mapping[str, Any]], near: Command, *, folder: Path, readable: Readable) -> Imported:
    """Concepts alone, for the trainer `near`: what they say is added to what there is."""
    reading = Reading(Program("OneTrainer", {}, {}), {}, near, folder=folder, readable=readable)
    take_concepts(reading, "concepts", document)
    return reading.read().finish(adds=True)


def import_samples(document: list[Mapping[str, Any]], near: Command, *, folder: Path, readable: Readable) -> Imported:
    """Samples alone, for the trainer `near`: what they say is added to what there is."""
    reading = Reading(Program("OneTrainer", {}, {}), {}, near, folder=folder, readable=readable)
    take_samples(reading, "samples", document)
    return reading.read().finish(adds=True)


def _model_type(reading: Reading, key: str, value: Any) -> None:
    ledger, kind = reading.ledger, str(value)
    if ledger.other_family:
        reading.family_row(key, value)
        return
    if kind.startswith("STABLE_DIFFUSION_2"):
        reading.give("v2", True)
        if kind in ("STABLE_DIFFUSION_20", "STABLE_DIFFUSION_21"):
            reading.give("v_parameterization", True)
    if kind.endswith("_DEPTH"):
        ledger.refuse("pretrained_model_name_or_path", "The file is for a depth model, which is not trained here.", "Choose another base model.")
    ledger.convert(key, value, became=f"script = {reading.command.script}" + (", v2 = true" if "v2" in ledger.given else ""))


def _method(reading: Reading, key: str, value: Any) -> None:
    if str(value) == "FINE_TUNE_VAE":
        reading.ledger.refuse("", "The file trains a VAE, which is not done here.", "Choose another kind of training.")
        reading.ledger.keep(key, value, note="VAEs are not trained here.")
        return
    if reading.method == "adapter":
        _adapter(reading)
    reading.ledger.convert(key, value, became=f"script = {reading.command.script}")


def _adapter(reading: Reading) -> None:
    module = {"LOHA": LOHA_MODULE, "LOKR": LOKR_MODULE, "OFT_2": OFT_MODULE}.get(str(reading.value("peft_type")), LORA_MODULE)
    reading.give("network_module", module)


def _of_adapter(rule: Rule) -> Rule:
    """A setting that counts for adapters alone."""

    def of_adapter(reading: Reading, key: str, value: Any) -> None:
        if reading.method == "adapter":
            rule(reading, key, value)
        else:
            reading.ledger.skip(key, value, "No adapter is trained.")

    return of_adapter


def _of_kind(kind: str, rule: Rule) -> Rule:
    """A setting that counts for one kind of adapter."""

    def of_kind(reading: Reading, key: str, value: Any) -> None:
        if reading.method == "adapter" and str(reading.value("peft_type")) == kind:
            rule(reading, key, value)
        else:
            reading.ledger.skip(key, value, f"It counts for {kind} alone.")

    return of_kind


def _rank(reading: Reading, key: str, value: Any) -> None:
    mine = "lokr_dim" if str(reading.value("peft_type")) == "LOKR" and "lokr_dim" in reading.said else "lora_rank"
    if key == mine:
        reading.ledger.take(key, value, name="network_dim")
    else:
        reading.ledger.skip(key, value, f"{mine} counts.")


def _layers(reading: Reading, key: str, value: Any) -> None:
    """That program's full LoRA has the convolutions too; a preset of attention and feed-forward layers is kohya's LoRA."""
    preset, ledger = str(value), reading.ledger
    if ledger.other_family:
        ledger.keep(key, value, note=f"Its layers are those of {ledger.other_family}.")
    elif preset == "attn-mlp":
        ledger.skip(key, value, "Attention and feed-forward layers are what a LoRA has here.")
    elif preset == "full" and not reading.value("layer_filter"):
        rank, alpha = reading.number("lora_rank"), reading.number("lora_alpha")
        reading.give("conv_dim", int(rank))
        reading.give("conv_alpha", alpha)
        ledger.convert(key, value, became=f"conv_dim = {rank:g}, conv_alpha = {alpha:g}", note="Convolutions get an adapter too.")
    else:
        ledger.keep(key, value, note="Layers are chosen with include_patterns and exclude_patterns, by kohya's names.")


def _destination(reading: Reading, key: str, value: Any) -> None:
    """One path there, folder and name here."""
    path = PurePosixPath(str(value).replace("\\", "/"))
    if value in NOT_SET or not path.name:
        reading.ledger.skip(key, value)
        return
    name = path.stem if path.suffix in (".safetensors", ".ckpt", ".pt") else path.name
    folder = str(path.parent)
    reading.give("output_name", name)
    reading.give("output_dir", folder)
    if path.suffix in (".safetensors", ".ckpt", ".pt") and reading.method != "adapter":
        reading.give("save_model_as", path.suffix[1:])
    reading.ledger.convert(key, value, became=f"output_dir = {folder}, output_name = {name}")


def _format(reading: Reading, key: str, value: Any) -> None:
    kind, ledger = str(value), reading.ledger
    if kind == "DIFFUSERS" and reading.is_whole:
        ledger.take(key, value, name="save_model_as", made="diffusers")
    elif kind in ("CKPT", "LEGACY_CKPT") and reading.method != "embedding":
        ledger.take(key, value, name="save_model_as", made="ckpt")
    elif kind in ("DIFFUSERS_LORA", "LEGACY_LORA", "DIFFUSERS", "INTERNAL", "COMFY_LORA"):
        ledger.keep(key, value, note="Files are written under kohya's names, which other programs read.")
    else:
        ledger.skip(key, value)


def _every(key_of: str, *, epochs: str, steps: str, needs_prompts: bool = False) -> Rule:
    """How often something happens, with a unit beside it."""

    def every(reading: Reading, key: str, value: Any) -> None:
        unit, ledger = str(reading.value(f"{key_of}_unit")), reading.ledger
        amount = as_number(value) or 0.0
        if unit == "NEVER" or amount <= 0:
            ledger.skip(key, value)
        elif needs_prompts and not ledger.studio.get("prompts"):
            ledger.keep(key, value, note="There is no prompt.")
        elif unit in UNITS:
            ledger.take(key, value, name=epochs if unit == "EPOCH" else steps, made=max(1, int(amount)))
        else:
            ledger.keep(key, value, note=_BY_THE_CLOCK)

    return every


def _checkpointing(reading: Reading, key: str, value: Any) -> None:
    """A switch, or a word; per part of the model in newer files."""
    word = str(value).upper()
    if word in ("OFF", "FALSE"):
        reading.ledger.skip(key, value)
    elif word in ("ON", "TRUE", "CPU_OFFLOADED"):
        if word == "CPU_OFFLOADED":
            reading.give("cpu_offload_checkpointing", True)
        reading.ledger.take(key, value, name="gradient_checkpointing", made=True)
    else:
        reading.ledger.keep(key, value, note="It cannot be read.")


def _caching(reading: Reading, key: str, value: Any) -> None:
    if not is_true(value):
        reading.ledger.skip(key, value)
        return
    reading.give("cache_latents", True)
    reading.ledger.take(key, value, name="cache_latents_to_disk", made=True)


def _train_dtype(reading: Reading, key: str, value: Any) -> None:
    made = {"FLOAT_16": "fp16", "BFLOAT_16": "bf16", "FLOAT_32": "no", "TFLOAT_32": "no"}.get(str(value))
    if key not in reading.said and reading.is_whole and str(reading.value("unet.weight_dtype")) == "BFLOAT_16":
        # Whole weights in bf16 want a computation in bf16 here.
        made = "bf16"
    if made is None:
        reading.ledger.keep(key, value, note="The computation runs in fp16, bf16 or 32 bits here.")
    else:
        reading.ledger.take(key, value, name="mixed_precision", made=made)


def _devices(reading: Reading, key: str, value: Any) -> None:
    ids = [part.strip() for part in str(value or "").split(",") if part.strip()]
    if not ids:
        reading.ledger.skip(key, value)
        return
    reading.give("num_processes", len(ids) if is_true(reading.value("multi_gpu")) else 1)
    reading.ledger.take(key, value, name="gpu_ids", made=",".join(ids))


def _tensorboard(reading: Reading, key: str, value: Any) -> None:
    place = str(reading.said.get("workspace_dir") or "")
    if not is_true(value) or not place:
        reading.ledger.skip(key, value, "" if not is_true(value) else "Loss and rate are drawn on the run's page; TensorBoard needs logging_dir.")
        return
    reading.give("log_with", "tensorboard")
    reading.ledger.take(key, value, name="logging_dir", made=f"{place.rstrip('/')}/tensorboard")


def _if_embedding(name: str, made: Callable[[Any], Any] | None = None) -> Rule:
    rule = to(name, made)

    def if_embedding(reading: Reading, key: str, value: Any) -> None:
        if reading.method == "embedding":
            rule(reading, key, value)
        else:
            reading.ledger.skip(key, value, "No word is trained.")

    return if_embedding


RULES: dict[str, Rule] = {
    "model_type": _model_type,
    "training_method": _method,
    "base_model_name": to("pretrained_model_name_or_path"),
    "output_dtype": choice("save_precision", {"FLOAT_32": "float", "FLOAT_16": "fp16", "BFLOAT_16": "bf16"}),
    "output_model_destination": _destination,
    "output_model_format": _format,
    "train_dtype": _train_dtype,
    "multi_gpu": switch("multi_gpu"),
    "device_indexes": _devices,
    "tensorboard": _tensorboard,
    "compile": switch("torch_compile"),
    "dropout_probability": _of_adapter(to("network_dropout")),
    "gradient_checkpointing": _checkpointing,
    "unet.gradient_checkpointing": _checkpointing,
    "image_caching": _caching,
    "attention_mechanism": choice("sdpa", {"DEFAULT": True, "XFORMERS": True, "SDP": True, "FLASH": True, "CUDNN": True}),
    "text_encoder_layer_skip": to("clip_skip", lambda value: int(value) + 1 if int(value) > 0 else None),
    "caching_threads": without("It reads pictures ahead; max_data_loader_n_workers does so here.", default=2),
    "lora_rank": _of_adapter(_rank),
    "lokr_dim": _of_kind("LOKR", _rank),
    "lora_alpha": _of_adapter(to("network_alpha")),
    "lora_decompose": _of_adapter(switch("dora_wd")),
    "lora_decompose_output_axis": _of_adapter(switch("wd_on_output")),
    "lora_model_name": _of_adapter(to("network_weights")),
    "peft_type": _of_adapter(part_of("training_method")),
    "layer_filter_preset": _of_adapter(_layers),
    "lokr_decompose_both": _of_kind("LOKR", switch("decompose_both")),
    "lokr_decompose_factor": _of_kind("LOKR", to("factor")),
    "lokr_use_tucker": _of_kind("LOKR", switch("use_tucker")),
    "lokr_weight_decompose": _of_kind("LOKR", switch("dora_wd")),
    "lokr_full_matrix": _of_kind("LOKR", switch("full_matrix")),
    "embedding.placeholder": _if_embedding("token_string", lambda text: str(text).strip("<>").replace(" ", "-") or None),
    "embedding.token_count": _if_embedding("num_vectors_per_token"),
    "embedding.initial_embedding_text": _if_embedding("init_word", lambda text: None if str(text).strip() in ("*", "") else text),
    "embedding.model_name": _if_embedding("weights"),
    "save_every": _every("save_every", epochs="save_every_n_epochs", steps="save_every_n_steps"),
    "save_every_unit": part_of("save_every"),
    "validate_after": without("validate_every_n_epochs and validation_split measure on pictures kept aside.", default=1),
    "sample_after": _every("sample_after", epochs="sample_every_n_epochs", steps="sample_every_n_steps", needs_prompts=True),
    "sample_after_unit": part_of("sample_after"),
    **LEARNING,
    **PARTS,
    **PICTURES,
    **OPTIMIZER_RULES,
    **argument_rules(tuple(known_keys("onetrainer.json"))),
}
FALLBACKS: dict[str, Any] = {
    "model_type": "STABLE_DIFFUSION_15",
    "training_method": "FINE_TUNE",
    "epochs": 100,
    "learning_rate": 3e-6,
    "learning_rate_scheduler": "CONSTANT",
    "learning_rate_warmup_steps": 200,
    "train_dtype": "FLOAT_16",
    "output_dtype": "FLOAT_32",
    "resolution": "512",
    "aspect_ratio_bucketing": True,
    "image_caching": True,
    "gradient_checkpointing": "ON",
    "lora_rank": 16,
    "lora_alpha": 1.0,
    "layer_filter_preset": "full",
    "text_encoder.stop_training_after": 30,
    "optimizer.optimizer": "ADAMW",
    "embedding.placeholder": "<embedding>",
}
"""What that program takes where a file says nothing, and this one would not."""
PROGRAM = Program(
    "OneTrainer", RULES, known_keys("onetrainer.json"), FALLBACKS, first=("optimizer.optimizer", "samples", "sample_definition_file_name")
)
