"""torch.compile of a U-Net's blocks, one by one: they repeat, so little is compiled, and what lies between them stays as it is.

Nothing else of the trainer is compiled. accelerate's launcher passes its own words on as environment variables.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import torch
from torch import nn

from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.config import Config
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.memory import Compile

BLOCKS = ("ResnetBlock2D", "BasicTransformerBlock")
IPEX = "intel_extension_for_pytorch"
VERSIONS_PER_BLOCK = 8
"""So often may one block be compiled anew for other sizes, which is torch's own limit for a single function."""


def refuse_compiling(config: Config, device: torch.device) -> None:
    """Raise ConfigError where the chosen compiler cannot work on this device."""
    backend = config[Compile].dynamo_backend
    if not config[Compile].torch_compile:
        return
    if backend == "cudagraphs" and device.type != "cuda":
        raise ConfigError("dynamo_backend", "cudagraphs needs an NVIDIA GPU.", fix="Use inductor.")
    if backend == "inductor" and device.type == "cuda" and importlib.util.find_spec("triton") is None:
        fix = "Install triton (triton-windows on Windows), or leave torch_compile out."
        raise ConfigError("dynamo_backend", "inductor needs the package triton on a GPU, which is not installed.", fix=fix)


def compile_blocks(unet: nn.Module, config: Config) -> int:
    """Compile a U-Net's blocks, each when it is first run. Returns how many there are."""
    if not config[Compile].torch_compile:
        return 0
    backend = config[Compile].dynamo_backend
    if backend == "ipex":
        importlib.import_module(IPEX)  # it makes its compiler known
    words: dict[str, Any] = {"backend": backend, "fullgraph": _asked(config, "dynamo_use_fullgraph"), "dynamic": _dynamic(config)}
    mode = config[Launcher].dynamo_mode if "dynamo_mode" in config.given else os.environ.get("ACCELERATE_DYNAMO_MODE", "default")
    if backend == "inductor" and mode != "default":
        words["mode"] = mode
    blocks = [module for module in unet.modules() if type(module).__name__ in BLOCKS]
    dynamo: Any = importlib.import_module("torch._dynamo.config")
    limit = max(dynamo.recompile_limit, VERSIONS_PER_BLOCK * len(blocks))
    dynamo.recompile_limit, dynamo.accumulated_recompile_limit = limit, max(dynamo.accumulated_recompile_limit, limit)
    for block in blocks:
        block.compile(**words)
    return len(blocks)


def as_compiler_failure(error: BaseException) -> RunError | None:
    """The error as users are told it, if the compiler made it; None if it is something else."""
    if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return None
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300].rstrip(".")
    return RunError(f"The model could not be compiled: {reason}.", fix="Leave torch_compile out, or use another dynamo_backend or dynamo_mode.")


def _asked(config: Config, name: str) -> bool:
    return bool(config.value(name)) if name in config.given else os.environ.get(f"ACCELERATE_{name.upper()}", "").lower() in ("1", "true")


def _dynamic(config: Config) -> bool | None:
    """True compiles for all sizes at once; else torch does so for what it has seen change."""
    return True if _asked(config, "dynamo_use_dynamic") else None
