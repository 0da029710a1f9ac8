"""lycoris.kohya: the kinds of the lycoris-lora package, made layer by layer on our targets. Which layers, the preset says.

The package's own network builder is not used: it finds layers by the class names of another program's models, and knows nothing of their order.
"""

from __future__ import annotations

import fnmatch
import math
import pkgutil
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import AdapterModule
from sd_scripts.networks.delta import Dropouts
from sd_scripts.networks.dylora import DyLoRAModule
from sd_scripts.networks.full import FullModule
from sd_scripts.params.blocks import DEFAULT_RANK
from sd_scripts.params.config import Config
from sd_scripts.params.lycoris import LycorisArgs
from sd_scripts.params.network import AdapterArgs, LoRAArgs, Network

CLASSES = {
    "lora": "locon:LoConModule", "locon": "locon:LoConModule", "loha": "loha:LohaModule", "lokr": "lokr:LokrModule", "ia3": "ia3:IA3Module",
    "dylora": "dylora:DyLoraModule", "glora": "glora:GLoRAModule", "full": "full:FullModule", "diag-oft": "diag_oft:DiagOFTModule",
    "boft": "boft:ButterflyOFTModule",
}  # fmt: skip
OWN: Mapping[str, Callable[[AdapterTarget, int, float, Mapping[str, Any]], AdapterModule]] = {
    "dylora": lambda at, rank, alpha, given: DyLoRAModule(at, rank, alpha, unit=math.gcd(rank, given["block_size"])),
    "full": lambda at, rank, alpha, given: FullModule(at, rank, alpha, dropouts=Dropouts(0.0, given["rank_dropout"], given["module_dropout"])),
}
"""Kinds that are made here: the package's dylora draws its ranks at random even in inference, its full takes the weights off the model's layers."""
MOST_IN_HALF = torch.finfo(torch.float16).max
FAST = ("lora_up.weight", "hada_w2_a", "lokr_w2", "lokr_w2_b")
"""Parameters that LoRA+ trains faster: those that start at zero."""


class LycorisModule(AdapterModule):
    """One of the package's modules in the place of a target's forward. Its keys in files are the package's."""

    def __init__(self, target: AdapterTarget, rank: int, alpha: float, inner: Any) -> None:
        super().__init__(target, rank, alpha)
        del self.alpha
        self.scale = self.factor = 1.0
        self.inner = inner
        if getattr(inner, "use_w1", False) and getattr(inner, "use_w2", False):
            inner.alpha.clamp_(max=MOST_IN_HALF)  # the package notes the rank, which scales nothing here, and 100000 would be Inf in an fp16 file

    def forward(self, inputs: Tensor) -> Tensor:
        """The target's output at the adapter's multiplier."""
        if not self.factor:
            return self._plain(inputs)
        self.inner.multiplier = self.factor
        return self.inner(inputs)

    def attach(self) -> None:
        """Take the place of the target's `forward`; the package's own way would take the weight off some layers."""
        super().attach()
        self.inner.org_forward = self._plain

    @torch.no_grad()
    def change(self) -> Tensor:
        """Change of the weight at multiplier 1, read off the forward itself: the package merges some kinds with another strength than it trains."""
        self.inner.multiplier = 1.0
        return probed(self.inner, self.target.module) - self.weight.detach().float()

    def plus_parameters(self) -> list[nn.Parameter]:
        """Factors that start at zero."""
        return [parameter for name, parameter in self.inner.named_parameters() if name.endswith(FAST)]

    def file_tensors(self) -> dict[str, Tensor]:
        """As the package writes them."""
        return dict(self.inner.state_dict())

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's tensors. Raises ValueError where they are another adapter's, or the package does not take them back."""
        own = self.file_tensors()
        strange = [key for key, tensor in own.items() if key not in found or found[key].shape != tensor.shape]
        if strange:
            raise ValueError(f"{strange[0]} is missing or of another shape")
        self.inner.load_state_dict(dict(found), strict=False)
        lost = [key for key, tensor in self.file_tensors().items() if not torch.allclose(tensor.float(), found[key].float(), rtol=1e-2, atol=1e-6)]
        if lost:
            raise ValueError(f"{lost[0]} is not taken by the package lycoris-lora")
        return False

    @torch.no_grad()
    def merge(self) -> None:
        """Write the adapter at its multiplier into the target's weight, and bias where it has one."""
        module: Any = self.target.module
        self.inner.multiplier = self.factor
        weight, bias = probed(self.inner, module), None if module.bias is None else probed_bias(self.inner, module)
        module.weight.copy_(weight.to(module.weight))
        if bias is not None:
            module.bias.copy_(bias.to(module.bias))


