"""Presets of lycoris.kohya: which layers get an adapter, and which of them settings of their own.

There are those of the package, by name, and TOML files. A preset names layers by the classes that surround them in the model, and by their paths.
It is told of a layer's name alone, so form and trainer ask the same question.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.layers import Layer
from sd_scripts.params.lycoris import refuse_elsewhere
from sd_scripts.params.values import nearest

ALGORITHMS = ("lora", "locon", "loha", "lokr", "ia3", "dylora", "glora", "full", "diag-oft", "boft")
OPTIONS: Mapping[str, type] = MappingProxyType({
    "dim": int, "alpha": float, "dropout": float, "rank_dropout": float, "module_dropout": float, "use_tucker": bool, "use_scalar": bool,
    "rank_dropout_scale": bool, "weight_decompose": bool, "wd_on_out": bool, "bypass_mode": bool, "rs_lora": bool, "decompose_both": bool,
    "factor": int, "full_matrix": bool, "unbalanced_factorization": bool, "block_size": int, "constraint": float, "rescaled": bool,
    "train_on_input": bool,
})  # fmt: skip
"""Settings that layers can have of their own in a preset, by the package's names."""
_TRANSFORMER, _RESNET, _RESAMPLING = "Transformer2DModel", "ResnetBlock2D", ("Downsample2D", "Upsample2D")
_TEXT = ("CLIPAttention", "CLIPMLP")
_TIME, _ENDS = ("time_embedding.linear_1", "time_embedding.linear_2"), ("conv_in", "conv_out")


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset says. Where a TOML file is silent, it is "full".

    `*_target_module` are classes, every layer inside of which is trained, `*_target_name` paths of layers, `exclude_name` paths that are left out.
    `*_algo_map` give layers by class or path another algorithm or settings. Paths are regular expressions, with `use_fnmatch` globs.
    """

    enable_conv: bool = True
    unet_target_module: tuple[str, ...] = (_TRANSFORMER, _RESNET, *_RESAMPLING)
    unet_target_name: tuple[str, ...] = (*_ENDS, *_TIME)
    text_encoder_target_module: tuple[str, ...] = _TEXT
    text_encoder_target_name: tuple[str, ...] = ()
    module_algo_map: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    name_algo_map: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exclude_name: tuple[str, ...] = ()
    use_fnmatch: bool = False

    @property
    def name(self) -> str:
        """Its name in the package, empty for one from a file."""
        return next((name for name, preset in PRESETS.items() if preset is self), "")

    def own_of(self, layer: Layer, *, norms: bool) -> dict[str, Any] | None:
        """The settings of its own that a layer has, None where it is not trained. `norms`: whether norm layers may be."""
        if layer.is_norm and not norms:
            return None
        modules, names = (
            (self.text_encoder_target_module, self.text_encoder_target_name) if layer.is_text else (self.unet_target_module, self.unet_target_name)
        )
        classes = classes_of(layer)
        if self._is_named(layer, self.exclude_name) or not (set(classes) & set(modules) or self._is_named(layer, names)):
            return None
        own = next((dict(self.module_algo_map[name]) for name in classes if name in self.module_algo_map), {})
        for name, row in self.name_algo_map.items():
            if self._is_named(layer, (name,)):
                own |= row
        return own

    def unmatched(self, layers: Iterable[Layer]) -> Iterator[tuple[str, str]]:
        """(list, item) of what a preset names and no layer of the model has."""
        known = list(layers)
        for is_text, side in ((False, "unet"), (True, "text_encoder")):
            here = [layer for layer in known if layer.is_text == is_text]
            classes = {name for layer in here for name in classes_of(layer)}
            yield from ((f"{side}_target_module", name) for name in getattr(self, f"{side}_target_module") if name not in classes)
            yield from self._strangers(f"{side}_target_name", here)
        yield from self._strangers("exclude_name", known)
        yield from self._strangers("name_algo_map", known)
        classes = {name for layer in known for name in classes_of(layer)}
        yield from (("module_algo_map", name) for name in self.module_algo_map if name not in classes)

    def _strangers(self, key: str, layers: list[Layer]) -> Iterator[tuple[str, str]]:
        yield from ((key, name) for name in getattr(self, key) if not any(self._is_named(layer, (name,)) for layer in layers))

    def _is_named(self, layer: Layer, patterns: Iterable[str]) -> bool:
        return any(_matches(name, pattern, by_glob=self.use_fnmatch) for pattern in patterns for name in (layer.name, layer.alias) if name)


_WITHOUT_TEXT: dict[str, Any] = {"text_encoder_target_module": ()}
PRESETS: Mapping[str, Preset] = MappingProxyType({
    "full": Preset(),
    "full-lin": Preset(enable_conv=False, unet_target_module=(_TRANSFORMER, _RESNET), unet_target_name=_TIME),
    "attn-mlp": Preset(enable_conv=False, unet_target_module=(_TRANSFORMER,), unet_target_name=()),
    "attn-only": Preset(
        enable_conv=False, unet_target_module=("CrossAttention", "SelfAttention"), unet_target_name=(), text_encoder_target_module=("CLIPAttention",)
    ),
    "unet-only": Preset(**_WITHOUT_TEXT),
    "unet-transformer-only": Preset(enable_conv=False, unet_target_module=(_TRANSFORMER,), unet_target_name=(), **_WITHOUT_TEXT),
    "unet-convblock-only": Preset(unet_target_module=(_RESNET, *_RESAMPLING), unet_target_name=_ENDS, **_WITHOUT_TEXT),
    "ia3": Preset(
        enable_conv=False,
        unet_target_module=(),
        unet_target_name=("to_k", "to_v", "ff.net.2"),
        text_encoder_target_module=(),
        text_encoder_target_name=("k_proj", "v_proj", "mlp.fc2"),
        name_algo_map={"mlp.fc2": {"train_on_input": True}, "ff.net.2": {"train_on_input": True}},
    ),
})  # fmt: skip
"""Those of the package, as far as they name what models with a U-Net and CLIP have."""
_KINDS: Mapping[str, str] = MappingProxyType({
    "bool": "true or false", "tuple[str, ...]": "a list of names", "Mapping[str, Mapping[str, Any]]": "tables of settings by name",
})  # fmt: skip


def read_preset(name: str) -> Preset:
    """A preset by its name in the package, or from a TOML file.

    Raises:
        ConfigError: it is neither, or holds what no preset has; the message names the key.
    """
    if name in PRESETS:
        return PRESETS[name]
    try:
        state = Path(name).stat()
        return _read_file(name, (state.st_mtime_ns, state.st_size))
    except FileNotFoundError as reason:
        near = nearest(name, PRESETS)
        fix = f"Did you mean {near}?" if near else f"Use the path of a TOML file, or one of {', '.join(PRESETS)}."
        raise ConfigError("preset", f"{name} is no preset of the package, and there is no such file.", fix=fix) from reason
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        fix = f"Use a TOML file, or one of {', '.join(PRESETS)}."
        raise ConfigError("preset", f"{name} is no preset and cannot be read as one ({reason}).", fix=fix) from reason


@lru_cache(maxsize=8)
def _read_file(path: str, version: tuple[int, int]) -> Preset:
    """A file's preset; `version` is another one after the file was changed."""
    content = tomllib.loads(Path(path).read_text("utf-8-sig"))
    fields = {each.name: str(each.type) for each in dataclasses.fields(Preset)}
    preset = Preset(**{key: _checked(path, key, value, fields) for key, value in content.items()})
    if not preset.use_fnmatch:
        _refuse_broken_patterns(path, preset)
    return preset


