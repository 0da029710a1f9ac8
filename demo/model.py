"""The demo's tiny Stable Diffusion 1: its three networks, its tokenizer, and the single-file layout they are stored in.

Classes are diffusers' and transformers'; names in the file are those of the original latent-diffusion code (LDM), which every SD 1.x program reads.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LAYERS_PER_BLOCK = 2
SCALING_FACTOR = 0.18215
"""Latents times this have unit variance: SD 1's published number, which no file carries and every loader assumes."""
PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text": "cond_stage_model.transformer.text_model."}


@dataclass(slots=True)
class TinyModel:
    """The networks of one model. Latents are (batch, 4, side/8, side/8); text states (batch, 77, 64)."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel

    def parts(self) -> dict[str, nn.Module]:
        """The networks by the names of `PREFIXES`."""
        return {"unet": self.unet, "vae": self.vae, "text": self.text}


def build_model() -> TinyModel:
    """The three networks with random weights, 13.4 million numbers in all, a quarter of them CLIP's token table."""
    attention, plain = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 96, 96, 96),
        layers_per_block=LAYERS_PER_BLOCK,
        cross_attention_dim=64,
        attention_head_dim=8,
        down_block_types=(attention[0],) * 3 + (plain[0],),
        up_block_types=(plain[1],) + (attention[1],) * 3,
    )
    vae = AutoencoderKL(
        sample_size=128,
        block_out_channels=(64, 64, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=SCALING_FACTOR,
    )
    text = CLIPTextModel(CLIPTextConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=1, projection_dim=64))
    nn.init.normal_(text.get_input_embeddings().weight, std=0.05)
    return TinyModel(unet, vae, text)


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer from the vocabulary that the open_clip_torch package carries; needs no network.

    Raises:
        FileNotFoundError: open_clip_torch is not installed.
    """
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise FileNotFoundError("The package open_clip_torch is missing; it carries CLIP's vocabulary.")
    text = gzip.decompress((Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode("utf-8")
    merges = [tuple(line.split()) for line in text.split("\n")[1:48895]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: k for k, token in enumerate(tokens)}, merges=merges)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids (len(captions), 77), int64, padded with the end mark as SD 1 does."""
    return tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"} | {
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0"} | {
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_name(key: str) -> str:
    """LDM's name of a U-Net weight that diffusers calls `key`, without prefix."""
    stem, _, leaf = key.rpartition(".")
    if stem in UNET_ENDS:
        return f"{UNET_ENDS[stem]}.{leaf}"
    side, *rest = key.split(".")
    step = LAYERS_PER_BLOCK + 1
    if side == "mid_block":
        kind, j, *inner = rest
        place = "middle_block.1" if kind == "attentions" else f"middle_block.{2 * int(j)}"
    else:
        i, kind, j, *inner = int(rest[0]), rest[1], int(rest[2]), *rest[3:]
        if kind == "downsamplers":
            return f"input_blocks.{step * (i + 1)}.0.op.{leaf}"
        if kind == "upsamplers":
            return f"output_blocks.{step * i + LAYERS_PER_BLOCK}.{2 if i > 0 else 1}.conv.{leaf}"
        first = f"input_blocks.{step * i + j + 1}" if side == "down_blocks" else f"output_blocks.{step * i + j}"
        place = f"{first}.{1 if kind == 'attentions' else 0}"
    if kind == "resnets":
        inner[0] = RESNET[inner[0]]
    return ".".join([place, *inner])


VAE_RULES = (
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample"),
    (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    ("conv_shortcut", "nin_shortcut"),
    ("conv_norm_out", "norm_out"),
)


def vae_name(key: str) -> str:
    """LDM's name of a VAE weight that diffusers calls `key`, without prefix."""
    for pattern, replacement in VAE_RULES:
        key = re.sub(pattern, replacement, key)
    return key


def text_name(key: str) -> str:
    """LDM's name of a text encoder weight; transformers before version 5 kept the `text_model.` that stands in the prefix."""
    return key.removeprefix("text_model.")


NAMES = {"unet": unet_name, "vae": vae_name, "text": text_name}


def write_model(model: TinyModel, path: Path) -> None:
    """Write one fp16 safetensors file in LDM layout. VAE attention is stored as 1x1 convolutions there."""
    tensors: dict[str, Tensor] = {}
    for part, module in model.parts().items():
        for key, value in module.state_dict().items():
            if key.endswith("position_ids"):
                continue
            name = PREFIXES[part] + NAMES[part](key)
            is_projection = "mid.attn_1." in name and value.dim() == 2
            tensors[name] = (value[:, :, None, None] if is_projection else value).to(torch.float16).contiguous().clone()
    save_file(tensors, path, {"format": "pt"})


def read_model(path: Path) -> TinyModel:
    """The networks of a file that `write_model` made, float32, in evaluation mode."""
    tensors, model = load_file(path), build_model()
    for part, module in model.parts().items():
        state = module.state_dict()
        names = {key: PREFIXES[part] + NAMES[part](key) for key in state if not key.endswith("position_ids")}
        module.load_state_dict({key: tensors[name].float().reshape(state[key].shape) for key, name in names.items()}, strict=False)
        module.eval()
    return model