@torch.no_grad()
def probed(layer: Any, module: nn.Module) -> Tensor:
    """The weight that a linear `layer` in the place of `module` applies, in the weight's shape, float32: its answers to unit inputs."""
    weight = cast(Tensor, module.weight)
    layer.eval()
    inputs = math.prod(weight.shape[1:])
    units = torch.eye(inputs, device=weight.device, dtype=weight.dtype).view(inputs, *weight.shape[1:])
    if not isinstance(module, nn.Conv2d):
        return (layer(units) - layer(torch.zeros_like(units[:1]))).float().T.reshape(weight.shape)
    padding, stride = cast("tuple[int, int]", module.padding), module.stride
    at = [-(-pad // step) for pad, step in zip(padding, stride, strict=True)]
    shift = [place * step - pad for place, step, pad in zip(at, stride, padding, strict=True)]
    shifted = F.pad(units, (shift[1], 0, shift[0], 0))
    answers = layer(shifted) - layer(torch.zeros_like(shifted[:1]))
    return answers[:, :, at[0], at[1]].float().T.reshape(weight.shape)


@torch.no_grad()
def probed_bias(layer: Any, module: nn.Module) -> Tensor:
    """The bias that a linear `layer` in the place of `module` adds: its answer to zeros."""
    weight = cast(Tensor, module.weight)
    layer.eval()
    answer = layer(torch.zeros(1, *weight.shape[1:], device=weight.device, dtype=weight.dtype))
    return answer[0].flatten(1)[:, 0] if isinstance(module, nn.Conv2d) else answer[0]


def build_modules(config: Config, targets: Sequence[AdapterTarget]) -> list[AdapterModule]:
    """A module for each target that the preset chooses.

    Raises:
        ConfigError: the package is missing, the preset unknown, or the kind does not fit a layer.
    """
    preset = read_preset(config[LycorisArgs].preset)
    shared = _shared(config)
    made: list[AdapterModule] = []
    for target in targets:
        chosen = _chosen(target, preset)
        if chosen is None:
            continue
        rank, alpha = _rank_and_alpha(target, config, preset)
        own = {**shared, **chosen}
        algo, rank, alpha = own.pop("algo"), int(own.pop("dim", rank)), float(own.pop("alpha", alpha))
        if not rank:
            continue
        if algo in OWN:
            made.append(OWN[algo](target, rank, alpha, own))
            continue
        try:
            inner = module_class(algo)(target.name, target.module, 1.0, rank, alpha, **own)
        except (ValueError, AssertionError, NotImplementedError) as reason:
            raise ConfigError("algo", f"{algo} does not fit {target.name}: {reason}.", fix="Choose another algo, rank or preset.") from reason
        made.append(LycorisModule(target, rank, alpha, inner))
    return made


def merge_part(target: AdapterTarget, name: str, found: Mapping[str, Tensor], multiplier: float) -> bool:
    """Merge one module of a file of any of the package's kinds into its target; False where it is none of them, or the package is missing."""
    try:
        finder: Any = pkgutil.resolve_name("lycoris.modules:get_module")
        maker: Any = pkgutil.resolve_name("lycoris.modules:make_module")
    except (ImportError, AttributeError):
        return False
    tensors = {f"{name}.{key}": tensor for key, tensor in found.items()}
    kind, parameters = finder(tensors, name)
    if kind is None:
        return False
    try:
        inner = maker(kind, parameters, name, target.module)
    except TypeError:  # of ia3 it passes one too many
        inner = kind(name, target.module, 1.0, train_on_input=bool(found.get("on_input", False)))
        inner.load_state_dict(dict(found), strict=False)
    if inner is None:
        return False
    module = LycorisModule(target, 1, 1.0, inner)
    module.factor = multiplier
    module.merge()
    return True


def module_class(algo: str) -> Any:
    """The package's class for a kind.

    Raises:
        ConfigError: there is no such kind, or the package is not installed.
    """
    if algo not in CLASSES:
        raise ConfigError("algo", f"{algo!r} is no kind of lycoris.kohya.", fix=f"There are: {', '.join(CLASSES)}.")
    try:
        return pkgutil.resolve_name(f"lycoris.modules.{CLASSES[algo]}")
    except ImportError as reason:
        fix = "Run: python setup.py extras lycoris"
        raise ConfigError("network_module", f"lycoris.kohya needs the package lycoris-lora ({reason}).", fix=fix) from reason


@cache
def read_preset(name: str) -> Mapping[str, Any]:
    """A preset by its name in the package, or from a TOML file.

    Raises:
        ConfigError: it is neither.
    """
    module_class("lora")
    known: Mapping[str, Any] = pkgutil.resolve_name("lycoris.config:PRESET")
    if name in known:
        return known[name]
    try:
        content = tomllib.loads(Path(name).read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        fix = f"Use a TOML file, or one of {', '.join(known)}."
        raise ConfigError("preset", f"{name} is no preset and cannot be read as one ({reason}).", fix=fix) from reason
    return content


def _shared(config: Config) -> dict[str, Any]:
    own, kinds, shared = config[LycorisArgs], config[AdapterArgs], config[LoRAArgs]
    return {
        "algo": own.algo, "dropout": config[Network].network_dropout or own.dropout or 0.0, "rank_dropout": shared.rank_dropout or 0.0,
        "module_dropout": shared.module_dropout or 0.0, "use_tucker": kinds.use_tucker or own.use_cp, "use_scalar": own.use_scalar,
        "rank_dropout_scale": own.rank_dropout_scale, "weight_decompose": kinds.dora_wd, "wd_on_out": own.wd_on_output,
        "bypass_mode": own.bypass_mode or None, "rs_lora": kinds.rs_lora, "decompose_both": kinds.decompose_both, "factor": kinds.factor,
        "full_matrix": kinds.full_matrix, "unbalanced_factorization": own.unbalanced_factorization, "block_size": own.block_size,
        "constraint": own.constraint or 0, "rescaled": own.rescaled, "train_on_input": own.train_on_input,
    }  # fmt: skip


def _rank_and_alpha(target: AdapterTarget, config: Config, preset: Mapping[str, Any]) -> tuple[int, float]:
    network, shared = config[Network], config[LoRAArgs]
    rank = network.network_dim or DEFAULT_RANK
    if target.kind != "conv3x3":
        return rank, network.network_alpha
    if not preset.get("enable_conv", True):
        return 0, 0.0
    return shared.conv_dim or rank, network.network_alpha if shared.conv_alpha is None else shared.conv_alpha


def _chosen(target: AdapterTarget, preset: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the preset says of one layer beside its choice; None where it leaves the layer out."""
    side = "text_encoder" if target.is_text else "unet"
    by_glob, classes = bool(preset.get("use_fnmatch")), classes_of(target)
    if any(_matches(target.name, name, by_glob=by_glob) for name in preset.get("exclude_name", ())):
        return None
    by_class = classes & set(preset.get(f"{side}_target_module", ()))
    if not by_class and not any(_matches(target.name, name, by_glob=by_glob) for name in preset.get(f"{side}_target_name", ())):
        return None
    own = next((dict(row) for name, row in preset.get("module_algo_map", {}).items() if name in classes), {})
    for name, row in preset.get("name_algo_map", {}).items():
        if _matches(target.name, name, by_glob=by_glob):
            own |= row
    return own


def _matches(name: str, pattern: str, *, by_glob: bool) -> bool:
    """A preset's name of a layer, which is a dotted path or its end, a glob or a regular expression, against kohya's name with underscores."""
    flat = pattern.replace("\\.", "_").replace(".", "_") if not re.search(r"\.[*+?]", pattern) else pattern
    if by_glob:
        return fnmatch.fnmatch(name, f"*{flat}")
    return name.endswith(f"_{flat}") or re.fullmatch(rf"(?:lora_\w+?_)?{flat}", name) is not None


def classes_of(target: AdapterTarget) -> frozenset[str]:
    """The classes that presets name a layer's surroundings by."""
    name = target.name
    if target.is_text:
        return frozenset({"CLIPMLP"} if "_mlp_" in name else {"CLIPAttention", "CLIPSdpaAttention"})
    if target.conv:
        sampling = {"Downsample2D"} if name.endswith(("_op", "downsamplers_0_conv")) else {"Upsample2D"} if name.endswith("_conv") else None
        return frozenset(sampling or {"ResnetBlock2D"})
    inner = {"CrossAttention", "SelfAttention", "Attention"} if re.search(r"_attn[12]_", name) else {"FeedForward"} if "_ff_" in name else set()
    return frozenset({"Transformer2DModel", *({"BasicTransformerBlock"} if inner else ()), *inner})
