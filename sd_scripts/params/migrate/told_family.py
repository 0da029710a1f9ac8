"""Which model family a file was written for, and whether it is trained here. Files say it by switches, modules, options, or a model's name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from sd_scripts.params.commands import COMMANDS
from sd_scripts.params.names import foreign_flags

TITLES = {
    "sd": "Stable Diffusion 1.x and 2.x",
    "sdxl": "SDXL",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX.1",
    "flux2": "FLUX.2",
    "chroma": "Chroma",
    "lumina": "Lumina Image 2.0",
    "hunyuan_image": "HunyuanImage 2.1",
    "anima": "Anima",
    "cascade": "Stable Cascade",
    "hunyuan_dit": "HunyuanDiT",
    "hunyuan_video": "HunyuanVideo",
    "framepack": "FramePack",
    "wan": "Wan",
    "qwen_image": "Qwen-Image",
    "z_image": "Z-Image",
    "krea": "Krea",
    "pixart": "PixArt",
    "kolors": "Kolors",
    "auraflow": "AuraFlow",
    "hidream": "HiDream",
    "sana": "Sana",
    "ltx": "LTX-Video",
    "cosmos": "Cosmos",
    "omnigen": "OmniGen",
    "deepfloyd": "DeepFloyd IF",
    "ernie": "ERNIE-Image",
    "newbie": "NewBie",
}
"""Families by name, with words for people. Those with a trainer here are told by `COMMANDS`."""

BOXES = {
    "sdxl": "sdxl",
    "sdxl_checkbox": "sdxl",
    "flux1_checkbox": "flux",
    "sd3_checkbox": "sd3",
    "hunyuan_image_checkbox": "hunyuan_image",
    "anima_checkbox": "anima",
    "lumina_checkbox": "lumina",
}
"""The kohya GUI's boxes that choose a family. Without any it is Stable Diffusion 1.x or 2.x."""

_OF_SDXL = ("sdxl_cache_text_encoder_outputs", "sdxl_no_half_vae")
"""Fields of the form that SDXL alone has; partial files hold them without the box."""
_MODULES = (
    ("hunyuan_image", "hunyuan_image"),
    ("flux_2", "flux2"),
    ("flux2", "flux2"),
    ("flux", "flux"),
    ("sd3", "sd3"),
    ("anima", "anima"),
    ("lumina", "lumina"),
    ("zimage", "z_image"),
    ("framepack", "framepack"),
    ("wan", "wan"),
    ("qwen_image", "qwen_image"),
    ("musubi_tuner", "hunyuan_video"),
)
"""Parts of a network module's name."""
_NAMES = (
    (r"flux[-_. ]?2", "flux2"),
    (r"flux|^f\.1[-_. ]", "flux"),
    (r"(^|[-_. ])chroma", "chroma"),
    (r"stable[-_]diffusion[-_]3|sd[-_]?3(\.5)?([-_. ]|$)", "sd3"),
    (r"hunyuan[-_]?dit", "hunyuan_dit"),
    (r"hunyuan[-_]?image", "hunyuan_image"),
    (r"hunyuan[-_]?video", "hunyuan_video"),
    (r"framepack", "framepack"),
    (r"stable[-_]cascade|stage[-_][abc]([-_.]|$)", "cascade"),
    (r"anima([-_. ]?preview|[-_. ]transformer|[-_. ]base|\.|$)", "anima"),
    (r"lumina", "lumina"),
    (r"qwen[-_]?image", "qwen_image"),
    (r"z[-_]?image", "z_image"),
    (r"krea", "krea"),
    (r"wan[-_]?2", "wan"),
    (r"pixart", "pixart"),
    (r"kolors", "kolors"),
    (r"newbie", "newbie"),
    (r"sd[-_]?xl|[-_. a-z]xl([-_. 0-9v]|$)|illustrious|pony|noob[-_]?ai|animagine", "sdxl"),
    (r"sd[-_]?(v?1[-_.]?[45]|2[-_.]?[01])|stable[-_]diffusion[-_](v?1|2)|^v1[-_]5|^v2[-_]1|^nai[-_.]", "sd"),
)
"""What base models of a family are called. The first match counts."""
MODEL_KEYS = (
    "pretrained_model_name_or_path", "base_model_name", "name_or_path", "dit", "transformer_path", "anima_transformer", "base_model_path",
    "base_model", "diffusers_path",
)  # fmt: skip
"""Keys that name the base model."""
_SCRIPT = re.compile(r"(flux|sd3|lumina|anima|hunyuan_image)_train")
ENOUGH = 2
"""So many options that only one family has are no accident."""


