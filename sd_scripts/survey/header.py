"""What a model file is, told by its header in a few milliseconds: family, kind, precision. Its weights are not read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sd_scripts.errors import DataError
from sd_scripts.params.families.signatures import BASE_VERSIONS, LORA_SIGNATURES, SIGNATURES, TITLES, Mark, Signature
from sd_scripts.survey.adapter_family import adapter_family
from sd_scripts.survey.pickle_header import read_pickle
from sd_scripts.survey.weights_header import Header, Tensor, bytes_of, read_safetensors

__all__ = ["Header", "Kind", "ModelFacts", "detect", "facts_of", "read_header"]

Kind = Literal["checkpoint", "folder", "lora", "vae", "embedding", "denoiser", "text_encoder", "unknown"]

_PRECISIONS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8", "F64": "fp64"}
_PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_INPUTS = ("model.diffusion_model.input_blocks.0.0.weight", "unet/conv_in.weight")
_USUAL_CHANNELS = 4
_SPECIAL_INPUTS = {9: "an inpainting model", 8: "an image-editing model", 5: "a depth model"}
_ADAPTER_MARKS = (
    *(".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".oft_diag"),
    *(".on_input", ".w_norm", ".diff"),
)
_GLORA_MARK = re.compile(r"(lora|lycoris)_\w+\.a2\.weight")
_VAE_MARKS = ("decoder.conv_in.weight", "first_stage_model.decoder.conv_in.weight")
_EMBEDDING_MARKS = ("emb_params", "clip_l", "clip_g", "string_to_param.*")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file is. `family` is "sd1", "sd2", "sdxl", "sd3", "flux", ... or "" where it cannot be told, `title` the same for people.

    `prediction` is what it says itself, None where it does not. `script` is the LoRA trainer for it, `size` in bytes, `zero_snr` whether it says that
    its last timestep is pure noise, `refusal` why nothing trains it, `notes` sentences for people.
    """

    family: str
    title: str
    kind: Kind
    precision: str
    prediction: Literal["epsilon", "v"] | None
    tensors: int
    size: int
    script: str = ""
    inpainting: bool = False
    zero_snr: bool = False
    refusal: str = ""
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """One line for people: "Stable Diffusion 1.x · fp16 · 2.1 GB"."""
        return " · ".join(
            filter(
                None,
                (self.title, "" if self.kind in ("checkpoint", "folder") else self.kind.replace("_", " "), self.precision, size_words(self.size)),
            )
        )


def size_words(size: int) -> str:
    """A number of bytes for people, in units of 1000."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def read_header(path: Path | str) -> Header:
    """Names, types and shapes of all tensors of a .safetensors, .ckpt, .pt, .pth or .bin file, or of a diffusers folder.

    Raises:
        DataError: it is missing, damaged, or no model.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise DataError("The file does not exist.", fix="Check the path.", path=path)
    if path.suffix.lower() == ".safetensors":
        return read_safetensors(path)
    if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin"):
        return read_pickle(path)
    raise DataError(f"{path.suffix or path.name} is no kind of model file.", fix="Use .safetensors, .ckpt or a diffusers folder.", path=path)


def detect(path: Path | str) -> ModelFacts:
    """What the model at `path` is.

    Raises:
        DataError: it is missing, damaged, or no model.
    """
    path = Path(path)
    return facts_of(read_header(path), is_folder=path.is_dir())


def facts_of(header: Header, *, is_folder: bool = False) -> ModelFacts:
    """What the model with this header is. Names and ranks of tensors decide, so a small model of the same layout is recognised too."""
    kind = _kind(header.tensors, is_folder=is_folder)
    signature = _signature(header, kind)
    channels = next((header.tensors[name][1][1] for name in _INPUTS if name in header.tensors and len(header.tensors[name][1]) > 1), _USUAL_CHANNELS)
    prediction = _prediction(header)
    family = signature.kind if signature else ""
    return ModelFacts(
        family=family,
        title=signature.title if signature else "unknown model",
        kind=kind,
        precision=_precision(header.tensors),
        prediction=prediction,
        tensors=len(header.tensors),
        size=header.size,
        script=signature.script if signature and kind in ("checkpoint", "folder", "denoiser") else "",
        inpainting=channels == 9,
        zero_snr="ztsnr" in header.tensors,
        refusal=signature.refusal if signature else "",
        notes=tuple(_notes(header, family, kind, channels=channels, prediction=prediction)),
    )


