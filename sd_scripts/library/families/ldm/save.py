"""Saving whole latent diffusion models: one file in the original names, or a folder in the diffusers layout.

What a training does not know about (the unused last layer of an OpenCLIP text encoder, its temperature, markers of v-prediction) is taken over from
the file that the model came from; where it came from a folder, it is made so that other programs load the file.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from sd_scripts.errors import RunError
from sd_scripts.library.diffusion.schedule import BETA_END, BETA_START, TRAIN_TIMESTEPS
from sd_scripts.library.families.clip import EOS, clip_tokenizer
from sd_scripts.library.families.ldm.convert import join
from sd_scripts.library.families.ldm.load import Parts, TextPart, single_file_tables
from sd_scripts.library.families.source import open_source
from sd_scripts.library.weights_file import SavedFile, save_weights

MARKERS = ("v_pred", "ztsnr")
"""Empty tensors by which a single file says that it predicts velocity, and that its last timestep is pure noise."""
LOGIT_SCALE = 4.6052
"""ln 100: the temperature at which CLIP training ends."""


def single_file(parts: Parts, save_dtype: torch.dtype | None, *, velocity: bool, zero_snr: bool) -> dict[str, Tensor]:
    """A whole model under the keys of original files, on the CPU; None keeps each weight's dtype.

    `velocity`, `zero_snr`: whether it was trained to predict velocity, and with a last timestep of pure noise; told by `MARKERS`. Of models with one
    text encoder programs know the first by other signs, so there it is told only where the source told it, or along with the second.
    """
    tensors: dict[str, Tensor] = {}
    for name, table in single_file_tables(parts).items():
        weights = {key: value.detach().to("cpu", save_dtype, copy=True) for key, value in parts.modules[name].state_dict().items()}
        tensors |= {key: value.contiguous() for key, value in join(table, weights).items()}
    beside = _beside(parts, tensors)
    tells = zero_snr or len(parts.text_parts) > 1 or MARKERS[0] in beside
    marked = {name: torch.tensor([]) for name, holds in zip(MARKERS, (velocity and tells, zero_snr), strict=True) if holds}
    beside = {key: value for key, value in beside.items() if key not in MARKERS} | marked
    return tensors | {key: value.to(save_dtype) if save_dtype else value for key, value in beside.items()}


def _beside(parts: Parts, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the file and to no module of ours."""
    found: dict[str, Tensor] = {}
    tops = tuple(part.prefix for part in parts.text_parts if part.open_clip)
    if parts.path is not None and parts.path.is_file():
        with open_source(parts.path) as source:
            wanted = [key for key in source.shapes if key not in known and (key in MARKERS or key.startswith(tops))] if tops else []
            wanted += [key for key in MARKERS if key in source.shapes and key not in wanted]
            found = {key: source.tensor(key).clone() for key in wanted}
    for part in parts.text_parts:
        if part.open_clip:
            found = {**_made_up(part, known), **found}
    return found


def _made_up(part: TextPart, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stand-ins for what an OpenCLIP text encoder has in a file and nobody uses."""
    made = {f"{part.prefix}logit_scale": torch.tensor(LOGIT_SCALE)}
    if part.projected:
        return made
    width = known[f"{part.prefix}ln_final.weight"].shape[0]
    made[f"{part.prefix}text_projection"] = torch.eye(width)
    layer = re.compile(re.escape(part.prefix) + r"transformer\.resblocks\.(\d+)\.(.+)")
    layers = [(int(match[1]), match[2], key) for key in known if (match := layer.fullmatch(key))]
    last = max(number for number, _, _ in layers)
    if part.most_layers is not None and last + 1 == part.most_layers:
        copies = {f"{part.prefix}transformer.resblocks.{last + 1}.{rest}": known[key].clone() for number, rest, key in layers if number == last}
        made |= copies
    return made


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a folder says about itself: diffusers' pipeline class, what is predicted, and whether the last timestep is pure noise."""

    name: str
    prediction: str
    zero_snr: bool


def write_folder(folder: Path, parts: Parts, pipeline: Pipeline, save_dtype: torch.dtype | None, *, ending: str) -> SavedFile:
    """Write a model in the diffusers layout, under its name only when it is whole.

    Args:
        folder: must not exist.
        ending: of the weight files, ".safetensors" or ".bin".

    Returns:
        The folder with the size of all its files; sha256 is that of the U-Net's.

    Raises:
        RunError: it cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        saved = [_write_part(part / name, module, save_dtype, ending) for name, module in parts.modules.items()]
        _write_scheduler(part / "scheduler", pipeline)
        index: dict[str, Any] = {
            "_class_name": pipeline.name,
            "_diffusers_version": diffusers.__version__,
            "scheduler": ["diffusers", "DDIMScheduler"],
        }
        for text, encoder in zip(parts.text_parts, parts.text_encoders, strict=True):
            index[text.name] = ["transformers", type(encoder).__name__]
            tokenizer = text.name.replace("text_encoder", "tokenizer")
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
            _write_tokenizer(part / tokenizer, pads_with_end=not text.open_clip)
        index |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
        if pipeline.name == "StableDiffusionPipeline":
            index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
        _write_json(part / "model_index.json", index)
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RunError(
            f"The model cannot be written to {folder}: {error.strerror or error}.", fix="Free space or choose another output_dir."
        ) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return SavedFile(folder, size, sum(file.tensors for file in saved), saved[0].sha256, all(file.finite for file in saved))


def _write_part(folder: Path, module: Any, save_dtype: torch.dtype | None, ending: str) -> SavedFile:
    folder.mkdir(parents=True)
    is_text = not hasattr(module, "save_config")
    if is_text:
        module.config.architectures = [type(module).__name__]
        module.config.save_pretrained(folder)
        stem = "model" if ending == ".safetensors" else "pytorch_model"
    else:
        module.save_config(folder)
        stem = "diffusion_pytorch_model"
    weights = {_hub_name(key, is_text): value.detach().to("cpu", save_dtype, copy=True) for key, value in module.state_dict().items()}
    return save_weights(folder / f"{stem}{ending}", weights, {"format": "pt"})


def _hub_name(key: str, is_text: bool) -> str:
    """A weight's name in published folders: text encoders have a level that transformers 5 dropped."""
    plain = not is_text or key.startswith(("text_model.", "text_projection."))
    return key if plain else f"text_model.{key}"


def _write_scheduler(folder: Path, pipeline: Pipeline) -> None:
    scheduler = DDIMScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction" if pipeline.prediction == "v" else "epsilon",
        rescale_betas_zero_snr=pipeline.zero_snr,
        timestep_spacing="trailing" if pipeline.zero_snr else "leading",
    )
    scheduler.save_config(folder)


def _write_tokenizer(folder: Path, *, pads_with_end: bool) -> None:
    """CLIP's tokenizer as transformers reads it."""
    folder.mkdir(parents=True)
    tokenizer = clip_tokenizer()
    tokenizer.model.save(str(folder))
    pad = tokenizer.id_to_token(EOS) if pads_with_end else "!"
    words = {
        "bos_token": tokenizer.id_to_token(EOS - 1),
        "eos_token": tokenizer.id_to_token(EOS),
        "unk_token": tokenizer.id_to_token(EOS),
        "pad_token": pad,
    }
    _write_json(folder / "special_tokens_map.json", words)
    _write_json(folder / "tokenizer_config.json", {**words, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
