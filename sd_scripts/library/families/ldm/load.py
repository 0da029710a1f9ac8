"""Loading latent diffusion models: single files (safetensors, pickles), diffusers folders and hub models, with an optional other VAE.

Modules are built on the meta device and filled tensor by tensor in their final type and place, so loading takes hardly more memory than the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sd_scripts.errors import ConfigError, DataError, Diverged
from sd_scripts.library.families.hub import find_model
from sd_scripts.library.families.ldm import convert
from sd_scripts.library.families.ldm.config import Shapes, text_config, unet_config, vae_config
from sd_scripts.library.families.source import WeightSource, open_source
from sd_scripts.library.held_weights import HOLDING, Format, held_formats, hold
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.model import ModelFiles, SourceModel
from sd_scripts.survey.header import detect

MODEL_FIELD = "pretrained_model_name_or_path"
_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model", "text_encoder_2": "model"}
_OLD_STEMS = {"text_encoder": "pytorch_model", "text_encoder_2": "pytorch_model"}
Prediction = Literal["epsilon", "v"]

INPAINTING_CHANNELS = 9
"""Noised latents, the hole, and latents of what is seen."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """One text encoder of a family.

    Attributes:
        name: its folder in the diffusers layout.
        prefix: where a single file keeps it.
        open_clip: the file's names are OpenCLIP's, else OpenAI's.
        projected: its pooled embedding goes through a projection.
        most_layers: layers that are used where a file may hold more.
    """

    name: str
    prefix: str
    open_clip: bool
    projected: bool = False
    most_layers: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a family lies in files: its name, the folders of its text encoders in the diffusers layout, and what these encoders are: in a single file
    with given shapes, and in a folder whose U-Net has given settings."""

    family: str
    text_folders: tuple[str, ...]
    text_parts: Callable[[Shapes], tuple[TextPart, ...]]
    folder_parts: Callable[[Mapping[str, Any]], tuple[TextPart, ...]]

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of the diffusers layout that hold weights."""
        return ("unet", "vae", *self.text_folders)


@dataclass(frozen=True, slots=True)
class Parts:
    """A model in pieces, frozen and in eval mode.

    `prediction` is what the files say (None: nothing), `zero_snr` whether they say that the last timestep is pure noise; `path` and `vae_path` are
    what was read; `text_parts` says where a single file keeps the text encoders.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[CLIPTextModel | CLIPTextModelWithProjection, ...]
    text_parts: tuple[TextPart, ...]
    prediction: Prediction | None = None
    zero_snr: bool = False
    path: Path | None = None
    vae_path: Path | None = None

    @property
    def modules(self) -> dict[str, Any]:
        """Every part by its folder's name."""
        texts = {part.name: encoder for part, encoder in zip(self.text_parts, self.text_encoders, strict=True)}
        return {"unet": self.unet, "vae": self.vae, **texts}


@dataclass(frozen=True, slots=True)
class Files:
    """Weight files that stay open until the model is filled."""

    stack: ExitStack
    mapped: bool

    def open(self, path: Path) -> WeightSource:
        """Open one more."""
        return self.stack.enter_context(open_source(path, mapped=self.mapped))


@dataclass(frozen=True, slots=True)
class _Component:
    module: Any
    table: convert.Table
    source: WeightSource


@dataclass(frozen=True, slots=True)
class _Opened:
    """A model whose files are open and whose modules hold no weights yet."""

    components: dict[str, _Component]
    text_parts: tuple[TextPart, ...]
    prediction: Prediction | None
    zero_snr: bool


