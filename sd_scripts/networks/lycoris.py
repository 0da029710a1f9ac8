"""lycoris.kohya: the kinds of the lycoris-lora package, made layer by layer on our targets. Which layers, the preset says.

The package's own network builder is not used: it finds layers by the class names of another program's models, and knows nothing of their order.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import ALPHA_ROUNDING, AdapterModule, layer_of, refuse_others
from sd_scripts.networks.delta import Dropouts
from sd_scripts.networks.dylora import DyLoRAModule
from sd_scripts.networks.full import FullModule
from sd_scripts.networks.norm import NormModule
from sd_scripts.params.config import Config
from sd_scripts.params.lycoris_layers import NORM, LayerSettings, LycorisRules
from sd_scripts.params.training import Training

CLASSES = {
    "lora": "locon:LoConModule", "locon": "locon:LoConModule", "loha": "loha:LohaModule", "lokr": "lokr:LokrModule", "ia3": "ia3:IA3Module",
    "glora": "glora:GLoRAModule", "diag-oft": "diag_oft:DiagOFTModule", "boft": "boft:ButterflyOFTModule",
}  # fmt: skip
Make = Callable[[AdapterTarget, int, float, Mapping[str, Any]], AdapterModule]
OWN: Mapping[str, Make] = {
    "dylora": lambda at, rank, alpha, given: DyLoRAModule(
        at, rank, alpha, unit=math.gcd(rank, given["block_size"]), seed=given["seed"], dropouts=Dropouts(module=given["module_dropout"])
    ),
    "full": lambda at, _, __, given: FullModule(at, 1, 1.0, dropouts=_dropouts(given)),
    NORM: lambda at, _, __, given: NormModule(at, 1, 1.0, dropouts=_dropouts(given)),
}
"""Kinds that are made here: the package's dylora draws its ranks at random even in inference, its full takes the weights off the model's layers."""
MOST_IN_HALF = torch.finfo(torch.float16).max
FAST = ("lora_up.weight", "hada_w2_a", "lokr_w2", "lokr_w2_b", "a2.weight", "b2.weight")
"""Parameters that LoRA+ trains faster: those that start at zero."""
PROPORTIONAL = {
    "locon": ("lora_up.weight",), "loha": ("hada_w2_a",), "kron": ("lokr_w2", "lokr_w2_b"), "glora": ("a2.weight", "b2.weight"), "ia3": ("weight",),
}  # fmt: skip
"""By the package's name of a kind, parameters to which, all at once, the change is proportional."""


def _dropouts(given: Mapping[str, Any]) -> Dropouts:
    return Dropouts(0.0, given["rank_dropout"], given["module_dropout"], evened=bool(given["rank_dropout_scale"]))


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

    def factors(self) -> list[nn.Parameter]:
        """Parameters to which the change is proportional all at once; none where rows are brought to a length, or weights are turned."""
        names = () if getattr(self.inner, "wd", False) else PROPORTIONAL.get(self.inner.name, ())
        return [parameter for name, parameter in self.inner.named_parameters() if name in names]

    @torch.no_grad()
    def norm(self) -> Tensor:
        """Frobenius norm of the change, 0-dim, from the package's own rebuilding of it."""
        inner, training = self.inner, self.inner.training
        inner.eval()
        change = inner.get_weight(inner.shape) * inner.scalar if hasattr(inner, "get_weight") else inner.get_diff_weight()[0]
        inner.train(training)
        return change.norm()

    @torch.no_grad()
    def shrink(self, ratio: Tensor) -> None:
        """Multiply the change by `ratio`."""
        for parameter in self.factors():
            parameter.mul_(ratio)

    def file_tensors(self) -> dict[str, Tensor]:
        """As the package writes them."""
        return dict(self.inner.state_dict())

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's tensors and keep their effect where its alpha is another, which is then True. A bound of what is turned becomes the file's.

        Raises:
            ValueError: they are another adapter's, or the package does not take them back.
        """
        own = self.file_tensors()
        refuse_others(found, own)
        strange = [key for key, tensor in own.items() if key not in found or found[key].shape != tensor.shape]
        if strange:
            raise ValueError(f"{strange[0]} is missing or of another shape")
        if "on_input" in own and bool(found["on_input"]) != bool(own["on_input"]):
            raise ValueError("on_input is another than train_on_input says")
        alpha = None if "alpha" not in own else float(own["alpha"])
        self.inner.load_state_dict(dict(found), strict=False)
        lost = [key for key, tensor in self.file_tensors().items() if not torch.allclose(tensor.float(), found[key].float(), rtol=1e-2, atol=1e-6)]
        if lost:
            raise ValueError(f"{lost[0]} is not taken by the package lycoris-lora")
        return alpha is not None and self._alpha_put_back(alpha)

    @torch.no_grad()
    def merge(self) -> None:
        """Write the adapter at its multiplier into the target's weight, and bias where it has one."""
        module: Any = self.target.module
        self.inner.multiplier = self.factor
        weight, bias = probed(self.inner, module), None if module.bias is None else probed_bias(self.inner, module)
        module.weight.copy_(weight.to(module.weight))
        if bias is not None:
            module.bias.copy_(bias.to(module.bias))

    def _alpha_put_back(self, alpha: float) -> bool:
        """After loading, `alpha` is again what the forward computes with; what the file's would have made of the factors is made up for."""
        inner = self.inner
        if hasattr(inner, "constraint"):
            inner.constraint = float(inner.alpha) * self.weight.shape[0]
            return False
        ratio = float(inner.alpha) / alpha
        inner.alpha.fill_(alpha)
        whole = getattr(inner, "use_w1", False) and getattr(inner, "use_w2", False)
        if whole or math.isclose(ratio, 1.0, rel_tol=ALPHA_ROUNDING):
            return False
        for name, parameter in inner.named_parameters():
            if name in PROPORTIONAL[inner.name]:
                parameter.mul_(ratio)
        return True