def _checked(path: str, key: str, value: object, fields: Mapping[str, str]) -> Any:
    """One entry of a preset's file."""
    if key not in fields:
        near = nearest(key, fields)
        raise ConfigError("preset", f"{path}: presets have no {key!r}.", fix=f"Did you mean {near}?" if near else f"They have {', '.join(fields)}.")
    kind = fields[key]
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "tuple[str, ...]" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind.startswith("Mapping") and isinstance(value, dict) and all(isinstance(row, dict) for row in value.values()):
        return {name: dict(_settings(path, f"{key}.{name}", row)) for name, row in value.items()}
    raise ConfigError("preset", f"{path}: {key} is {value!r}.", fix=f"It takes {_KINDS[kind]}.")


def _refuse_broken_patterns(path: str, preset: Preset) -> None:
    for key in ("unet_target_name", "text_encoder_target_name", "exclude_name", "name_algo_map"):
        for pattern in getattr(preset, key):
            try:
                re.compile(_flat(pattern))
            except re.error as reason:
                fix = "Write for example conv_in, or set use_fnmatch = true for patterns with *."
                raise ConfigError("preset", f"{path}: {key} has {pattern!r}, which is no pattern: {reason}.", fix=fix) from reason


def _settings(path: str, place: str, row: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """Settings of some layers, typed."""
    for key, value in row.items():
        if key == "algo":
            refuse_elsewhere("preset", value)
            if value not in ALGORITHMS:
                raise ConfigError("preset", f"{path}: {place} has algo {value!r}.", fix=f"There are: {', '.join(ALGORITHMS)}.")
        elif key not in OPTIONS:
            near = nearest(key, OPTIONS)
            fix = f"Did you mean {near}?" if near else f"There are: algo, {', '.join(OPTIONS)}."
            raise ConfigError("preset", f"{path}: {place} has {key!r}, which is no setting of an adapter.", fix=fix)
        elif not _fits(value, OPTIONS[key]):
            raise ConfigError("preset", f"{path}: {place} has {key} = {value!r}.", fix=f"It takes {_WORDS[OPTIONS[key]]}.")
        yield key, value


_WORDS: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, int) or (kind is float and isinstance(value, float))


def classes_of(layer: Layer) -> tuple[str, ...]:
    """The classes that presets name a layer's surroundings by, the innermost first."""
    name = layer.name
    if layer.is_text:
        inner = ("CLIPMLP",) if "_mlp_" in name else ("CLIPAttention", "CLIPSdpaAttention") if "_self_attn_" in name else ()
        return (*inner, "CLIPEncoderLayer")
    if layer.is_outer:
        return ("TimestepEmbedding",) if "_embedding_" in (layer.alias or name) else ()
    if layer.needs_conv:
        sampling = "Downsample2D" if name.endswith(("_op", "downsamplers_0_conv")) else "Upsample2D" if name.endswith("_conv") else ""
        return (sampling or _RESNET,)
    inner = ("CrossAttention", "SelfAttention", "Attention") if re.search(r"_attn[12]_", name) else ("FeedForward",) if "_ff_" in name else ()
    return (*inner, *(("BasicTransformerBlock",) if "_transformer_blocks_" in name else ()), _TRANSFORMER)


def _matches(name: str, pattern: str, *, by_glob: bool) -> bool:
    """A preset's name of a layer, which is a dotted path or its end, a glob or a regular expression, against a name with underscores."""
    flat = _flat(pattern)
    if by_glob:
        return fnmatch.fnmatch(name, f"*{flat}")
    return name.endswith(f"_{flat}") or re.fullmatch(rf"(?:lora_\w+?_)?(?:{flat})", name) is not None


def _flat(pattern: str) -> str:
    """Dots between names as underscores; those of a regular expression stay."""
    flat = pattern.replace("\\.", "_")
    return flat if re.search(r"\.[*+?{]", flat) else flat.replace(".", "_")
