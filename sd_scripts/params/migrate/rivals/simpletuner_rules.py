"""SimpleTuner's options: what each is here."""

from __future__ import annotations

import json
from typing import Any

from sd_scripts.params.migrate.ledger import shown
from sd_scripts.params.migrate.rivals.optimizer_words import from_text, joined, words_of
from sd_scripts.params.migrate.rivals.reading import (
    Reading,
    Rule,
    as_number,
    beside,
    choice,
    dotted,
    is_true,
    known_keys,
    part_of,
    switch,
    to,
    without,
)
from sd_scripts.params.migrate.rivals.simpletuner_pictures import PICTURES
from sd_scripts.params.migrate.shared import NOT_SET
from sd_scripts.params.network import LORA_MODULE, LYCORIS_MODULE

OPTIMIZERS = {
    "adamw_bf16": "AdamW",
    "ao-adamw8bit": "AdamW8bit",
    "ao-adamw4bit": "AdamW8bit",
    "optimi-adamw": "AdamW",
    "optimi-adam": "Adam",
    "optimi-radam": "RAdam",
    "optimi-sgd": "SGD",
    "optimi-lion": "Lion",
    "adamw_schedulefree": "AdamWScheduleFree",
    "adamw_schedulefree+aggressive": "AdamWScheduleFree",
    "adamw_schedulefree+no_kahan": "AdamWScheduleFree",
    "soap": "SOAP",
    "prodigy": "Prodigy",
    "bnb-adagrad": "Adagrad",
    "bnb-adagrad8bit": "bitsandbytes.optim.Adagrad8bit",
    "bnb-adam": "Adam",
    "bnb-adam8bit": "bitsandbytes.optim.Adam8bit",
    "bnb-adamw": "AdamW",
    "bnb-adamw8bit": "AdamW8bit",
    "bnb-adamw-paged": "PagedAdamW",
    "bnb-adamw8bit-paged": "PagedAdamW8bit",
    "bnb-lion": "Lion",
    "bnb-lion8bit": "Lion8bit",
    "bnb-lion8bit-paged": "PagedLion8bit",
    "bnb-ademamix8bit": "bitsandbytes.optim.AdEMAMix8bit",
    "bnb-ademamix8bit-paged": "bitsandbytes.optim.PagedAdEMAMix8bit",
    "muon": "Muon",
}
SAME_THING = ("adamw_bf16", "ao-adamw4bit", "adamw_schedulefree+aggressive", "adamw_schedulefree+no_kahan", "ao-adamw8bit")
"""Optimizers of which only a relative is built here."""
SCHEDULES = {name: name for name in ("constant", "constant_with_warmup", "cosine", "cosine_with_restarts", "polynomial", "linear")}
EMPTY = ("none", "", "no_change")
LYCORIS_WORDS = (
    "algo", "factor", "conv_dim", "conv_alpha", "use_tucker", "use_scalar", "rank_dropout", "module_dropout", "dropout", "full_matrix",
    "decompose_both", "bypass_mode", "rescaled", "constraint", "block_size", "train_norm", "preset", "dora_wd", "wd_on_output",
)  # fmt: skip
"""Settings of LyCORIS that are arguments of its adapter here."""


def _family(reading: Reading, key: str, value: Any) -> None:
    if str(value) == "sd2x":
        reading.give("v2", True)
    reading.family_row(key, value)


def _adapter_kind(reading: Reading, key: str, value: Any) -> None:
    if reading.method != "adapter":
        reading.ledger.skip(key, value, "No adapter is trained.")
    elif str(value) == "lycoris":
        reading.ledger.take(key, value, name="network_module", made=LYCORIS_MODULE)
    else:
        reading.ledger.take(key, value, name="network_module", made=LORA_MODULE)


def _of_adapter(rule: Rule) -> Rule:
    def of_adapter(reading: Reading, key: str, value: Any) -> None:
        if reading.method != "adapter":
            reading.ledger.skip(key, value, "No adapter is trained.")
        elif str(reading.value("lora_type", "standard")) == "lycoris" and key in ("lora_rank", "lora_alpha"):
            reading.ledger.skip(key, value, "lycoris_config counts.")
        else:
            rule(reading, key, value)

    return of_adapter


def _alpha(reading: Reading, key: str, value: Any) -> None:
    """Alpha is the rank where nothing is said."""
    reading.ledger.take(key, value, name="network_alpha", made=value if as_number(value) else reading.value("lora_rank"))


def _rank(reading: Reading, key: str, value: Any) -> None:
    if reading.value("lora_alpha") in NOT_SET:
        reading.give("network_alpha", as_number(value))
    reading.ledger.take(key, value, name="network_dim")