@torch.no_grad()
def probed(layer: Any, module: nn.Module) -> Tensor:
    """The weight that a linear `layer` in the place of `module` applies, in the weight's shape, float32: its answers to unit inputs."""
    weight = cast(Tensor, module.weight)
    inputs = math.prod(weight.shape[1:])
    units = torch.eye(inputs, device=weight.device, dtype=weight.dtype).view(inputs, *weight.shape[1:])
    if not isinstance(module, nn.Conv2d):
        return (_answer(layer, units) - _answer(layer, torch.zeros_like(units[:1]))).float().T.reshape(weight.shape)
    padding, stride = cast("tuple[int, int]", module.padding), module.stride
    at = [-(-pad // step) for pad, step in zip(padding, stride, strict=True)]
    shift = [place * step - pad for place, step, pad in zip(at, stride, padding, strict=True)]
    shifted = F.pad(units, (shift[1], 0, shift[0], 0))
    answers = _answer(layer, shifted) - _answer(layer, torch.zeros_like(shifted[:1]))
    return answers[:, :, at[0], at[1]].float().T.reshape(weight.shape)


@torch.no_grad()
def probed_bias(layer: Any, module: nn.Module) -> Tensor:
    """The bias that a linear `layer` in the place of `module` adds: its answer to zeros."""
    weight = cast(Tensor, module.weight)
    answer = _answer(layer, torch.zeros(1, *weight.shape[1:], device=weight.device, dtype=weight.dtype))
    return answer[0].flatten(1)[:, 0] if isinstance(module, nn.Conv2d) else answer[0]


def _answer(layer: Any, inputs: Tensor) -> Tensor:
    """Without dropouts."""
    training = layer.training
    answer = layer.eval()(inputs)
    layer.train(training)
    return answer


def build_modules(config: Config, targets: Sequence[AdapterTarget]) -> list[AdapterModule]:
    """A module for each target that the preset chooses.

    Raises:
        ConfigError: the package is missing, the preset unknown, or the kind does not fit a layer.
    """
    rules = LycorisRules.of(config)
    chosen = [(target, rules.settings(layer_of(target))) for target in targets]
    return [make_module(target, settings, seed=config[Training].seed or 0) for target, settings in chosen if settings is not None]


def make_module(target: AdapterTarget, settings: LayerSettings, *, seed: int) -> AdapterModule:
    """One target's module. Raises ConfigError: the package is missing, or the kind does not fit the layer."""
    algo, rank, alpha, options = settings.algo, settings.rank, settings.alpha, settings.options
    if algo in OWN:
        return OWN[algo](target, rank, alpha, {**options, "seed": seed})
    try:
        inner = module_class(algo)(target.name, target.module, 1.0, rank, alpha, **options)
    except (ValueError, AssertionError, NotImplementedError) as reason:
        raise ConfigError("algo", f"{algo} does not fit {target.name}: {reason}.", fix="Choose another algo, rank or preset.") from reason
    _write_strength(inner, rank)
    return LycorisModule(target, rank, alpha, inner)


def _write_strength(inner: Any, rank: int) -> None:
    """Let the file say with which strength a kind trains, where the package forgets it: rank-stabilised, other readers would find another one."""
    if not getattr(inner, "rs_lora", False):
        return
    if inner.name == "glora":
        inner.alpha.mul_(math.sqrt(rank))
    elif inner.name == "kron" and inner.use_w1 and inner.use_w2:
        inner.scale = 1.0
        inner.alpha.fill_(rank)


def module_class(algo: str) -> Any:
    """The package's class for a kind. Raises ConfigError: the package is not installed."""
    try:
        return pkgutil.resolve_name(f"lycoris.modules.{CLASSES[algo]}")
    except ImportError as reason:
        fix = "Run python setup.py extras lycoris."
        raise ConfigError("network_module", f"lycoris.kohya needs the package lycoris-lora ({reason}).", fix=fix) from reason
