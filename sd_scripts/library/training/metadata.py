"""The header of a weight file: `ss_*` about the training, `modelspec.*` about the model, `sshs_*` hashes. All values are text, `str(value)`.

Paths are cut to their last part, and secrets never come here: only the options in the tables below are written. Format: docs/compatibility.md,
"Metadata".
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import Family
from sd_scripts.library.methods.base import ADAPTER, FULL_MODEL, FileKind, Method
from sd_scripts.library.training.dataset_metadata import dataset_metadata, images_of
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.images import Images
from sd_scripts.params.metadata import Metadata
from sd_scripts.params.network import Network
from sd_scripts.params.noise import Timesteps
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.resolution import parse_resolution
from sd_scripts.params.saving import Saving
from sd_scripts.params.text import ClipText
from sd_scripts.params.words import parse_words
from sd_scripts.survey.datasets import Blueprint
from sd_scripts.survey.items import Scan
from sd_scripts.survey.plan import Plan

PROGRAM = "training-studio"
MODELSPEC_VERSION = "1.0.1"
ORIGINAL_LAYOUT = "https://github.com/Stability-AI/generative-models"
"""`modelspec.implementation` of files whose names are those of the original programs."""
MINIMUM = ("ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args")
"""What stays with no_metadata: other programs need it to load the file."""

BEFORE_NETWORK = ("lr_scheduler",)
AFTER_NETWORK = ("mixed_precision", "full_fp16")
BEFORE_SEED = ("clip_skip", "max_token_length")
AFTER_SEED = (
    "lowram", "noise_offset", "multires_noise_iterations", "multires_noise_discount", "adaptive_noise_scale", "zero_terminal_snr", "training_comment",
)  # fmt: skip
AFTER_OPTIMIZER = (
    "max_grad_norm", "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "face_crop_aug_range", "prior_loss_weight",
    "min_snr_gamma", "scale_weight_norms", "ip_noise_gamma", ("debiased_estimation", "debiased_estimation_loss"), "noise_offset_random_strength",
    "ip_noise_gamma_random_strength", "loss_type", "huber_schedule", "huber_scale", "huber_c", "fp8_base", "fp8_base_unet", "validation_seed",
    "validation_split", "max_validation_steps", "validate_every_n_epochs", "validate_every_n_steps", "resize_interpolation",
)  # fmt: skip
"""Options in the order in which kohya writes them, as `ss_<option>`; a pair is (name in the header, option)."""

_FROM_METADATA = ("description", "author", "license", "tags", "usage_hint", "trigger_phrase", "merged_from", "preprocessor", "is_negative_embedding")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What only the running trainer knows: the seed that was used or drawn, a number that names the run, when it began (unix seconds), and
    the optimizer's class as `module.Class`."""

    seed: int
    session_id: int
    started_at: float
    optimizer: str


def training_metadata(
    config: Config, plan: Plan, blueprint: Blueprint, *, scan: Scan, family: Family, method: Method, facts: RunFacts
) -> dict[str, str]:
    """The `ss_*` entries that are the same for every file of a run, in kohya's order. The first call hashes the model's file."""
    described, network = family.describe(), dict(method.metadata())
    arguments = network.pop("ss_network_args", None)
    train, reg = images_of(blueprint, scan)
    said: dict[str, object] = {
        "ss_session_id": facts.session_id,
        "ss_training_started_at": facts.started_at,
        "ss_output_name": config[Saving].output_name,
        "ss_learning_rate": config.value("learning_rate"),
        "ss_text_encoder_lr": (config[Network].text_encoder_lr or (None,))[0] if Network in config else None,
        "ss_unet_lr": config[Network].unet_lr if Network in config else None,
        "ss_num_train_images": train,
        "ss_num_validation_images": len(scan.validation),
        "ss_num_reg_images": reg,
        "ss_num_batches_per_epoch": plan.batches_per_epoch,
        "ss_num_epochs": plan.epochs,
        "ss_gradient_checkpointing": config.value("gradient_checkpointing"),
        "ss_gradient_accumulation_steps": plan.accumulation,
        "ss_max_train_steps": plan.total_steps,
        "ss_lr_warmup_steps": config.value("lr_warmup_steps"),
        **_options(config, BEFORE_NETWORK),
        **network,
        **_options(config, AFTER_NETWORK),
        **{key: described[key] for key in ("ss_v2", "ss_base_model_version") if key in described},
        **_options(config, BEFORE_SEED),
        "ss_cache_latents": bool(config.value("cache_latents") or config.value("cache_latents_to_disk")),
        "ss_seed": facts.seed,
        **_options(config, AFTER_SEED),
        "ss_sd_scripts_commit_hash": "(unknown)",
        "ss_optimizer": facts.optimizer + _arguments(config),
        **_options(config, AFTER_OPTIMIZER),
        **dataset_metadata(config, plan, blueprint, scan),
    }
    if arguments is not None:
        said["ss_network_args"] = arguments
    said |= {key: value for key, value in described.items() if key.startswith("ss_") and key not in said}
    return {key: str(value) for key, value in said.items()}


