"""Layers of CLIP text encoders that an adapter can wrap, by the names of the tensors in a file: OpenAI's naming, OpenCLIP's, and that of folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sd_scripts.params.families.facts import AdapterPlace, Tensors, has_bias

_LAYER = r"encoder\.layers\.(\d+)\.(self_attn\.(?:[qkv]|out)_proj|mlp\.fc[12])\.weight"
_OPEN_LAYER = r"transformer\.resblocks\.(\d+)\.(attn\.in_proj_weight|attn\.out_proj\.weight|mlp\.c_fc\.weight|mlp\.c_proj\.weight)"
_NORM = r"encoder\.layers\.(\d+)\.(layer_norm[12])\.weight"
_OPEN_NORM = r"transformer\.resblocks\.(\d+)\.(ln_[12])\.weight"
_OPEN_NAMES = {
    "attn.in_proj_weight": ("self_attn_k_proj", "self_attn_v_proj", "self_attn_q_proj"),
    "attn.out_proj.weight": ("self_attn_out_proj",),
    "mlp.c_fc.weight": ("mlp_fc1",),
    "mlp.c_proj.weight": ("mlp_fc2",),
    "ln_1": ("layer_norm1",),
    "ln_2": ("layer_norm2",),
}
"""Modules by OpenCLIP's tensor: its fused projection is three of them."""

Part = Literal["text_encoder", "text_encoder_2"]


@dataclass(frozen=True, slots=True)
class SingleText:
    """A text encoder of a single file: where its tensors begin, the prefix of adapters on it, and how many layers are used (None: all)."""

    top: str
    prefix: str
    most_layers: int | None = None
    part: Part = "text_encoder"

    def patterns(self, *, norms: bool) -> tuple[re.Pattern[str], ...]:
        """Tensors of its layers, or of their norms, in OpenAI's and in OpenCLIP's naming."""
        top, (plain, open_clip) = re.escape(self.top), (_NORM, _OPEN_NORM) if norms else (_LAYER, _OPEN_LAYER)
        return re.compile(top + r"transformer\.(?:text_model\.)?" + plain), re.compile(top + r"model\." + open_clip)


@dataclass(frozen=True, slots=True)
class FolderText:
    """A text encoder of a diffusers folder."""

    part: Part
    prefix: str
    most_layers: int | None = None

    def patterns(self, *, norms: bool) -> tuple[re.Pattern[str], ...]:
        """Tensors of its layers, or of their norms."""
        return (re.compile(re.escape(self.part) + r"/(?:text_model\.)?" + (_NORM if norms else _LAYER)),)


def text_places(tensors: Tensors, encoders: Iterable[SingleText | FolderText], *, norms: bool = False) -> Iterator[AdapterPlace]:
    """Every layer of these text encoders that an adapter can wrap, or every norm in them, in the file's order, one encoder after the other."""
    for encoder in encoders:
        patterns = encoder.patterns(norms=norms)
        for key, (_, shape) in tensors.items():
            found = next((match for pattern in patterns if (match := pattern.fullmatch(key))), None)
            if found is None or int(found[1]) >= (encoder.most_layers or 10**6):
                continue
            modules = _OPEN_NAMES.get(found[2], (found[2].replace(".", "_"),))
            for module in modules:
                own = (shape[0] // len(modules), *shape[1:])
                name = f"{encoder.prefix}_text_model_encoder_layers_{found[1]}_{module}"
                yield AdapterPlace(name, encoder.part, own, None, needs_conv=False, bias=has_bias(tensors, key), is_norm=norms)