def _lycoris(reading: Reading, key: str, value: Any) -> None:
    """A file of LyCORIS's own: its algorithm, size and arguments."""
    ledger = reading.ledger
    if str(reading.value("lora_type", "standard")) != "lycoris":
        ledger.skip(key, value, "The adapter is none of LyCORIS.")
        return
    found = beside(reading, str(value))
    try:
        document = json.loads(found.read_text("utf-8-sig")) if found else None
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        ledger.keep(key, value, note="The file with LyCORIS's settings is not there.")
        return
    words = []
    for name, item in dotted(document).items():
        full = f"{key}.{name}"
        if name in ("linear_dim", "linear_alpha"):
            option = "network_dim" if name == "linear_dim" else "network_alpha"
            ledger.take(full, item, name=option)
        elif name in LYCORIS_WORDS and not isinstance(item, (list, dict)):
            words.append(f"{name}={shown(item)}")
            ledger.convert(full, item, became=f"network_args {words[-1]}")
        elif name == "multiplier" and as_number(item) == 1:
            ledger.skip(full, item)
        else:
            ledger.keep(full, item, note="A preset of layers is a file of LyCORIS's own (preset).")
    if words:
        reading.give("network_args", words)
    ledger.convert(key, value, became=f"network_args {joined(words)}")


def _optimizer(reading: Reading, key: str, value: Any) -> None:
    name, ledger = str(value).lower(), reading.ledger
    made = OPTIMIZERS.get(name)
    if made is None:
        ledger.keep(key, value, note="There is no such optimizer here.")
        ledger.warn("optimizer_type", f"The optimizer {value} is not known here.", "Choose one: AdamW is taken otherwise.")
        return
    arguments: dict[str, Any] = dict(from_text(str(reading.value("optimizer_config") or "")))
    for option, argument in ARGUMENT_OPTIONS.items():
        if as_number(reading.said.get(option)) is not None:
            arguments[argument] = reading.said[option]
    words, used = words_of(made, arguments)
    if "betas" in arguments and "betas" not in used:
        words.append(f"betas={arguments['betas']}")
    if words:
        reading.give("optimizer_args", words)
    reading.used_arguments = used
    note = joined(words)
    if name in SAME_THING:
        note = f"The nearest that is built here, with {note}." if note else "The nearest that is built here."
    ledger.take(key, value, name="optimizer_type", made=made, note=note)


ARGUMENT_OPTIONS = {
    "optimizer_beta1": "beta1",
    "optimizer_beta2": "beta2",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "adam_weight_decay": "weight_decay",
    "adam_epsilon": "eps",
    "prodigy_steps": "prodigy_steps",
}
"""Options that are arguments of the optimizer here."""


def _argument(reading: Reading, key: str, value: Any) -> None:
    usual = known_keys("simpletuner.json").get(key, (None, ""))[0]
    if value in NOT_SET or as_number(value) == as_number(usual):
        reading.ledger.skip(key, value)
    elif ARGUMENT_OPTIONS[key] in reading.used_arguments:
        reading.ledger.convert(key, value, became="optimizer_args")
    else:
        reading.ledger.keep(key, value, note="The chosen optimizer takes no such argument here, or takes both betas together.")


def _arguments(reading: Reading, key: str, value: Any) -> None:
    if value in NOT_SET:
        reading.ledger.skip(key, value)
        return
    for name, item in from_text(str(value)).items():
        if name in reading.used_arguments or name == "betas":
            reading.ledger.convert(f"{key} {name}", item, became=f"optimizer_args {name}={item}")
        else:
            reading.ledger.keep(f"{key} {name}", item, note="The chosen optimizer takes no such argument here.")
    reading.ledger.convert(key, value, note="Its words are arguments of the optimizer.")


def _length(reading: Reading, key: str, value: Any) -> None:
    """0 leaves the length of the run to the other of the two."""
    if not (as_number(value) or 0) > 0:
        reading.ledger.skip(key, value)
    elif key == "num_train_epochs" and reading.number("max_train_steps") > 0:
        reading.ledger.keep(key, value, note="max_train_steps counts.")
    else:
        reading.ledger.take(key, value, name="max_train_epochs" if key == "num_train_epochs" else "max_train_steps")


