"""Rules on number formats, on models that are held in fewer bits, and on compiling."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.params.config import Config
from sd_scripts.params.memory import Compile, FrozenPrecision, Precision
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.rule import Rule, is_installed
from sd_scripts.params.saving import ModelFile
from sd_scripts.params.word import TextualInversion

GONE = frozenset({"aot_ts_nvfuser", "nvprims_nvfuser", "ofi", "fx2trt", "onnxrt", "tensort"})
PACKAGES = {"ipex": "intel_extension_for_pytorch", "tvm": "tvm"}
"""Compilers that are packages."""


def full_half_fits(config: Config) -> Iterator[Problem]:
    """Training wholly in half needs computing in the same half; only one of both."""
    precision = config[Precision]
    for name, half in (("full_fp16", "fp16"), ("full_bf16", "bf16")):
        if not getattr(precision, name):
            continue
        if precision.mixed_precision != half:
            yield error(
                name,
                f"It needs mixed_precision {half}, and that is {precision.mixed_precision}.",
                f"Set mixed_precision to {half}.",
                {"mixed_precision": half},
            )
        if TextualInversion in config:
            yield warning(name, "It has no effect: only the vectors of a word are trained, and these few numbers stay in 32 bits.", "Leave it out.")


def adam_fits_half(config: Config) -> Iterator[Problem]:
    """Squares of usual gradients are below the smallest number of fp16, so all that Adam divides by is its epsilon."""
    optimizer = (config[Optimizer].optimizer_type or "AdamW").lower()
    if config[Precision].full_fp16 and optimizer == "adamw" and TextualInversion not in config:
        fix = "Use optimizer_type AdamW8bit or Adafactor, or full_bf16."
        yield error("full_fp16", "AdamW cannot keep the squares of small gradients in fp16, and its steps become thousands of times too large.", fix)


def held_model_is_frozen(config: Config) -> Iterator[Problem]:
    """A model that is trained itself cannot be held in few bits, and one that is frozen only in one way."""
    precision = config[Precision]
    if precision.fp8_base and ModelFile in config:
        fix = "Use full_bf16 and an 8-bit optimizer to save memory, or train a LoRA."
        yield error("fp8_base", "The model itself is trained here, and 8 bits cannot hold what it learns.", fix)
    if FrozenPrecision not in config:
        return
    frozen = config[FrozenPrecision]
    if frozen.quantize_base != "none" and (precision.fp8_base or frozen.fp8_base_unet):
        also = "fp8_base_unet" if frozen.fp8_base_unet else "fp8_base"
        yield error("quantize_base", f"{also} asks for another format of the same weights.", f"Set quantize_base to none, or leave {also} out.")


def compiler_exists(config: Config) -> Iterator[Problem]:
    """Some compilers of kohya's list are gone from PyTorch, and some come with packages of their own."""
    if not config[Compile].torch_compile:
        return
    backend = config[Compile].dynamo_backend
    if backend in GONE:
        yield error("dynamo_backend", f"PyTorch has no compiler {backend} any more.", "Use inductor.", {"dynamo_backend": "inductor"})
    package = PACKAGES.get(backend)
    if package and not is_installed(package):
        yield error("dynamo_backend", f"{backend} needs the package {package}, which is not installed.", f"Use inductor, or install {package}.")
    if backend != "inductor" and "dynamo_mode" in config.given:
        yield warning("dynamo_mode", f"It has no effect with {backend}.", "Leave it out, or use inductor.")


RULES: tuple[Rule, ...] = (full_half_fits, adam_fits_half, held_model_is_frozen, compiler_exists)
