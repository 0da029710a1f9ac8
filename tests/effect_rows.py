"""Where each option's effect shows, and how to change it so that it does: the table behind tests/test_effects.py.

An option without a row here fails that test, unless it is refused or settled for every script. Where a value follows from the type (a switch is
turned, the next choice is taken), the row has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from effect_stock import Stock

Aspect = Literal[
    "plan", "losses", "rates", "phases", "validation", "files", "tensors", "shapes", "types", "header", "samples", "calls", "said", "code", "argv"
]
Value = object | Callable[[Stock], object]
UNSET: Final = "derived from the option's type"


@dataclass(frozen=True)
class Row:
    """One option's proof.

    `shows` is the first thing that must differ between two trainings that are equal but for this option ("said" and "code": what was told, and the
    exit code, where a value is refused with a reason). `value` is what it is changed to; `given` are other options under which it has an effect, in
    both trainings, of which each script takes those that it has. Families and methods in `idle` must say that it has none. `codes` are the
    exit codes without and with it: 2 is refused.
    """

    shows: Aspect
    value: Value = UNSET
    given: Mapping[str, Value] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    codes: tuple[int, int] = (0, 0)


SLOW_WARM = {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 2}
STABLE = {"lr_scheduler": "warmup_stable_decay", "lr_scheduler_min_lr_ratio": 0.1, "lr_decay_steps": 3}
HUBER = {"loss_type": "huber"}
OFFSET, IP, VELOCITY = {"noise_offset": 0.1}, {"ip_noise_gamma": 0.1}, {"v_parameterization": True}
TALL = {"resolution": "128"}
LOKR, OFT, LYCORIS = ({"network_module": name} for name in ("networks.lokr", "networks.oft", "lycoris.kohya"))
PRESERVED = {"preservation_class": "dog", "preservation_trigger": "cat"}
SHUFFLED = {"shuffle_caption": True}
CHECKPOINTED = {"gradient_checkpointing": True}
KEPT = {"validation_split": 0.5, "validate_every_n_steps": 2, "train_batch_size": 1}
STEPS, EPOCHS, BOTH = {"save_every_n_steps": 1}, {"save_every_n_epochs": 1, "max_train_epochs": 4}, {"save_state": True}
LOGGED = {"logging_dir": lambda stock: stock.new("logs")}
PREVIEW: Mapping[str, Value] = {"sample_prompts": lambda stock: stock.prompts}
PLAIN_FOLDER: Mapping[str, Value] = {"train_data_dir": lambda stock: stock.plain_pictures, "caption_extension": ".none"}
WORD = {"token_string": "sks", "init_word": "cat", "caption_prefix": "sks zzq "}
FIXED_TEXT = {"network_train_unet_only": True}


def blocks(stock: Stock) -> str:
    """A number for each block with a LoRA."""
    return ",".join(["2"] * (10 if stock.is_sdxl else 12) + ["6"] + ["2"] * 12)


ROWS: dict[str, Row] = {
    # pictures and captions
    "train_data_dir": Row("plan", lambda stock: stock.two_pictures),
    "dataset_config": Row("plan", lambda stock: stock.dataset_config),
    "dataset_repeats": Row("plan", 2, PLAIN_FOLDER),
    "class_tokens": Row("losses", "green dog", PLAIN_FOLDER),
    "in_json": Row("losses", lambda stock: stock.metadata, {"train_data_dir": lambda stock: stock.plain_pictures}),
    "reg_data_dir": Row("plan", lambda stock: stock.two_pictures),
    "conditioning_data_dir": Row("code", lambda stock: stock.masks, {"masked_loss": True}, codes=(2, 0)),
    "masked_loss": Row("losses", given={"conditioning_data_dir": lambda stock: stock.masks}),
    "alpha_mask": Row("losses", given={"train_data_dir": lambda stock: stock.transparent_pictures}),
    "masked_prior_weight": Row("losses", 1.0, {"masked_loss": True, "conditioning_data_dir": lambda stock: stock.masks}),
    "prior_loss_weight": Row("losses", 0.25, {"reg_data_dir": lambda stock: stock.two_pictures}),
    "resolution": Row("plan", "128"),
    "enable_bucket": Row("plan", None, TALL),
    "min_bucket_reso": Row("plan", 128, TALL),
    "max_bucket_reso": Row("plan", 128, TALL),
    "bucket_reso_steps": Row("plan", 128, TALL),
    "bucket_no_upscale": Row("plan", given=TALL),
    "random_crop": Row("losses"),
    "face_crop_aug_range": Row("losses", "1.2,3.0", {"enable_bucket": False, "train_data_dir": lambda stock: stock.face_pictures}),
    "debug_dataset": Row("files"),
    "cache_info": Row("said", given={"train_data_dir": lambda stock: stock.spoilt_pictures}),
    "resize_interpolation": Row("losses", "nearest"),
    "flip_aug": Row("losses"),
    "color_aug": Row("losses"),
    "caption_extension": Row("losses", ".cap"),
    "caption_extention": Row("losses", ".cap", {"caption_extension": None}),
    "caption_prefix": Row("losses", "sks tall"),
    "caption_suffix": Row("losses", "tall"),
    "caption_separator": Row("losses", ";", SHUFFLED),
    "shuffle_caption": Row("losses"),
    "keep_tokens": Row("losses", 2, SHUFFLED),
    "keep_tokens_separator": Row("losses", "|||", SHUFFLED),
    "secondary_separator": Row("losses", ";;;"),
    "enable_wildcard": Row("losses"),
    "caption_dropout_rate": Row("losses", 0.5),
    "caption_dropout_every_n_epochs": Row("losses", 2),
    "caption_tag_dropout_rate": Row("losses", 0.5),
    "token_warmup_step": Row("losses", 4.0),
    "token_warmup_min": Row("losses", 3, {"token_warmup_step": 8.0}),
    "clip_skip": Row("losses", 2, idle=("sdxl",)),
    "max_token_length": Row("losses"),
    "no_token_padding": Row("losses"),
    "weighted_captions": Row("losses"),
    # length and place
    "train_batch_size": Row("plan", 1),
    "gradient_accumulation_steps": Row("plan", 2),
    "max_train_steps": Row("plan", 2),
    "max_train_epochs": Row("plan", 1),
    "seed": Row("losses", 2),
    "initial_epoch": Row("losses", 2),
    "initial_step": Row("losses", 2),
    "skip_until_initial_step": Row("losses", given={"initial_step": 1}),
    "resume": Row("losses", lambda stock: stock.state(), {"max_train_steps": 4}),
    # updates
    "learning_rate": Row("rates", 5e-4),
    "learning_rate_te": Row("rates", 5e-5, {"train_text_encoder": True}),
    "learning_rate_te1": Row("rates", 5e-5, {"train_text_encoder": True}),
    "learning_rate_te2": Row("rates", 5e-5, {"train_text_encoder": True}),
    "train_text_encoder": Row("rates"),
    "block_lr": Row("rates", ",".join(["1e-5"] * 22 + ["1e-3"])),
    "unet_lr": Row("rates", 5e-4),
    "text_encoder_lr": Row("rates", (5e-4,)),
    "stop_text_encoder_training": Row("plan", 2),
    "optimizer_type": Row("losses", "SGDNesterov"),
    "optimizer_args": Row("tensors", ("weight_decay=0.9",)),
    "use_8bit_adam": Row("header"),
    "use_lion_optimizer": Row("losses"),
    "fused_backward_pass": Row("tensors", given={"optimizer_type": "SGDNesterov", "learning_rate": 1.0, "max_grad_norm": 1e-4}),
    "fused_optimizer_groups": Row("tensors", 4, {"optimizer_type": "SGDNesterov", "learning_rate": 1.0, "max_grad_norm": 1e-4}),
    "ema_decay": Row("tensors", 0.9),
    "ema_update_interval": Row("tensors", 2, {"ema_decay": 0.9}),
    "max_grad_norm": Row("losses", 1e-4, {"optimizer_type": "SGDNesterov", "learning_rate": 1.0}),
    "lr_scheduler": Row("rates", "cosine"),
    "lr_warmup_steps": Row("rates", 3, SLOW_WARM),
    "lr_decay_steps": Row("rates", 2, STABLE),
    "lr_scheduler_min_lr_ratio": Row("rates", 0.5, STABLE),
    "lr_scheduler_num_cycles": Row("rates", 2, {"lr_scheduler": "cosine_with_restarts"}),
    "lr_scheduler_power": Row("rates", 2.0, {"lr_scheduler": "polynomial"}),
    "lr_scheduler_timescale": Row("rates", 1, {"lr_scheduler": "inverse_sqrt", "lr_warmup_steps": 2}),
    "lr_scheduler_type": Row("rates", "ConstantLR"),
    "lr_scheduler_args": Row("rates", ("factor=0.5",), {"lr_scheduler_type": "ConstantLR"}),
    # adapters
    "network_module": Row("code", "networks.none", codes=(0, 2)),
    "network_dim": Row("shapes", 2),
    "network_alpha": Row("losses", 4.0),
    "network_dropout": Row("tensors", 0.5),
    "network_train_unet_only": Row("rates"),
    "network_train_text_encoder_only": Row("rates"),
    "network_weights": Row("losses", lambda stock: stock.adapter()),
    "dim_from_weights": Row("shapes", given={"network_weights": lambda stock: stock.adapter(network_dim=2)}, codes=(2, 0)),
    "base_weights": Row("losses", lambda stock: (stock.adapter(),)),
    "base_weights_multiplier": Row("losses", (0.5,), {"base_weights": lambda stock: (stock.adapter(),)}),
    "scale_weight_norms": Row("tensors", 1e-3),
    "network_args": Row("tensors", ("rank_dropout=0.5",)),
    "conv_dim": Row("shapes", 2),
    "conv_alpha": Row("losses", 4.0, {"conv_dim": 2}),
    "rank_dropout": Row("tensors", 0.5),
    "module_dropout": Row("tensors", 0.5),
    "loraplus_lr_ratio": Row("rates", 4.0),
    "loraplus_unet_lr_ratio": Row("rates", 4.0),
    "loraplus_text_encoder_lr_ratio": Row("rates", 4.0),
    "block_dims": Row("shapes", blocks),
    "block_alphas": Row("losses", blocks, {"block_dims": blocks}),
    "conv_block_dims": Row("shapes", blocks, {"block_dims": blocks}),
    "conv_block_alphas": Row("losses", blocks, {"block_dims": blocks, "conv_block_dims": blocks}),
    "down_lr_weight": Row("rates", "cosine"),
    "mid_lr_weight": Row("rates", "0.5"),
    "up_lr_weight": Row("rates", "cosine"),
    "block_lr_zero_threshold": Row("shapes", 0.6, {"mid_lr_weight": "0.5"}),
    "dora_wd": Row("tensors"),
    "rs_lora": Row("losses"),
    "pissa": Row("shapes"),
    "tlora_min_rank": Row("tensors", 1),
    "tlora_alpha": Row("tensors", 3.0, {"tlora_min_rank": 1}),
    "unit": Row("tensors", 2, {"network_module": "networks.dylora"}),
    "factor": Row("shapes", 2, LOKR),
    "decompose_both": Row("shapes", given={**LOKR, "network_dim": 1}),
    "full_matrix": Row("shapes", given={**LOKR, "network_dim": 1}),
    "use_tucker": Row("shapes", given={"network_module": "networks.loha", "conv_dim": 2}),
    "enable_all_linear": Row("shapes", given=OFT),
    "enable_conv": Row("shapes", given=OFT),
    "include_patterns": Row("shapes", "*attn1*", {"exclude_patterns": "*attn*"}),
    "exclude_patterns": Row("shapes", "*attn1*"),
    "network_reg_dims": Row("shapes", "*attn1*=2"),
    "network_reg_lrs": Row("rates", "*attn1*=1e-4"),
    "algo": Row("shapes", "loha", LYCORIS),
    "preset": Row("shapes", "attn-only", LYCORIS),
    "block_size": Row("tensors", 2, {**LYCORIS, "algo": "dylora"}),
    "bypass_mode": Row("losses", given={**LYCORIS, "algo": "loha"}),
    "constraint": Row("losses", 1e-6, {**LYCORIS, "algo": "diag-oft"}),
    "rescaled": Row("shapes", given={**LYCORIS, "algo": "diag-oft"}),
    "dropout": Row("tensors", 0.5, {**LYCORIS, "bypass_mode": True}),
    "rank_dropout_scale": Row("losses", given={**LYCORIS, "rank_dropout": 0.5}),
    "train_on_input": Row("shapes", given={**LYCORIS, "algo": "ia3"}),
    "train_norm": Row("shapes", given={**LYCORIS, "preset": "full"}),
    "unbalanced_factorization": Row("shapes", given={**LYCORIS, "algo": "lokr"}),
    "use_cp": Row("shapes", given={**LYCORIS, "conv_dim": 2}),
    "use_scalar": Row("tensors", given=LYCORIS),
    "wd_on_output": Row("shapes", given={**LYCORIS, "dora_wd": True}),
    # a word
    "token_string": Row("losses", "zzq", WORD),
    "init_word": Row("losses", "dog", WORD),
    "num_vectors_per_token": Row("losses", 2, WORD),
    "embedding_lr": Row("rates", 1e-2, WORD),
    "bundle_embedding": Row("shapes", given=WORD),
    "use_object_template": Row("losses"),
    "use_style_template": Row("losses"),
    "weights": Row("losses", lambda stock: stock.embedding()),
    # loss and noise
    "loss_type": Row("losses", "l1"),
    "huber_c": Row("losses", 0.5, HUBER),
    "huber_scale": Row("losses", 2.0, HUBER),
    "huber_schedule": Row("losses", "constant", HUBER),
    "min_snr_gamma": Row("losses", 0.5),
    "debiased_estimation_loss": Row("losses"),
    "p2_gamma": Row("losses", 1.0),
    "p2_k": Row("losses", 2.0, {"p2_gamma": 1.0}),
    "scale_v_pred_loss_like_noise_pred": Row("losses", given=VELOCITY),
    "v_pred_like_loss": Row("losses", 0.5),
    "noise_offset": Row("losses", 0.1),
    "noise_offset_random_strength": Row("losses", given=OFFSET),
    "adaptive_noise_scale": Row("losses", 0.5, OFFSET),
    "multires_noise_iterations": Row("losses", 3),
    "multires_noise_discount": Row("losses", 0.8, {"multires_noise_iterations": 3}),
    "ip_noise_gamma": Row("losses", 0.1),
    "ip_noise_gamma_random_strength": Row("losses", given=IP),
    "zero_terminal_snr": Row("losses", given=VELOCITY),
    "min_timestep": Row("losses", 500),
    "max_timestep": Row("losses", 500),
    "timestep_curve": Row("losses", "logit_normal"),
    "timestep_curve_mean": Row("losses", 1.0, {"timestep_curve": "logit_normal"}),
    "timestep_curve_std": Row("losses", 0.5, {"timestep_curve": "logit_normal"}),
    "timestep_curve_power": Row("losses", 3.0, {"timestep_curve": "low_noise"}),
    "preservation_class": Row("losses", "dog", {"preservation_trigger": "cat"}),
    "preservation_trigger": Row("losses", "cold", PRESERVED),
    "preservation_weight": Row("losses", 0.25, PRESERVED),
    "reg_output_preservation": Row("losses", given={"reg_data_dir": lambda stock: stock.two_pictures}),
    "validation_split": Row("plan", 0.25),
    "validation_seed": Row("validation", 7, KEPT),
    "validate_every_n_steps": Row("validation", 1, KEPT),
    "validate_every_n_epochs": Row("validation", 2, {"validation_split": 0.5}),
    "max_validation_steps": Row("validation", 1, KEPT),
    # model, memory and speed
    "pretrained_model_name_or_path": Row("losses", lambda stock: stock.other_model),
    "vae": Row("losses", lambda stock: stock.vae),
    "no_half_vae": Row("losses", given={"mixed_precision": "bf16"}),
    "v2": Row("code", idle=("sdxl",), codes=(0, 2)),
    "v_parameterization": Row("losses"),
    "mixed_precision": Row("losses", "bf16"),
    "full_fp16": Row("losses", given={"mixed_precision": "fp16", "no_half_vae": True}, idle=("embedding",)),
    "full_bf16": Row("losses", given={"mixed_precision": "bf16"}, idle=("embedding",)),
    "fp8_base": Row("losses", idle=("dreambooth", "finetune")),
    "fp8_base_unet": Row("losses"),
    "quantize_base": Row("losses", "int8"),
    "gradient_checkpointing": Row("calls"),
    "gradient_checkpointing_every": Row("calls", 2, CHECKPOINTED),
    "cache_latents": Row("phases"),
    "cache_latents_to_disk": Row("files"),
    "skip_cache_check": Row("losses", given={"cache_latents_to_disk": True, "train_data_dir": lambda stock: stock.stale_cache()}),
    "vae_batch_size": Row("calls", 2, {"cache_latents": True}),
    "cache_text_encoder_outputs": Row("phases", given=FIXED_TEXT),
    "cache_text_encoder_outputs_to_disk": Row("files", given=FIXED_TEXT),
    "text_encoder_cache_variants": Row("losses", 3, {"cache_text_encoder_outputs": True, "text_encoder_cache_variants": 2, **SHUFFLED, **FIXED_TEXT}),
    # files
    "output_dir": Row("files", lambda stock: stock.new("elsewhere")),
    "output_name": Row("files", "dog"),
    "save_model_as": Row("files", "ckpt"),
    "use_safetensors": Row("files", given={"pretrained_model_name_or_path": lambda stock: stock.pickled_model}),
    "save_precision": Row("types", "fp16"),
    "save_every_n_epochs": Row("plan", 1),
    "save_every_n_steps": Row("plan", 1),
    "save_n_epoch_ratio": Row("plan", 2),
    "save_last_n_epochs": Row("files", 1, EPOCHS),
    "save_last_n_steps": Row("files", 1, STEPS),
    "save_last_n_epochs_state": Row("files", 1, {**EPOCHS, **BOTH}),
    "save_last_n_steps_state": Row("files", 1, {**STEPS, **BOTH}),
    "save_state": Row("files", given=STEPS),
    "save_state_on_train_end": Row("files"),
    "no_metadata": Row("header"),
    "training_comment": Row("header", "a note"),
    **{f"metadata_{name}": Row("header", "a note") for name in
       ("author", "description", "is_negative_embedding", "license", "merged_from", "preprocessor", "tags", "title", "trigger_phrase", "usage_hint")},
    "metadata_thumbnail": Row("header", lambda stock: stock.picture),
    "sample_prompts": Row("samples", lambda stock: stock.other_prompts, {**PREVIEW, "sample_every_n_steps": 4}),
    "sample_at_first": Row("plan", given=PREVIEW),
    "sample_every_n_steps": Row("plan", 2, PREVIEW),
    "sample_every_n_epochs": Row("plan", 1, PREVIEW),
    "sample_sampler": Row("samples", "euler", {**PREVIEW, "sample_every_n_steps": 4}),
    # logs
    "logging_dir": Row("files", lambda stock: stock.new("logs")),
    "log_prefix": Row("files", "first", LOGGED),
    "log_tracker_name": Row("files", "own", LOGGED),
    "log_config": Row("files", given=LOGGED),
    "log_with": Row("code", "tensorboard", codes=(0, 2)),
    "log_tracker_config": Row("files", lambda stock: stock.tracker_settings, LOGGED),
    "console_log_level": Row("said", "ERROR"),
    "console_log_file": Row("said", lambda stock: stock.new("console.txt")),
    "config_file": Row("losses", lambda stock: stock.config_file),
    "output_config": Row("files", given={"config_file": lambda stock: stock.new("written.toml")}, codes=(2, 0)),
}  # fmt: skip

EXEMPT: dict[str, str] = {
    "max_data_loader_n_workers": "how many processes read, never what: test_train_network.py counts them and proves the same numbers",
    "disable_mmap_load_safetensors": "how a file is read, never what: test_sdxl_family.py sees it read and the same weights come out",
    "cpu_offload_checkpointing": "where activations lie between the passes, which no number shows: test_recompute.py sees a training move them",
    "ema_cpu_only": "where the average lies, never what it is: test_average.py sees the place",
    "torch_compile": "how blocks are computed, never what: test_compiling.py counts what is compiled",
    "dynamo_backend": "how blocks are computed, never what: test_compiling.py sees which backend compiled them",
    "wandb_run_name": "it stands in the service's own file alone: training/test_curves.py reads that",
    "huggingface_repo_id": "where files go: test_uploads.py, against a server",
    "huggingface_repo_type": "where files go: test_uploads.py, against a server",
    "huggingface_path_in_repo": "where files go: test_uploads.py, against a server",
    "huggingface_repo_visibility": "what is asked of a server: test_uploads.py",
    "save_state_to_huggingface": "what goes to a server: test_uploads.py",
    "resume_from_huggingface": "what comes from a server: test_uploads.py",
    "async_upload": "when files go, never which: test_uploads.py sees the training go on before a server has taken them",
    "ddp_timeout": "how long several processes wait for one that does not answer: test_runtime.py reads it from the groups that torch makes",
    "wandb_api_key": "a secret, which no file may show: training/test_curves.py, where it lets a training begin",
    "huggingface_token": "a secret, which no file may show: test_uploads.py, where a server receives it",
}
"""Options without a proof of this kind, each with the reason and the test that has it: a file that names the option."""