def _precision_of_weights(reading: Reading, key: str, value: Any) -> None:
    kind, ledger = str(value).lower(), reading.ledger
    if kind in EMPTY:
        ledger.skip(key, value)
    elif reading.method != "adapter" or key != "base_model_precision":
        ledger.keep(key, value, note="Weights are not held in that type here.")
    elif kind.startswith("int8"):
        ledger.take(key, value, name="quantize_base", made="int8")
    elif kind.startswith(("nf4", "int4", "fp4")):
        ledger.take(key, value, name="quantize_base", made="nf4")
    elif kind.startswith("fp8"):
        ledger.take(key, value, name="fp8_base", made=True)
    else:
        ledger.keep(key, value, note="Weights are not held in that type here.")


def _train_text(reading: Reading, key: str, value: Any) -> None:
    """Text encoders stay as they are unless told otherwise."""
    if reading.method == "adapter":
        if is_true(value):
            reading.ledger.skip(key, value)
        else:
            reading.ledger.take(key, value, name="network_train_unet_only", made=True)
    elif "train_text_encoder" in reading.command.by_name:
        if is_true(value):
            reading.ledger.take(key, value, name="train_text_encoder", made=True)
        else:
            reading.ledger.skip(key, value)
    elif is_true(value):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.take(key, value, name="stop_text_encoder_training", made=-1, note="It is never trained.")


def _text_rate(reading: Reading, key: str, value: Any) -> None:
    if not is_true(reading.value("train_text_encoder")) or value in NOT_SET:
        reading.ledger.skip(key, value)
    else:
        reading.ledger.take(key, value, name="text_encoder_lr" if reading.method == "adapter" else "learning_rate_te")


def _noise_offset(reading: Reading, key: str, value: Any) -> None:
    if not is_true(reading.value("offset_noise")):
        reading.ledger.skip(key, value, "offset_noise switches it on.")
    else:
        reading.ledger.take(key, value, name="noise_offset")


def _ema(reading: Reading, key: str, value: Any) -> None:
    if not is_true(value):
        reading.ledger.skip(key, value)
        return
    if is_true(reading.value("ema_cpu_only")) or str(reading.value("ema_device", "cpu")) == "cpu":
        reading.give("ema_cpu_only", True)
    interval = as_number(reading.value("ema_update_interval"))
    if interval:
        reading.give("ema_update_interval", int(interval))
    reading.ledger.take(key, value, name="ema_decay", made=as_number(reading.value("ema_decay")) or 0.995)


def _if_ema(reading: Reading, key: str, value: Any) -> None:
    if value in (*NOT_SET, False):
        reading.ledger.skip(key, value)
    elif is_true(reading.value("use_ema")):
        reading.ledger.convert(key, value, became="ema_decay" if key == "ema_decay" else "ema_cpu_only" if "cpu" in key else "ema_update_interval")
    else:
        reading.ledger.skip(key, value, "There is no average.")


def _saves(reading: Reading, key: str, value: Any) -> None:
    """Checkpoints there are states that a run goes on from."""
    if not (as_number(value) or 0) > 0:
        reading.ledger.skip(key, value)
        return
    reading.give("save_state", True)
    name = "save_every_n_epochs" if "epoch" in key else "save_every_n_steps"
    reading.ledger.take(key, value, name=name, made=int(as_number(value) or 0), note="With a state each time (save_state).")


def _kept_saves(reading: Reading, key: str, value: Any) -> None:
    every, limit = reading.number("checkpoint_step_interval"), as_number(value)
    if not limit or not every:
        reading.ledger.skip(key, value)
        return
    reading.give("save_last_n_steps_state", int(limit * every))
    note = f"The last {limit:g} files, of which one comes every {every:g} steps."
    reading.ledger.take(key, value, name="save_last_n_steps", made=int(limit * every), note=note)


def _push(reading: Reading, key: str, value: Any) -> None:
    if is_true(value) and reading.value("hub_model_id"):
        reading.give("huggingface_repo_type", "model")
        reading.ledger.take(key, value, name="huggingface_repo_id", made=str(reading.value("hub_model_id")))
    elif is_true(value):
        reading.ledger.keep(key, value, note="No repository is named.")
    else:
        reading.ledger.skip(key, value)


def _repository(reading: Reading, key: str, value: Any) -> None:
    if is_true(reading.value("push_to_hub")):
        reading.ledger.convert(key, value, became="huggingface_repo_id")
    else:
        reading.ledger.keep(key, value, note="Nothing is pushed.")


def _clipping(reading: Reading, key: str, value: Any) -> None:
    if str(reading.value("grad_clip_method", "value")) == "norm" or not as_number(value):
        reading.ledger.take(key, value, name="max_grad_norm")
    else:
        reading.ledger.keep(key, value, note="There each value is clipped, here the norm of them all.")


