"""Small Stable Diffusion models that tests build from a rule: no download, no random numbers, the layouts of real files.

`build_sd15_tiny` is the 17 M parameter model whose outputs are recorded in golden/models.json; `build_sd15_micro` has 2.3 M and is meant for
tests that train. Their vocabulary is the real one (49,408 words).
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as reference
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from sd_scripts.library.families.sd import SD
from sd_scripts.library.families.sdxl import SDXL
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config

GOLDEN = Path(__file__).parent / "golden"
_PRIME = 65521

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class SecondText:
    """Sizes of SDXL's second text encoder."""

    width: int
    layers: int
    mlp: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of a model in the SD 1.x (`open_clip=False`), SD 2.x or SDXL (`second`) single-file layout.

    `depths[i]`: transformer blocks per attention of level i.
    """

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    layers_per_block: int
    text_width: int
    text_layers: int
    text_mlp: int
    vae_channels: tuple[int, ...]
    vae_layers: int
    open_clip: bool = False
    vocabulary: int = 49408
    in_channels: int = 4
    max_length: int = 77
    second: SecondText | None = None

    @property
    def context(self) -> int:
        """Width of the text that the U-Net reads."""
        return self.text_width + (self.second.width if self.second else 0)

    @property
    def linear(self) -> bool:
        """Whether attention's projections are linear layers."""
        return self.open_clip or self.second is not None


SD15 = Layout((320, 640, 1280, 1280), (1, 1, 1, 0), 2, 768, 12, 3072, (128, 256, 512, 512), 2)
SD21 = replace(SD15, text_width=1024, text_layers=24, text_mlp=4096, open_clip=True)
SD15_TINY = Layout((32, 64, 128, 128), (1, 1, 1, 0), 2, 64, 2, 128, (32, 64, 128, 128), 2)
SD15_MICRO = Layout((32, 32), (1, 0), 1, 32, 2, 64, (32, 32, 32, 32), 1)
SDXL_BASE = Layout((320, 640, 1280), (0, 2, 10), 2, 768, 12, 3072, (128, 256, 512, 512), 2, second=SecondText(1280, 32, 5120))
SDXL_TINY = Layout((32, 64), (0, 1), 1, 32, 2, 64, (32, 32, 32, 32), 1, second=SecondText(64, 2, 128))
SD2_TINY = Layout((64, 64), (1, 0), 1, 64, 3, 128, (32, 32, 32, 32), 1, open_clip=True)


def rule_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The float32 tensor that golden/models.json's `rule` puts under `key`."""
    seed = zlib.crc32(key.encode()) % _PRIME
    index = np.arange(math.prod(shape), dtype=np.int64)
    mixed = (7919 * index + 97 * seed + 31 * (index * index % _PRIME)) % _PRIME
    values = mixed.astype(np.float64) / _PRIME * 2 - 1
    if len(shape) >= 2:
        values *= math.sqrt(3 / (values.size / shape[0]))
    elif key.endswith((".weight", ".scale")):
        values = 1 + 0.1 * values
    else:
        values *= 0.1
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def wave(step: float, shape: tuple[int, ...], *, cosine: bool = False) -> torch.Tensor:
    """sin(step · k), or cos, for k in row-major order, float32: the inputs of the golden numbers."""
    angle = step * np.arange(math.prod(shape), dtype=np.float64)
    return torch.from_numpy((np.cos(angle) if cosine else np.sin(angle)).astype(np.float32).reshape(shape))


def single_file_shapes(layout: Layout) -> Shapes:
    """Keys and shapes of the single file of `layout`, in the original (LDM) naming."""
    if layout.second:
        first, second = _clip(layout, "conditioner.embedders.0.transformer.text_model"), layout.second
        more = replace(layout, text_width=second.width, text_layers=second.layers, text_mlp=second.mlp)
        text = [*first, *_open_clip(more, "conditioner.embedders.1.model")]
    elif layout.open_clip:
        text = [*_open_clip(layout, "cond_stage_model.model")]
    else:
        text = [*_clip(layout, "cond_stage_model.transformer.text_model")]
    return {**dict(_unet(layout)), **dict(_vae(layout)), **dict(text)}