def load_parts(config: Config, layout: Layout, *, device: torch.device, weight_dtype: torch.dtype, trained: frozenset[str] = frozenset()) -> Parts:
    """Read the model that `config` names. The VAE stays float32 with no_half_vae, and so do the parts that are `trained`.

    Raises:
        ConfigError: the model does not exist, or is none of this family that can be trained.
        DataError: a file is damaged or incomplete.
        Diverged: a weight is NaN or infinite.
    """
    wanted = config[SourceModel]
    if not wanted.pretrained_model_name_or_path:
        raise ConfigError(MODEL_FIELD, "No base model is given.", fix="Name a .safetensors file, a diffusers folder or a hub model.")
    folders, forms = (*layout.folders, "scheduler"), held_formats(config)
    path = find_model(wanted.pretrained_model_name_or_path, field=MODEL_FIELD, folders=folders, missing=partial(missing_files, layout=layout))
    vae_path = find_model(wanted.vae, field="vae", folders=("vae",), missing=_missing_vae) if wanted.vae else None
    with ExitStack() as stack:
        files = Files(stack, mapped=not (ModelFiles in config and config[ModelFiles].disable_mmap_load_safetensors))
        opened = _open_folder(path, layout, files) if path.is_dir() else _open_single(path, layout, files)
        components = opened.components
        if vae_path:
            components["vae"] = _open_vae(vae_path, layout, files)
        texts = tuple(components[part.name].module for part in opened.text_parts)
        _refuse_unsupported(components["unet"].module, texts, path, layout)
        for name, component in components.items():
            whole = name in trained or (name == "vae" and wanted.no_half_vae)
            dtype = torch.float32 if whole else weight_dtype
            _fill(component, device=device, dtype=dtype, form=forms.get(name))
    unet, vae = components["unet"].module, components["vae"].module
    return Parts(unet, vae, texts, opened.text_parts, opened.prediction, opened.zero_snr, path, vae_path)


def skeleton(shapes: Shapes, layout: Layout) -> Parts:
    """The modules of a single file with these keys and shapes, on the meta device: structure without weights."""
    text_parts = layout.text_parts(shapes)
    with torch.device("meta"):
        unet = _new_unet(unet_config(shapes))
        vae = _new_vae(vae_config(shapes, prefix=convert.VAE_PREFIX))
        texts = tuple(_new_text(part, _text_settings(part, shapes)) for part in text_parts)
    for module in (unet, vae, *texts):
        module.requires_grad_(False).eval()
    return Parts(unet, vae, texts, text_parts)


def missing_files(folder: Path, layout: Layout) -> list[str]:
    """Files that a diffusers folder needs and lacks, as paths inside it."""
    return [name for part in layout.folders for name in _missing_part(folder / part)]


def single_file_tables(parts: Parts) -> dict[str, convert.Table]:
    """By the parts' names ("unet", "vae", "text_encoder", ...): where each weight lies in a single file."""
    tables = {
        "unet": convert.unet_table(parts.unet.state_dict(), layers_per_block=parts.unet.config["layers_per_block"]),
        "vae": convert.vae_table(parts.vae.state_dict(), levels=len(parts.vae.config["block_out_channels"])),
    }
    for part, encoder in zip(parts.text_parts, parts.text_encoders, strict=True):
        table = convert.open_clip_table if part.open_clip else convert.clip_table
        tables[part.name] = table(encoder.state_dict(), prefix=part.prefix)
    return tables


def _new_unet(settings: Mapping[str, Any]) -> UNet2DConditionModel:
    return cast(UNet2DConditionModel, UNet2DConditionModel.from_config(dict(settings)))


def _new_vae(settings: Mapping[str, Any]) -> AutoencoderKL:
    return cast(AutoencoderKL, AutoencoderKL.from_config(dict(settings)))


def _new_text(part: TextPart, settings: CLIPTextConfig) -> CLIPTextModel | CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(settings) if part.projected else CLIPTextModel(settings)


def _text_settings(part: TextPart, shapes: Shapes) -> CLIPTextConfig:
    return CLIPTextConfig(**text_config(shapes, prefix=part.prefix, open_clip=part.open_clip, most_layers=part.most_layers))


def _open_single(path: Path, layout: Layout, files: Files) -> _Opened:
    source = files.open(path)
    with _explained(path, layout):
        parts = skeleton(source.shapes, layout)
    tables = single_file_tables(parts)
    prediction = "v" if "v_pred" in source.shapes else _said(source.metadata.get("modelspec.prediction_type"))
    components = {name: _Component(module, tables[name], source) for name, module in parts.modules.items()}
    return _Opened(components, parts.text_parts, prediction, "ztsnr" in source.shapes)


