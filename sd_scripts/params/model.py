"""Options: the base model."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Base model")
class SourceModel:
    """The model to start from, and how its parts are loaded."""

    pretrained_model_name_or_path: str | None = param(
        None,
        "The model that learns: a .safetensors or .ckpt file, a diffusers folder, or a Hugging Face id. What is trained fits it and its relatives.",
        label="Base model",
        path="any",
        advanced=False,
        suggestions=(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "stabilityai/stable-diffusion-2-1-base",
            "stabilityai/stable-diffusion-2-1",
            "stabilityai/stable-diffusion-xl-base-1.0",
        ),
    )
    vae: str | None = param(
        None, "Another VAE than the model's own: a file or a folder. Needed only if the model's VAE is missing or broken.", label="VAE", path="any"
    )
    no_half_vae: bool = param(
        False, "Keep the VAE in 32 bits. Slower to cache, but mends black pictures and NaN latents with 16-bit precision.", label="VAE in 32 bits"
    )
    tokenizer_cache_dir: str | None = param(
        None,
        "Folder for downloaded vocabulary files.",
        label="Tokenizer folder",
        path="folder",
        settled="The CLIP vocabulary is part of the installation, so none is downloaded.",
    )


@section("Stable Diffusion version")
class SDModel:
    """What a Stable Diffusion 1.x or 2.x file does not say about itself."""

    v2: bool = param(False, "The base model is Stable Diffusion 2.x. It is seen from the file, so this only confirms it.", label="SD 2.x")
    v_parameterization: bool = param(
        False,
        "The model predicts velocity instead of noise, as SD 2.x at 768 does. No file says it reliably, and a wrong choice ruins the result.",
        label="V-prediction",
    )


@section("Reading of model files")
class ModelFiles:
    """How model files are read."""

    disable_mmap_load_safetensors: bool = param(
        False,
        "Read model files piece by piece instead of mapping them into memory: faster from network drives, and on Windows' Linux layer (WSL).",
        label="Read files without mapping",
    )
