"""What people and other trainers call kohya's options in flat files: names of the same meaning and unit, and settings that are words of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.params.migrate.ledger import Ledger
from sd_scripts.params.migrate.prompt_lines import PromptLine, take_prompts
from sd_scripts.params.migrate.shared import is_on
from sd_scripts.params.network import LOHA_MODULE, LOKR_MODULE, LORA_MODULE, OFT_MODULE

ALIASES = {
    # diffusers' example scripts
    "rank": "network_dim",
    "num_train_epochs": "max_train_epochs",
    "snr_gamma": "min_snr_gamma",
    "instance_data_dir": "train_data_dir",
    "class_data_dir": "reg_data_dir",
    "instance_prompt": "class_tokens",
    "random_flip": "flip_aug",
    "checkpointing_steps": "save_every_n_steps",
    "validation_steps": "sample_every_n_steps",
    "validation_epochs": "sample_every_n_epochs",
    "enable_xformers_memory_efficient_attention": "xformers",
    # lora-scripts, Easy Training Scripts and their forks
    "lycoris_algo": "algo",
    "lokr_factor": "factor",
    "use_dora": "dora_wd",
    "conv_rank": "conv_dim",
    "lora_dropout": "network_dropout",
    "warmup_ratio": "lr_warmup_steps",
    "clip_layers": "clip_skip",
    # written by hand
    "alpha": "network_alpha",
    "batch_size": "train_batch_size",
    "data_dir": "train_data_dir",
    "data_path": "train_data_dir",
    "num_repeats": "dataset_repeats",
    "repeats": "dataset_repeats",
    "base_model_path": "pretrained_model_name_or_path",
    "base_model": "pretrained_model_name_or_path",
    "vae_path": "vae",
    "lr": "learning_rate",
    "grad_accum": "gradient_accumulation_steps",
    "grad_checkpoint": "gradient_checkpointing",
    "activation_checkpointing": "gradient_checkpointing",
    "micro_batch_size_per_gpu": "train_batch_size",
    "gradient_clip_norm": "max_grad_norm",
    "gradient_clipping": "max_grad_norm",
    "num_workers": "max_data_loader_n_workers",
    "flip_augment": "flip_aug",
    "min_reso": "min_bucket_reso",
    "max_reso": "max_bucket_reso",
    "reso_step": "bucket_reso_steps",
    "save_every": "save_every_n_steps",
    "save_epochs_interval": "save_every_n_epochs",
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "optimizer.type": "optimizer_type",
    "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs",
}
"""Option by alias. A name counts where the trainer has no option of that name itself."""

OPTIMIZER_WORDS = {
    "weight_decay": "weight_decay",
    "eps": "eps",
    "d_coef": "d_coef",
    "prodigy_d_coef": "d_coef",
    "d0": "d0",
    "prodigy_d0": "d0",
    "use_bias_correction": "use_bias_correction",
    "safeguard_warmup": "safeguard_warmup",
    "decouple": "decouple",
}
"""Settings that are arguments of the optimizer."""
BETAS = ("beta1", "beta2")

PROMPT_KEYS = (
    "positive_prompts", "negative_prompts", "sample_width", "sample_height", "sample_seed", "sample_steps", "sample_cfg", "enable_preview",
    "validation_prompt", "validation_prompts",
)  # fmt: skip
"""Settings that are a line of the sample prompts here."""
ADAPTER_TYPES = {"lora": LORA_MODULE, "locon": LORA_MODULE, "loha": LOHA_MODULE, "lokr": LOKR_MODULE, "oft": OFT_MODULE}
TYPE_KEYS = ("network.type", "lora.type", "adapter.type", "network_type", "lora_type")
"""Keys that name the kind of adapter in one word."""
RANK_KEYS = (*TYPE_KEYS, "rank", "network_rank", "lora_rank")
"""Keys that imply an adapter, where no `network_module` is named."""
PART_SWITCHES = {"train_text_encoder": "network_train_unet_only", "train_unet": "network_train_text_encoder_only"}
"""Switches of a part of the model: off, only the other part is trained."""
_MUSUBI = "It is of musubi-tuner's models, which are not trained here."
_ANIMA = "It is for Anima, which is not trained here yet."
_PIPE = "It is of diffusion-pipe's models, or of how that program splits them."
NOTES = {
    **dict.fromkeys(
        (
            "dit",
            "dit_dtype",
            "dit_high_noise",
            "text_encoder1",
            "text_encoder2",
            "image_encoder",
            "task",
            "t5",
            "clip",
            "timestep_boundary",
            "num_timestep_buckets",
            "rope_func",
            "vae_tiling",
            "vae_spatial_tile_sample_min_size",
            "use_pinned_memory_for_block_swap",
            "compile_cache_size_limit",
            "compile_mode",
            "compile",
        ),
        _MUSUBI,
    ),
    **dict.fromkeys(
        (
            "anima_transformer",
            "transformer_path",
            "qwen",
            "text_encoder_path",
            "t5_tokenizer_dir",
            "anima_seq_len",
            "seq_len",
            "anima_noise_offset",
            "cache_llm_adapter_outputs",
        ),
        _ANIMA,
    ),
    **dict.fromkeys(
        (
            "pipeline_stages",
            "model.type",
            "model.dtype",
            "adapter.dtype",
            "diffusers_path",
            "transformer_dtype",
            "timestep_sample_method",
            "warmup_steps",
            "partition_method",
            "caching_batch_size",
            "steps_per_print",
            "video_clip_mode",
        ),
        _PIPE,
    ),
    "dataset": "It names another program's dataset file: open that too.",
    "use_mask_loss": "Masks are switched on with masked_loss.",
    "mask_loss_scale": "Masks are switched on with masked_loss.",
    "mask_min_weight": "Masks are switched on with masked_loss.",
    "gemma3_prompt": "It is for NewBie, which is not trained here.",
    "checkpoint_segments": "gradient_checkpointing_every says how many blocks are left alone.",
    "lora_target_modules": "Layers are chosen with include_patterns and exclude_patterns.",
    "use_cache": "cache_latents says so.",
    "cache_in_memory": "cache_latents says so.",
    "name": "It is a note of another program.",
    "version": "It is a note of another program.",
    "author": "It is a note of another program.",
    "description": "It is a note of another program.",
    "comment": "It is a note of another program.",
    "order": "It is a note of another program.",
    "experimental": "It is a note of another program.",
    "alpha_rank_scale": "It is an argument of another program's adapter.",
    "vae_dtype": "no_half_vae says whether the VAE runs in 32 bits.",
    "center_crop": "Pictures are cut at their centre unless random_crop says otherwise.",
    "noise_scheduler": "The family says which noise its models learn.",
    "min_lr": "It is a rate there; lr_scheduler_min_lr_ratio is a share of the rate.",
    "timestep_distribution": "timestep_curve chooses one of the curves that are built here.",
    "sageattn": "PyTorch's own attention (sdpa) is used.",
    "flash_attn": "PyTorch's own attention (sdpa) is used.",
    "use_flash_attention_2": "PyTorch's own attention (sdpa) is used.",
    "trust_remote_code": "Code from a model's folder is never run.",
    "dataloader_prefetch_factor": "The loader reads ahead by itself.",
    "dataloader_pin_memory": "The loader does so by itself.",
    "bucket_resolutions": "Buckets follow from resolution, bucket_reso_steps and the limits of their sides.",
    "train_blocks": "It is an argument of FLUX's adapter.",
    "print_hyperparameter": "What was asked is in the run's folder.",
    "cuda_allow_tf32": "TF32 is on where the card has it.",
    "cuda_cudnn_benchmark": "It changes no result.",
}
"""Keys that are known from real files and have no use here, with the reason."""


def take_adapter_type(ledger: Ledger, flat: Mapping[str, Any]) -> None:
    """A kind of adapter in one word becomes its module; without any, a rank under another name means a LoRA."""
    for key in [key for key in TYPE_KEYS if key in flat]:
        module = ADAPTER_TYPES.get(str(flat[key]).lower(), "")
        if flat.get("network_module") or not module:
            ledger.keep(key, flat[key], note="network_module counts." if module else "No adapter of that name is built here.")
        else:
            ledger.take(key, flat[key], name="network_module", made=module)
    if ledger.command.method == "adapter" and "network_module" not in {**flat, **ledger.given} and any(key in flat for key in RANK_KEYS):
        ledger.given["network_module"] = LORA_MODULE
        ledger.skip("network_module", "", "It is not in the file, whose rank is that of a LoRA.")


def take_part_switches(ledger: Ledger, flat: Mapping[str, Any]) -> None:
    """An adapter trains both parts of the model unless told otherwise."""
    for key, only in PART_SWITCHES.items():
        if key not in flat:
            continue
        if is_on(flat[key]):
            ledger.skip(key, flat[key])
        elif any(flat.get(other) is False for other in PART_SWITCHES if other != key):
            ledger.keep(key, flat[key], note="Something has to be trained.")
        else:
            ledger.take(key, flat[key], name=only, made=True)


def take_optimizer_words(ledger: Ledger, flat: Mapping[str, Any]) -> None:
    """Arguments of the optimizer that stand as keys of their own become words of `optimizer_args`, unless those say it already."""
    words = ledger.given.get("optimizer_args", ())
    made = list(words) if isinstance(words, tuple) else []
    said = {word.partition("=")[0].strip() for word in made}
    for key, name in OPTIMIZER_WORDS.items():
        if key in flat and _is_set(flat[key]):
            _word(ledger, key, flat[key], made, word=f"{name}={flat[key]}", said=said)
        elif key in flat:
            ledger.skip(key, flat[key])
    betas = flat.get("betas") or [flat[key] for key in BETAS if _is_set(flat.get(key))]
    text = ",".join(map(str, betas)) if isinstance(betas, list) else str(betas).strip("()[]").replace(" ", "")
    for key in [key for key in ("betas", *BETAS) if key in flat]:
        if _is_set(flat[key]) and text.count(",") >= 1:
            _word(ledger, key, flat[key], made, word=f"betas={text}", said=said)
        elif _is_set(flat[key]):
            ledger.keep(key, flat[key], note="An optimizer takes both betas or none.")
        else:
            ledger.skip(key, flat[key])
    if made:
        ledger.given["optimizer_args"] = tuple(made)


def _word(ledger: Ledger, key: str, value: Any, made: list[str], *, word: str, said: set[str]) -> None:
    name = word.partition("=")[0]
    if name in said and word not in made:
        ledger.keep(key, value, note="optimizer_args says it too, and counts.")
        return
    if word not in made:
        made.append(word)
        said.add(name)
    ledger.convert(key, value, became=f"optimizer_args {word}")


def take_prompt_keys(ledger: Ledger, flat: Mapping[str, Any]) -> None:
    """A prompt that stands as keys of its own becomes a line of the sample prompts."""
    keys = [key for key in PROMPT_KEYS if key in flat]
    if not keys:
        return
    prompts = next((flat[key] for key in ("positive_prompts", "validation_prompt", "validation_prompts") if flat.get(key)), "")
    lines = [
        PromptLine(
            str(prompt),
            negative=str(flat.get("negative_prompts") or ""),
            width=flat.get("sample_width"),
            height=flat.get("sample_height"),
            seed=flat.get("sample_seed"),
            steps=flat.get("sample_steps"),
            scale=flat.get("sample_cfg"),
        )
        for prompt in (prompts if isinstance(prompts, list) else [prompts])
        if prompt
    ]
    if "sample_prompts" in ledger.given or not lines:
        for key in keys:
            if lines and _is_set(flat[key]):
                ledger.keep(key, flat[key], note="sample_prompts counts.")
            else:
                ledger.skip(key, flat[key])
        return
    take_prompts(ledger, lines)
    note = f"A line of the prompts: “{lines[0].text()}”."
    for key in keys:
        ledger.convert(key, flat[key], became="prompts" if key != "enable_preview" else "", note=note)


def _is_set(value: object) -> bool:
    return value not in ("", None)