def file_metadata(
    config: Config,
    family: Family,
    training: Mapping[str, str],
    *,
    tensors: Mapping[str, Tensor],
    step: int,
    epoch: int,
    now: float,
    kind: FileKind = ADAPTER,
) -> dict[str, str]:
    """The whole header of one file.

    Args:
        training: what `training_metadata` gave for the run.
        tensors: as they will be saved: the hashes are theirs.
        step: optimizer steps that are done.
        epoch: as kohya counts it for this kind of file.
        now: unix seconds.
        kind: of file. A whole model's has no hashes of its own.
    """
    said = {**training, "ss_training_finished_at": str(now), "ss_steps": str(step), "ss_epoch": str(epoch)}
    if config[Saving].no_metadata:
        said = {key: said[key] for key in MINIMUM if key in said}
    said |= modelspec(config, family.describe(), now=now, kind=kind)
    if kind == FULL_MODEL:  # hashing needs a second copy of all weights, and only tools for adapters ask
        return said
    model_hash, legacy = model_hashes(tensors, said)
    return {**said, "sshs_model_hash": model_hash, "sshs_legacy_hash": legacy}


def modelspec(config: Config, described: Mapping[str, str], *, now: float, kind: FileKind = ADAPTER) -> dict[str, str]:
    """`modelspec.*`: the Stability AI model metadata standard 1.0.1.

    With no_metadata nothing is written that tells of the run: no date, no program, and no title but a given one.

    Args:
        described: the family's description; its `modelspec.*` entries are the base model's.
        now: unix seconds.

    Raises:
        ConfigError: metadata_thumbnail cannot be read.
    """
    given, hidden = config[Metadata], config[Saving].no_metadata
    architecture = described["modelspec.architecture"]
    said: dict[str, object] = {
        "sai_model_spec": MODELSPEC_VERSION,
        "architecture": f"{architecture}{kind.suffix}",
        "implementation": ORIGINAL_LAYOUT if kind.original else described["modelspec.implementation"],
        "title": given.metadata_title or (kind.title if hidden else config[Saving].output_name or f"{kind.title}@{now}"),
        "resolution": _resolution(config, architecture),
        "date": None if hidden else datetime.fromtimestamp(int(now)).isoformat(),
        **{name: getattr(given, f"metadata_{name}") for name in _FROM_METADATA},
        "thumbnail": thumbnail(given.metadata_thumbnail),
        "prediction_type": described.get("modelspec.prediction_type"),
        "timestep_range": _timestep_range(config[Timesteps]),
        "encoder_layer": config[ClipText].clip_skip,
        "implementation_version": None if hidden else f"{PROGRAM}/{program_version()}",
    }
    return {f"modelspec.{key}": str(value) for key, value in said.items() if value is not None}


def model_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[str, str]:
    """`sshs_model_hash` and `sshs_legacy_hash` of a file with these tensors.

    The first is the sha256 of all bytes behind the header, so it depends on the tensors alone and equals that of the file. The second is the first
    eight digits of the sha256 of 64 KiB at 1 MiB of a file with only the `ss_*` metadata: of nothing, where that is shorter.
    """
    told = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    content = memoryview(save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata=told))
    header = int.from_bytes(content[:8], "little")
    return hashlib.sha256(content[8 + header :]).hexdigest(), hashlib.sha256(content[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]


def thumbnail(name: str | None) -> str | None:
    """A picture file as a data URL; one that already is a data URL stays as it is.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not name or name.startswith("data:"):
        return name or None
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise ConfigError("metadata_thumbnail", f"{name} cannot be read ({error.strerror}).", fix="Give the path of a picture.") from error
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def program_version() -> str:
    """This program's version as installed; "unknown" when it runs without being installed."""
    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "unknown"


def _options(config: Config, names: tuple[str | tuple[str, str], ...]) -> dict[str, object]:
    pairs = [(name, name) if isinstance(name, str) else name for name in names]
    return {f"ss_{key}": config.value(option) for key, option in pairs if option in config.command.by_name}


def _arguments(config: Config) -> str:
    words = parse_words("optimizer_args", config[Optimizer].optimizer_args)
    return f"({','.join(f'{key}={value}' for key, value in words.items())})" if words else ""


def _resolution(config: Config, architecture: str) -> str:
    """`<width>x<height>` as asked for, else the size that the architecture's name has, else the family's smallest."""
    asked = config[Images].resolution
    if asked:
        width, height = parse_resolution(asked)
        return f"{width}x{height}"
    named = re.search(r"-(\d{3,4})\b", architecture)
    side = named[1] if named else min(FAMILIES[config.command.family].resolution_of.values())
    return f"{side}x{side}"


def _timestep_range(timesteps: Timesteps) -> str | None:
    if timesteps.min_timestep is None and timesteps.max_timestep is None:
        return None
    return f"{timesteps.min_timestep or 0},{timesteps.max_timestep or 1000}"