@lru_cache(maxsize=4)
def _filled(layout: Layout) -> Mapping[str, torch.Tensor]:
    return {key: rule_tensor(key, shape) for key, shape in single_file_shapes(layout).items()}


def single_file_tensors(layout: Layout) -> dict[str, torch.Tensor]:
    """Tensors of a whole model by the rule, float32. Shared between callers: do not change them in place."""
    return dict(_filled(layout))


def build(layout: Layout, path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write the model of `layout` as one file; the suffix chooses safetensors or a pickle (.ckpt, .pt, with `state_dict` inside). Returns `path`."""
    tensors = {key: tensor.to(dtype) for key, tensor in _filled(layout).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors, "global_step": 0, "epoch": 0}, path)
    return path


def build_sd15_tiny(path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """The golden 17 M parameter SD 1.x model (68 MB in float32)."""
    return build(SD15_TINY, path, dtype=dtype)


def build_sd15_micro(path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """A 2.3 M parameter SD 1.x model with two U-Net levels: for tests that train. VAE stride 8, text width 32."""
    return build(SD15_MICRO, path, dtype=dtype)


def build_sdxl_tiny(path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """A small SDXL model: two text encoders of 2 layers, two U-Net levels, of which the first has no attention."""
    return build(SDXL_TINY, path, dtype=dtype)


def build_sd2_tiny(path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """A small SD 2.x model: OpenCLIP text encoder of 3 layers, linear projections, heads of 64 channels."""
    return build(SD2_TINY, path, dtype=dtype)


def golden_keys() -> Shapes:
    """Keys and shapes that golden/models.json lists for the tiny SD 1.x model."""
    rows = json.loads((GOLDEN / "models.json").read_text("utf-8"))["sd15_tiny_keys"]
    return {key: tuple(shape) for key, shape in rows}


def build_diffusers_folder(path: Path, layout: Layout, *, variant: str | None = None) -> Path:
    """Write `layout` (SD 1.x) as a diffusers folder, by diffusers' and transformers' own classes and converters. Returns `path`."""
    tensors, levels = single_file_tensors(layout), len(layout.channels)
    unet = UNet2DConditionModel(
        in_channels=layout.in_channels, block_out_channels=layout.channels, layers_per_block=layout.layers_per_block,
        cross_attention_dim=layout.text_width, attention_head_dim=8,
        down_block_types=tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in layout.depths),
        up_block_types=tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(layout.depths)),
    )  # fmt: skip
    unet.load_state_dict(reference.convert_ldm_unet_checkpoint(dict(tensors), config={"layers_per_block": layout.layers_per_block}))
    blocks = len(layout.vae_channels)
    vae = AutoencoderKL(
        block_out_channels=layout.vae_channels, layers_per_block=layout.vae_layers, latent_channels=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks,
    )  # fmt: skip
    vae.load_state_dict(reference.convert_ldm_vae_checkpoint(dict(tensors), config=dict(vae.config)))
    prefix = "cond_stage_model.transformer.text_model."
    text = CLIPTextModel(CLIPTextConfig(
        hidden_size=layout.text_width, intermediate_size=layout.text_mlp, projection_dim=layout.text_width, num_hidden_layers=layout.text_layers,
        num_attention_heads=max(1, layout.text_width // 64),
    ))  # fmt: skip
    text.load_state_dict({key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)})
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        model.save_pretrained(path / name, **({"variant": variant} if variant else {}))
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", "levels": levels}), encoding="utf-8")
    return path


def _weights(name: str, *shape: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def _resnet(name: str, inputs: int, outputs: int, time: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _weights(f"{name}.in_layers.0", inputs)
    yield from _weights(f"{name}.in_layers.2", outputs, inputs, 3, 3)
    yield from _weights(f"{name}.emb_layers.1", outputs, time)
    yield from _weights(f"{name}.out_layers.0", outputs)
    yield from _weights(f"{name}.out_layers.3", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _weights(f"{name}.skip_connection", outputs, inputs, 1, 1)


def _attention(name: str, width: int, depth: int, layout: Layout) -> Iterator[tuple[str, tuple[int, ...]]]:
    projection = (width, width) if layout.linear else (width, width, 1, 1)
    yield from _weights(f"{name}.norm", width)
    yield from _weights(f"{name}.proj_in", *projection)
    yield from _weights(f"{name}.proj_out", *projection)
    for block in (f"{name}.transformer_blocks.{index}" for index in range(depth)):
        for attention, context in (("attn1", width), ("attn2", layout.context)):
            yield from _weights(f"{block}.{attention}.to_q", width, width, bias=False)
            yield from _weights(f"{block}.{attention}.to_k", width, context, bias=False)
            yield from _weights(f"{block}.{attention}.to_v", width, context, bias=False)
            yield from _weights(f"{block}.{attention}.to_out.0", width, width)
        yield from _weights(f"{block}.ff.net.0.proj", 8 * width, width)
        yield from _weights(f"{block}.ff.net.2", width, 4 * width)
        for norm in ("norm1", "norm2", "norm3"):
            yield from _weights(f"{block}.{norm}", width)


def _unet(layout: Layout) -> Iterator[tuple[str, tuple[int, ...]]]:
    top, first, time = "model.diffusion_model", layout.channels[0], 4 * layout.channels[0]
    yield from _weights(f"{top}.time_embed.0", time, first)
    yield from _weights(f"{top}.time_embed.2", time, time)
    yield from _weights(f"{top}.input_blocks.0.0", first, layout.in_channels, 3, 3)
    if layout.second:
        yield from _weights(f"{top}.label_emb.0.0", time, layout.second.width + 6 * 256)
        yield from _weights(f"{top}.label_emb.0.2", time, time)
    width, index, skips = first, 1, [first]
    for level, channels in enumerate(layout.channels):
        for _ in range(layout.layers_per_block):
            yield from _resnet(f"{top}.input_blocks.{index}.0", width, channels, time)
            if layout.depths[level]:
                yield from _attention(f"{top}.input_blocks.{index}.1", channels, layout.depths[level], layout)
            width, index = channels, index + 1
            skips.append(width)
        if level < len(layout.channels) - 1:
            yield from _weights(f"{top}.input_blocks.{index}.0.op", width, width, 3, 3)
            index += 1
            skips.append(width)
    yield from _resnet(f"{top}.middle_block.0", width, width, time)
    yield from _attention(f"{top}.middle_block.1", width, max(1, layout.depths[-1]), layout)
    yield from _resnet(f"{top}.middle_block.2", width, width, time)
    yield from _unet_up(layout, skips, time)
    yield from _weights(f"{top}.out.0", first)
    yield from _weights(f"{top}.out.2", 4, first, 3, 3)


def _unet_up(layout: Layout, skips: list[int], time: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, index = layout.channels[-1], 0
    for level in reversed(range(len(layout.channels))):
        channels, depth = layout.channels[level], layout.depths[level]
        for layer in range(layout.layers_per_block + 1):
            block = f"model.diffusion_model.output_blocks.{index}"
            yield from _resnet(f"{block}.0", width + skips.pop(), channels, time)
            if depth:
                yield from _attention(f"{block}.1", channels, depth, layout)
            if level and layer == layout.layers_per_block:
                yield from _weights(f"{block}.{2 if depth else 1}.conv", channels, channels, 3, 3)
            width, index = channels, index + 1


def _vae_resnet(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _weights(f"{name}.norm1", inputs)
    yield from _weights(f"{name}.conv1", outputs, inputs, 3, 3)
    yield from _weights(f"{name}.norm2", outputs)
    yield from _weights(f"{name}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _weights(f"{name}.nin_shortcut", outputs, inputs, 1, 1)


def _vae_middle(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _vae_resnet(f"{name}.block_1", width, width)
    yield from _weights(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        yield from _weights(f"{name}.attn_1.{part}", width, width, 1, 1)
    yield from _vae_resnet(f"{name}.block_2", width, width)


def _vae(layout: Layout) -> Iterator[tuple[str, tuple[int, ...]]]:
    top, widths = "first_stage_model", layout.vae_channels
    last = len(widths) - 1
    yield from _weights(f"{top}.encoder.conv_in", widths[0], 3, 3, 3)
    width = widths[0]
    for level, channels in enumerate(widths):
        for block in range(layout.vae_layers):
            yield from _vae_resnet(f"{top}.encoder.down.{level}.block.{block}", width, channels)
            width = channels
        if level < last:
            yield from _weights(f"{top}.encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from _vae_middle(f"{top}.encoder.mid", width)
    yield from _weights(f"{top}.encoder.norm_out", width)
    yield from _weights(f"{top}.encoder.conv_out", 8, width, 3, 3)
    yield from _weights(f"{top}.quant_conv", 8, 8, 1, 1)
    yield from _weights(f"{top}.post_quant_conv", 4, 4, 1, 1)
    yield from _weights(f"{top}.decoder.conv_in", width, 4, 3, 3)
    yield from _vae_middle(f"{top}.decoder.mid", width)
    for level in reversed(range(len(widths))):
        for block in range(layout.vae_layers + 1):
            yield from _vae_resnet(f"{top}.decoder.up.{level}.block.{block}", width, widths[level])
            width = widths[level]
        if level:
            yield from _weights(f"{top}.decoder.up.{level}.upsample.conv", width, width, 3, 3)
    yield from _weights(f"{top}.decoder.norm_out", width)
    yield from _weights(f"{top}.decoder.conv_out", 3, width, 3, 3)


def _clip(layout: Layout, top: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = layout.text_width
    yield f"{top}.embeddings.token_embedding.weight", (layout.vocabulary, width)
    yield f"{top}.embeddings.position_embedding.weight", (layout.max_length, width)
    for layer in (f"{top}.encoder.layers.{index}" for index in range(layout.text_layers)):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _weights(f"{layer}.self_attn.{part}", width, width)
        yield from _weights(f"{layer}.mlp.fc1", layout.text_mlp, width)
        yield from _weights(f"{layer}.mlp.fc2", width, layout.text_mlp)
        yield from _weights(f"{layer}.layer_norm1", width)
        yield from _weights(f"{layer}.layer_norm2", width)
    yield from _weights(f"{top}.final_layer_norm", width)


def _open_clip(layout: Layout, top: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = layout.text_width
    yield f"{top}.token_embedding.weight", (layout.vocabulary, width)
    yield f"{top}.positional_embedding", (layout.max_length, width)
    yield f"{top}.text_projection", (width, width)
    yield f"{top}.logit_scale", ()
    for layer in (f"{top}.transformer.resblocks.{index}" for index in range(layout.text_layers)):
        yield f"{layer}.attn.in_proj_weight", (3 * width, width)
        yield f"{layer}.attn.in_proj_bias", (3 * width,)
        yield from _weights(f"{layer}.attn.out_proj", width, width)
        yield from _weights(f"{layer}.mlp.c_fc", layout.text_mlp, width)
        yield from _weights(f"{layer}.mlp.c_proj", width, layout.text_mlp)
        yield from _weights(f"{layer}.ln_1", width)
        yield from _weights(f"{layer}.ln_2", width)
    yield from _weights(f"{top}.ln_final", width)


def sd_config(path: Path, **given: object) -> Config:
    """The request to train a LoRA on the model at `path`, with other options by name."""
    return make_config(command("train_network"), {"pretrained_model_name_or_path": str(path), **given})


def load_sd(path: Path, *, weight_dtype: torch.dtype = torch.float32, **given: object) -> SD:
    """The Stable Diffusion family on the CPU, from `path` and other options by name."""
    return SD.load(sd_config(path, **given), device=torch.device("cpu"), weight_dtype=weight_dtype)


def sdxl_config(path: Path, **given: object) -> Config:
    """The request to train a LoRA on the SDXL model at `path`, with other options by name."""
    return make_config(command("sdxl_train_network"), {"pretrained_model_name_or_path": str(path), **given})


def load_sdxl(path: Path, *, weight_dtype: torch.dtype = torch.float32, **given: object) -> SDXL:
    """The SDXL family on the CPU, from `path` and other options by name."""
    return SDXL.load(sdxl_config(path, **given), device=torch.device("cpu"), weight_dtype=weight_dtype)