def _open_folder(path: Path, layout: Layout, files: Files) -> _Opened:
    lacking = missing_files(path, layout)
    if lacking:
        raise ConfigError(MODEL_FIELD, f"The folder {path} lacks {', '.join(lacking)}.", fix="Name a diffusers folder or a single file.")
    with torch.device("meta"), _explained(path, layout):
        unet = _new_unet(_read_json(path / "unet" / "config.json"))
    components = {
        "unet": _Component(unet, convert.same_names(unet.state_dict()), files.open(_weights_file(path / "unet"))),
        "vae": _open_vae(path / "vae", layout, files),
    }
    text_parts = layout.folder_parts(unet.config)
    for part in text_parts:
        source = files.open(_weights_file(path / part.name))
        with torch.device("meta"), _explained(path, layout):
            encoder = _new_text(part, CLIPTextConfig.from_dict(_read_json(path / part.name / "config.json")))
        prefix = "text_model." if "text_model.final_layer_norm.weight" in source.shapes else ""
        components[part.name] = _Component(encoder, convert.clip_table(encoder.state_dict(), prefix=prefix), source)
    scheduler = path / "scheduler" / "scheduler_config.json"
    said = _read_json(scheduler) if scheduler.is_file() else {}
    return _Opened(components, text_parts, _said(said.get("prediction_type")), bool(said.get("rescale_betas_zero_snr")))


def _open_vae(path: Path, layout: Layout, files: Files) -> _Component:
    """A VAE from a file in either naming, or from a folder with its config (or with a `vae` folder in it)."""
    if path.is_dir():
        path = path / "vae" if (path / "vae").is_dir() else path
        source = files.open(_weights_file(path))
        settings = _read_json(path / "config.json")
    else:
        source = files.open(path)
        settings = {}
    shapes = source.shapes
    prefix = convert.VAE_PREFIX if any(key.startswith(convert.VAE_PREFIX) for key in shapes) else ""
    levels = len({key.split(".")[2] for key in shapes if key.startswith("encoder.down_blocks.")})
    known = {convert.vae_key(key, levels): shape for key, shape in shapes.items() if ".attentions." not in key} if levels else shapes
    with torch.device("meta"), _explained(path, layout, field="vae"):
        vae = _new_vae(settings or vae_config(known, prefix=prefix))
    names = list(vae.state_dict())
    if levels:
        old = any(".attentions.0.query." in key for key in shapes)
        return _Component(vae, convert.old_vae_table(names) if old else convert.same_names(names), source)
    return _Component(vae, convert.vae_table(names, levels=len(vae.config["block_out_channels"]), prefix=prefix), source)


def _fill(component: _Component, *, device: torch.device, dtype: torch.dtype, form: Format | None) -> None:
    """Give every weight of a meta module its tensor, converted and in place; the module ends frozen and in eval mode.

    With `form` the weights of layers are held in it one by one, so that they never lie on the device as they were.
    """
    module, source = component.module, component.source
    absent = [piece.key for piece in component.table.values() if piece.key not in source.shapes]
    if absent:
        message = f"{len(absent)} of {len(component.table)} weights are missing, the first is {absent[0]}."
        raise DataError(message, fix="Download the file again.", path=source.path)
    for name, wanted in module.state_dict().items():
        piece = component.table[name]
        try:
            tensor = convert.take(source.tensor(piece.key), piece, wanted.shape)
        except ValueError as error:
            raise DataError(f"{error}.", fix="This file does not fit its own sizes: download it again.", path=source.path) from error
        owner, _, leaf = name.rpartition(".")
        converted = tensor.to(device=device, dtype=dtype, copy=True).contiguous()
        _refuse_nan(converted, tensor, piece.key, source.path)
        layer = module.get_submodule(owner)
        held = hold(converted, form) if form and leaf == "weight" and isinstance(layer, HOLDING) else converted
        setattr(layer, leaf, nn.Parameter(held, requires_grad=False))
    for owner, buffer in list(_position_buffers(module)):
        owner.position_ids = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
    module.requires_grad_(False).eval()


