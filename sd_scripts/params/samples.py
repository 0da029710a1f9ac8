"""Options: pictures made during training."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section

PROMPT_FILES = (".txt", ".toml", ".json")
"""Endings of a prompt file."""


@section("Samples")
class Samples:
    """Pictures made during training."""

    sample_prompts: str | None = param(
        None,
        "A file with one prompt per line (.txt, .toml or .json), drawn while training so that you see what is learned. "
        "A line may set --n negative, --w width, --h height, --d seed, --l guidance, --s steps.",
        label="Prompt file",
        path="file",
        advanced=False,
    )
    sample_every_n_steps: int | None = param(
        None,
        "Draw samples every n steps. 0 or empty: not by steps. Each picture costs about as much as ten training steps.",
        label="Sample every n steps",
        min=0,
        step=50,
        advanced=False,
    )
    sample_every_n_epochs: int | None = param(
        None,
        "Draw samples every n epochs. It counts before every n steps; 0 or empty: not by epochs.",
        label="Sample every n epochs",
        min=0,
        step=1,
        advanced=False,
    )
    sample_at_first: bool = param(
        False, "Draw samples before the first step too, to see what the base model makes of the prompts.", label="Sample before training"
    )
    sample_sampler: Literal[
        "ddim",
        "pndm",
        "lms",
        "euler",
        "euler_a",
        "heun",
        "dpm_2",
        "dpm_2_a",
        "dpmsolver",
        "dpmsolver++",
        "dpmsingle",
        "k_lms",
        "k_euler",
        "k_euler_a",
        "k_dpm_2",
        "k_dpm_2_a",
    ] = param("ddim", "The sampler that draws them. euler_a and dpmsolver++ are what most people use when they generate.", label="Sampler")