def _tracker(reading: Reading, key: str, value: Any) -> None:
    if value in NOT_SET:
        reading.ledger.skip(key, value)
    elif str(reading.value("report_to", "none")) in ("wandb", "all"):
        reading.ledger.take(key, value, name="log_tracker_name" if key == "tracker_project_name" else "wandb_run_name")
    else:
        reading.ledger.keep(key, value, note="It has an effect with Weights & Biases alone.")


RULES: dict[str, Rule] = {
    "model_family": _family,
    "model_type": part_of("script"),
    "lora_type": _adapter_kind,
    "lora_rank": _of_adapter(_rank),
    "lora_alpha": _of_adapter(_alpha),
    "lora_dropout": _of_adapter(to("network_dropout")),
    "init_lora": _of_adapter(to("network_weights")),
    "use_dora": _of_adapter(switch("dora_wd")),
    "lycoris_config": _lycoris,
    "pretrained_model_name_or_path": to("pretrained_model_name_or_path"),
    "pretrained_vae_model_name_or_path": to("vae"),
    "vae_dtype": choice("no_half_vae", {"fp32": True}, same_as=("default", "fp16", "bf16")),
    "prediction_type": choice("v_parameterization", {"v_prediction": True}, same_as=("epsilon",)),
    "output_dir": to("output_dir"),
    "logging_dir": to("logging_dir"),
    "seed": to("seed", lambda value: int(value) if int(value) >= 0 else None),
    "num_train_epochs": _length,
    "max_train_steps": _length,
    "train_batch_size": to("train_batch_size"),
    "gradient_accumulation_steps": to("gradient_accumulation_steps"),
    "gradient_checkpointing": switch("gradient_checkpointing"),
    "gradient_checkpointing_interval": to("gradient_checkpointing_every"),
    "learning_rate": to("learning_rate"),
    "text_encoder_lr": _text_rate,
    "train_text_encoder": _train_text,
    "lr_scheduler": choice("lr_scheduler", SCHEDULES),
    "lr_warmup_steps": to("lr_warmup_steps", lambda value: int(float(value))),
    "lr_num_cycles": to("lr_scheduler_num_cycles"),
    "lr_power": to("lr_scheduler_power"),
    "optimizer": _optimizer,
    "optimizer_config": _arguments,
    **dict.fromkeys(ARGUMENT_OPTIONS, _argument),
    "mixed_precision": choice("mixed_precision", {"bf16": "bf16", "fp16": "fp16", "no": "no"}),
    "base_model_precision": _precision_of_weights,
    "text_encoder_1_precision": _precision_of_weights,
    "text_encoder_2_precision": _precision_of_weights,
    "text_encoder_3_precision": _precision_of_weights,
    "text_encoder_4_precision": _precision_of_weights,
    "attention_mechanism": choice("sdpa", {"diffusers": True, "xformers": True, "flash-attn": True, "flash-attn-2": True, "flash-attn-3": True}),
    "max_grad_norm": _clipping,
    "grad_clip_method": without("The norm of all gradients is clipped here (max_grad_norm).", default="norm"),
    "fuse_optimizer": switch("fused_backward_pass"),
    "optimizer_release_gradients": switch("fused_backward_pass"),
    "snr_gamma": to("min_snr_gamma"),
    "loss_type": choice("loss_type", {"huber": "huber", "smooth_l1": "smooth_l1"}, same_as=("l2",)),
    "huber_schedule": to("huber_schedule"),
    "huber_c": to("huber_c"),
    "offset_noise": part_of("noise_offset"),
    "noise_offset": _noise_offset,
    "input_perturbation": to("ip_noise_gamma"),
    "rescale_betas_zero_snr": switch("zero_terminal_snr"),
    "use_ema": _ema,
    "ema_decay": _if_ema,
    "ema_update_interval": _if_ema,
    "ema_cpu_only": _if_ema,
    "ema_device": _if_ema,
    "checkpoint_step_interval": _saves,
    "checkpoint_epoch_interval": _saves,
    "checkpoints_total_limit": _kept_saves,
    "push_to_hub": _push,
    "hub_model_id": _repository,
    "report_to": choice("log_with", {"tensorboard": "tensorboard", "wandb": "wandb", "all": "all"}, same_as=("none",)),
    "tracker_project_name": _tracker,
    "tracker_run_name": _tracker,
    "num_processes": to("num_processes"),
    "dynamo_backend": choice("dynamo_backend", {"inductor": "inductor"}, same_as=("no",)),
    "max_workers": to("max_data_loader_n_workers"),
    "tokenizer_max_length": choice("max_token_length", {"150": 150, "225": 225}, same_as=("75", "77")),
    **PICTURES,
}