def _position_buffers(module: nn.Module) -> Iterator[tuple[Any, Tensor]]:
    """CLIP's table of positions is a buffer that no file holds."""
    for owner in module.modules():
        if "position_ids" in owner._buffers:
            yield owner, owner.get_buffer("position_ids")


def _refuse_nan(converted: Tensor, original: Tensor, key: str, path: Path) -> None:
    # One sum per tensor is a hundredth of an elementwise test, and NaN and Inf survive it.
    if not converted.is_floating_point() or torch.isfinite(converted.sum(dtype=torch.float32)) or torch.isfinite(converted).all():
        return
    if torch.isfinite(original).all():
        message = f"{path}: the weight {key} does not fit into {converted.dtype}."
        raise Diverged(message, fix="Use mixed_precision bf16 or no; for the VAE, no_half_vae.")
    raise Diverged(f"{path}: the weight {key} holds NaN or infinite values.", fix="Use another copy of the model.")


def _refuse_unsupported(unet: UNet2DConditionModel, text_encoders: Sequence[Any], path: Path, layout: Layout) -> None:
    settings = unet.config
    if settings["in_channels"] not in (4, INPAINTING_CHANNELS):
        message = f"{path} takes {settings['in_channels']} input channels: editing and depth models cannot be trained here."
        raise ConfigError(MODEL_FIELD, message, fix="Use its base model.")
    width = sum(encoder.config.hidden_size for encoder in text_encoders)
    if settings["cross_attention_dim"] != width:
        reason = f"its U-Net expects text of width {settings['cross_attention_dim']}, its text encoder gives {width}"
        raise _wrong_model(path, reason, layout)


@contextmanager
def _explained(path: Path, layout: Layout, *, field: str = MODEL_FIELD) -> Generator[None]:
    """A size that cannot be read from the file means that it is another kind of model."""
    try:
        yield
    except KeyError as error:
        reason = f"it has no {error.args[0]}"
        raise _wrong_model(path, reason, layout, field=field) from error


def _wrong_model(path: Path, reason: str, layout: Layout, *, field: str = MODEL_FIELD) -> ConfigError:
    """The refusal of a model of another kind, with the script that trains it where there is one."""
    try:
        facts = detect(path)
    except DataError:
        facts = None
    own = FAMILIES[layout.family]
    if facts and facts.family not in own.kinds and facts.script:
        return ConfigError(field, f"{path} is a model of another family: {facts.title}.", fix=f"Train it with {facts.script}.py.")
    what = "VAE" if field == "vae" else f"whole {own.title.replace(' and ', ' or ')} model"
    return ConfigError(field, f"{path} is no {what}: {reason}.", fix="Choose another file.")


def _said(prediction: object) -> Prediction | None:
    known: dict[object, Prediction] = {"v": "v", "v_prediction": "v", "epsilon": "epsilon"}
    return known.get(prediction)


def _missing_vae(folder: Path) -> list[str]:
    return _missing_part(folder / "vae" if (folder / "vae").is_dir() else folder, kind="vae")


def _missing_part(folder: Path, *, kind: str = "") -> list[str]:
    name = kind or folder.name
    config = [] if (folder / "config.json").is_file() else [f"{name}/config.json"]
    return config + ([] if _candidates(folder, name) else [f"{name}/{_STEMS[name]}.safetensors"])


def _candidates(folder: Path, kind: str) -> list[Path]:
    """Weight files of a part, best first: safetensors before pickles, full precision before fp16."""
    stem, old = _STEMS[kind], _OLD_STEMS.get(kind, _STEMS[kind])
    names = (f"{stem}.safetensors", f"{stem}.fp16.safetensors", f"{old}.bin", f"{old}.fp16.bin")
    return [folder / name for name in names if (folder / name).is_file()]


def _weights_file(folder: Path) -> Path:
    return _candidates(folder, folder.name if folder.name in _STEMS else "vae")[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"This is no readable JSON file: {error}.", fix="Download it again.", path=path) from error
    return dict(content)