def _kind(tensors: Mapping[str, Tensor], *, is_folder: bool) -> Kind:
    if is_folder:
        return "folder"
    if any(name.endswith(_ADAPTER_MARKS) or _GLORA_MARK.fullmatch(name) for name in tensors):
        return "lora"
    if any(name in tensors for name in _EMBEDDING_MARKS):
        return "embedding"
    has_denoiser = any(
        name.startswith(("model.diffusion_model.", "double_blocks.", "joint_blocks.", "single_blocks.", "layers.", "down_blocks."))
        for name in tensors
    )
    if has_denoiser:
        has_text = any(name.startswith(("cond_stage_model.", "conditioner.", "text_encoders.")) for name in tensors)
        return "checkpoint" if has_text else "denoiser"
    if any(name in tensors for name in _VAE_MARKS):
        return "vae"
    return "text_encoder" if any("encoder.layers.0." in name or "resblocks.0." in name for name in tensors) else "unknown"


def _signature(header: Header, kind: Kind) -> Signature | None:
    rows = LORA_SIGNATURES if kind == "lora" else SIGNATURES
    version = BASE_VERSIONS.get(header.metadata.get("ss_base_model_version", ""))
    if kind == "lora" and version is not None:
        return Signature(version, TITLES[version], ())
    known = next((row for row in rows if _matches(row, header.tensors)), None)
    if known is None and kind == "lora" and (told := adapter_family(header.tensors)):
        return Signature(told, TITLES[told], ())
    return known


def _matches(row: Signature, tensors: Mapping[str, Tensor]) -> bool:
    return all(_is_there(mark, tensors) for mark in row.marks) and not any(name in tensors for name in row.absent)


def _is_there(mark: Mark, tensors: Mapping[str, Tensor]) -> bool:
    if mark.name.endswith("*"):
        return any(name.startswith(mark.name[:-1]) for name in tensors)
    return mark.name in tensors and mark.dims in (None, len(tensors[mark.name][1]))


def _precision(tensors: Mapping[str, Tensor]) -> str:
    """The type of most of the weight, and a plus sign if others matter too."""
    weight: Counter[str] = Counter()
    for tensor in tensors.values():
        if tensor[0] in _PRECISIONS:
            weight[_PRECISIONS[tensor[0]]] += bytes_of(tensor)
    if not weight:
        return ""
    (first, most), *others = weight.most_common()
    return f"{first} and {others[0][0]}" if others and others[0][1] > most / 10 else first


def _prediction(header: Header) -> Literal["epsilon", "v"] | None:
    said = header.metadata.get("modelspec.prediction_type", "")
    if said in ("v", "v_prediction") or "v_pred" in header.tensors:
        return "v"
    return "epsilon" if said == "epsilon" else None


def _notes(header: Header, family: str, kind: Kind, *, channels: int, prediction: str | None) -> list[str]:
    notes = []
    if channels in _SPECIAL_INPUTS:
        notes.append(f"This is {_SPECIAL_INPUTS[channels]} ({channels} input channels).")
    if family == "sd2" and prediction is None and kind in ("checkpoint", "folder"):
        notes.append(
            "Models of 768 px (2.x) predict velocity and need v_parameterization, those of 512 px do not; the file does not say which it is."
        )
    if header.foreign:
        notes.append(f"Besides weights the file names code ({', '.join(header.foreign[:3])}), which is not run.")
    return notes


def _read_folder(folder: Path) -> Header:
    """All parts of a diffusers folder; of several precisions of a part the one without a variant in its name."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise DataError(
            "The folder has no model_index.json: it is no diffusers model.", fix="Name the folder that holds unet, vae and text_encoder.", path=folder
        )
    tensors: dict[str, Tensor] = {}
    foreign: set[str] = set()
    size = 0
    for part in _PARTS:
        for path in _part_files(folder / part):
            header = read_header(path)
            tensors.update({f"{part}/{name}": tensor for name, tensor in header.tensors.items()})
            foreign.update(header.foreign)
            size += header.size
    if not tensors:
        raise DataError("The folder holds no weights.", fix="Download the model again, with its .safetensors files.", path=folder)
    metadata, marks = _scheduler(folder)
    return Header({**tensors, **marks}, metadata, size, tuple(sorted(foreign)))


def _part_files(folder: Path) -> list[Path]:
    for suffix in (".safetensors", ".bin"):
        files = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
        plain = [path for path in files if ".fp16" not in path.name and ".non_ema" not in path.name]
        if files:
            return plain or files
    return []


def _scheduler(folder: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What the scheduler's config says, in the words of single files: metadata, and empty tensors whose names are marks."""
    try:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}, {}
    config = config if isinstance(config, dict) else {}
    said = config.get("prediction_type")
    return {"modelspec.prediction_type": str(said)} if said else {}, {"ztsnr": ("F32", (0,))} if config.get("rescale_betas_zero_snr") else {}