@dataclass(frozen=True, slots=True)
class Told:
    """A family, and what told it; `surely` is not so where only a name looks like it."""

    family: str
    by: str
    surely: bool = True

    @property
    def title(self) -> str:
        """Words for people."""
        return title(self.family)

    @property
    def is_built(self) -> bool:
        """Whether something of that family can be trained here."""
        return is_built(self.family)


def title(family: str) -> str:
    """A family's name for people."""
    return TITLES.get(family, family.replace("_", " "))


def is_built(family: str) -> bool:
    """Whether there is a trainer for it."""
    return any(row.family == family for row in COMMANDS if row.kind == "train")


def not_trained(family: str) -> str:
    """The one sentence on a family without a trainer."""
    return f"The file is for {title(family)}, which is not trained here yet."


def by_box(document: Mapping[str, Any]) -> Told | None:
    """The family whose box is ticked in a saved form."""
    found = [(box, family) for box, family in BOXES.items() if _is_on(document.get(box))]
    if found:
        # SDXL's box may stay ticked beneath that of a later family, which counts then.
        return Told(found[-1][1], found[-1][0])
    if document.get("effnet_checkpoint_path"):
        return Told("cascade", "effnet_checkpoint_path")
    fields = [field for field in _OF_SDXL if "sdxl" not in document and _is_on(document.get(field))]
    return Told("sdxl", fields[0]) if fields else None


def by_options(document: Mapping[str, Any]) -> Told | None:
    """The family told by options under their own names: boxes, the network module, options that only one family's trainers take, the model's name."""
    return by_box(document) or _by_type(document) or _by_module(document) or _by_flags(document) or by_name(document)


def by_name(document: Mapping[str, Any]) -> Told | None:
    """The family that the base model's name looks like."""
    for key in MODEL_KEYS:
        name = str(document.get(key) or "")
        family = family_of_name(name)
        if family:
            return Told(family, name, surely=False)
    return None


def family_of_name(path: str) -> str:
    """The family that a model of this name or path belongs to, "" where the name does not tell."""
    parts = PurePosixPath(path.replace("\\", "/").rstrip("/")).parts
    for part in reversed(parts[-2:]):
        for pattern, family in _NAMES:
            if re.search(pattern, part.lower()):
                return family
    return ""


def _by_type(document: Mapping[str, Any]) -> Told | None:
    """diffusion-pipe says the kind of model in words."""
    kind = str(document.get("model.type") or "")
    family = family_of_name(kind) if kind else ""
    return Told(family, f"model type {kind}") if family else None


def _by_module(document: Mapping[str, Any]) -> Told | None:
    module = str(document.get("network_module") or "").lower()
    family = next((family for part, family in _MODULES if part in module), "")
    return Told(family, f"network_module {module}") if family else None


def _by_flags(document: Mapping[str, Any]) -> Told | None:
    votes: Counter[str] = Counter()
    named: dict[str, list[str]] = {}
    for key, value in document.items():
        if _says_something(value):
            for family in _families_of_flag().get(key, ()):
                votes[family] += 1
                named.setdefault(family, []).append(key)
    if not votes:
        return None
    family, count = votes.most_common(1)[0]
    return Told(family, ", ".join(named[family][:3])) if count >= ENOUGH else None


def families_of_flag(flag: str) -> tuple[str, ...]:
    """For an option that no trainer here takes: the families whose trainers do, where not every family's do."""
    return tuple(family for family in TITLES if family in _families_of_flag().get(flag, ()))


@cache
def _families_of_flag() -> Mapping[str, frozenset[str]]:
    ours = {name for row in COMMANDS for name in row.by_name}
    found = {flag: frozenset(_families(scripts)) for flag, scripts in foreign_flags().items() if flag not in ours}
    return {flag: families for flag, families in found.items() if families}


def _families(scripts: Iterable[str]) -> Iterable[str]:
    return filter(None, map(family_of_script, scripts))


def family_of_script(script: str) -> str:
    """The family that a script of kohya's trains, where it is one with scripts of its own beside those for Stable Diffusion; else ""."""
    match = _SCRIPT.match(script)
    return match[1] if match else ""


def _says_something(value: object) -> bool:
    return value not in ("", None, False, 0, 0.0) and value != []


def _is_on(value: object) -> bool:
    return str(value).strip().lower() in ("true", "1", "1.0", "yes")
