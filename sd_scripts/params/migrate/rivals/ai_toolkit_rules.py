"""ai-toolkit's keys: what each is here."""

from __future__ import annotations

from typing import Any

from sd_scripts.params.migrate.rivals.ai_toolkit_learning import LEARNING
from sd_scripts.params.migrate.rivals.ai_toolkit_pictures import PICTURES
from sd_scripts.params.migrate.rivals.optimizer_words import SPELLED_OUT, joined, words_of
from sd_scripts.params.migrate.rivals.reading import Reading, Rule, as_number, choice, is_true, part_of, switch, to
from sd_scripts.params.migrate.shared import NOT_SET
from sd_scripts.params.network import LOKR_MODULE, LORA_MODULE

DTYPES = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "fp32": "float", "float32": "float", "float": "float"}
OPTIMIZERS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "adamw8bit": "AdamW8bit",
    "adam8bit": "bitsandbytes.optim.Adam8bit",
    "lion": "Lion",
    "lion8bit": "Lion8bit",
    "adagrad": "Adagrad",
    "adafactor": "Adafactor",
    "prodigy": "Prodigy",
    "dadaptation": "DAdaptAdam",
    "dadaptadam": "DAdaptAdam",
    "dadaptlion": "DAdaptLion",
    "sgd": "SGD",
    "came": "pytorch_optimizer.CAME",
    "muon": "Muon",
    "ademamix8bit": "bitsandbytes.optim.AdEMAMix8bit",
}
SMALL = {"qfloat8": "fp8", "float8": "fp8", "qint8": "int8", "int8": "int8", "qint4": "nf4", "uint4": "nf4", "int4": "nf4", "nf4": "nf4"}
PROCESSES = ("sd_trainer", "diffusion_trainer", "ui_trainer", "textual_inversion_trainer", "diffusers_trainer", "textual_inversion")
"""Kinds of process that train as is done here."""


def _name(reading: Reading, key: str, value: Any) -> None:
    """The name is that of the files, and of the folder that they go into."""
    place = str(reading.value("training_folder") or "").rstrip("/\\")
    if place:
        reading.give("output_dir", f"{place}/{value}")
    reading.ledger.take(key, value, name="output_name", note="Its folder too." if place else "")


def _place(reading: Reading, key: str, value: Any) -> None:
    if reading.value("config.name"):
        reading.ledger.convert(key, value, became=f"output_dir = {str(value).rstrip('/')}/{reading.value('config.name')}")
    else:
        reading.ledger.take(key, value, name="output_dir")


def _device(reading: Reading, key: str, value: Any) -> None:
    kind, _, number = str(value).partition(":")
    if kind == "cuda" and number not in ("", "0"):
        reading.ledger.take(key, value, name="gpu_ids", made=number)
    else:
        reading.ledger.skip(key, value)


def _network(reading: Reading, key: str, value: Any) -> None:
    name, ledger = str(value).lower(), reading.ledger
    if name in ("lora", "locon"):
        ledger.take(key, value, name="network_module", made=LORA_MODULE)
    elif name == "lokr":
        ledger.take(key, value, name="network_module", made=LOKR_MODULE)
    else:
        ledger.keep(key, value, note="No adapter of that name is built here.")


def _conv(name: str) -> Rule:
    """Ranks of convolutions count where there are any."""

    def conv(reading: Reading, key: str, value: Any) -> None:
        if as_number(value) and as_number(reading.value("network.conv")):
            reading.ledger.take(key, value, name=name)
        else:
            reading.ledger.skip(key, value)

    return conv


def _rate_of(part: str) -> Rule:
    """A part's own rate there, which has a name of its own for adapters and for whole models."""

    def rate(reading: Reading, key: str, value: Any) -> None:
        ledger = reading.ledger
        if value in NOT_SET or reading.method == "embedding":
            ledger.skip(key, value)
        elif part == "unet":
            ledger.take(key, value, name="unet_lr" if reading.method == "adapter" else "learning_rate")
        elif reading.method == "adapter":
            if is_true(reading.value("train.train_text_encoder")):
                ledger.take(key, value, name="text_encoder_lr")
            else:
                ledger.skip(key, value, "The text encoder is not trained.")
        else:
            names = [name for name in ("learning_rate_te", "learning_rate_te1", "learning_rate_te2") if name in reading.command.by_name]
            for name in names:
                reading.give(name, float(as_number(value) or 0.0))
            ledger.convert(key, value, became=", ".join(names))

    return rate


def _main_rate(reading: Reading, key: str, value: Any) -> None:
    own = reading.value("train.embedding_lr") if reading.method == "embedding" else None
    mine = "train.embedding_lr" if own is not None else "train.lr"
    if key == mine:
        reading.ledger.take(key, value, name="learning_rate")
    else:
        reading.ledger.skip(key, value, "" if value in NOT_SET else "The other rate counts.")


def _train_text(reading: Reading, key: str, value: Any) -> None:
    ledger, on = reading.ledger, is_true(value)
    if reading.method == "embedding":
        ledger.skip(key, value)
    elif reading.method == "adapter":
        if on:
            ledger.skip(key, value)
        elif is_true(reading.value("train.train_unet", True)):
            ledger.take(key, value, name="network_train_unet_only", made=True)
        else:
            ledger.keep(key, value, note="Something has to be trained.")
    elif "train_text_encoder" in reading.command.by_name:
        if on:
            ledger.take(key, value, name="train_text_encoder", made=True)
        else:
            ledger.skip(key, value)
    elif on:
        ledger.skip(key, value)
    else:
        ledger.take(key, value, name="stop_text_encoder_training", made=-1, note="It is never trained.")


def _train_unet(reading: Reading, key: str, value: Any) -> None:
    if is_true(value) or reading.method == "embedding":
        reading.ledger.skip(key, value)
    elif reading.method == "adapter" and is_true(reading.value("train.train_text_encoder")):
        reading.ledger.take(key, value, name="network_train_text_encoder_only", made=True)
    else:
        reading.ledger.keep(key, value, note="The U-Net is trained along with its text encoder here.")


def _optimizer(reading: Reading, key: str, value: Any) -> None:
    name, ledger = str(value), reading.ledger
    made = OPTIMIZERS.get(name.lower().replace("_", ""))
    if made is None:
        ledger.keep(key, value, note="There is no such optimizer here.")
        ledger.warn("optimizer_type", f"The optimizer {name} is not known here.", "Choose one: AdamW is taken otherwise.")
        return
    start = "train.optimizer_params."
    said = {name.removeprefix(start): item for name, item in reading.said.items() if name.startswith(start)}
    said = {**SPELLED_OUT.get(made, {}), **said}
    betas = said.pop("betas", None)
    words, used = words_of(made, said)
    if isinstance(betas, list) and len(betas) > 1:
        words.append(f"betas={','.join(map(str, betas))}")
        used.add("betas")
    if words:
        reading.give("optimizer_args", words)
    reading.used_arguments = used
    for argument, item in {**said, **({"betas": betas} if betas else {})}.items():
        if start + argument not in reading.said:
            continue
        if argument in used:
            ledger.convert(start + argument, item, became="optimizer_args")
        else:
            ledger.keep(start + argument, item, note="The chosen optimizer takes no such argument here.")
    ledger.take(key, value, name="optimizer_type", made=made, note=joined(words))


def _optimizer_param(reading: Reading, key: str, value: Any) -> None:
    """Accounted for with the optimizer, where that is known."""
    if not any(row.key == key for row in reading.ledger.rows):
        reading.ledger.keep(key, value, note="It is an argument of an optimizer that is not known here.")


def _schedule_param(reading: Reading, key: str, value: Any) -> None:
    name, ledger = key.rpartition(".")[2], reading.ledger
    option = {"num_warmup_steps": "lr_warmup_steps", "warmup_steps": "lr_warmup_steps", "num_cycles": "lr_scheduler_num_cycles"}.get(name)
    if option:
        ledger.take(key, value, name=option, made=int(float(value)))
    elif name == "power":
        ledger.take(key, value, name="lr_scheduler_power")
    elif name in ("factor", "total_iters", "eta_min", "T_max", "T_0", "min_lr"):
        ledger.keep(key, value, note="Its schedule is written otherwise here.")
    else:
        ledger.keep(key, value, note="There is no such argument of a schedule here.")


def _precision(reading: Reading, key: str, value: Any) -> None:
    made = DTYPES.get(str(value).lower())
    if made is None:
        reading.ledger.keep(key, value, note="The computation runs in fp16, bf16 or 32 bits here.")
    else:
        reading.ledger.take(key, value, name="mixed_precision", made="no" if made == "float" else made)


def _kept_saves(reading: Reading, key: str, value: Any) -> None:
    """A number of files there, a number of steps here."""
    every, count = reading.number("save.save_every"), as_number(value)
    if count and every:
        note = f"The last {count:g} files, of which one comes every {every:g} steps."
        reading.ledger.take(key, value, name="save_last_n_steps", made=int(count * every), note=note)
    else:
        reading.ledger.skip(key, value)


def _format(reading: Reading, key: str, value: Any) -> None:
    if str(value) == "diffusers" and reading.is_whole:
        reading.ledger.take(key, value, name="save_model_as")
    elif str(value) == "diffusers":
        reading.ledger.keep(key, value, note="Files are written under kohya's names, which other programs read.")
    else:
        reading.ledger.skip(key, value)


def _push(reading: Reading, key: str, value: Any) -> None:
    if is_true(value) and reading.value("save.hf_repo_id"):
        reading.give("huggingface_repo_id", str(reading.value("save.hf_repo_id")))
        reading.give("huggingface_repo_type", "model")
        reading.give("huggingface_repo_visibility", "private" if is_true(reading.value("save.hf_private")) else "public")
        reading.ledger.convert(key, value, became="huggingface_repo_id")
    elif is_true(value):
        reading.ledger.keep(key, value, note="No repository is named.")
    else:
        reading.ledger.skip(key, value)


def _repository(reading: Reading, key: str, value: Any) -> None:
    if is_true(reading.value("save.push_to_hub")):
        reading.ledger.convert(key, value, note="It belongs to push_to_hub.")
    elif value in (*NOT_SET, False):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.keep(key, value, note="Nothing is pushed.")


def _quantize(reading: Reading, key: str, value: Any) -> None:
    kind = SMALL.get(str(reading.value("model.qtype", "qfloat8")).partition("|")[0].lower(), "")
    ledger = reading.ledger
    if not is_true(value):
        ledger.skip(key, value)
    elif reading.method != "adapter" or not kind:
        ledger.keep(key, value, note="Weights are not held in that type here.")
    elif kind == "fp8":
        ledger.take(key, value, name="fp8_base", made=True)
    else:
        ledger.take(key, value, name="quantize_base", made=kind)


def _compute_dtype(reading: Reading, key: str, value: Any) -> None:
    reading.ledger.skip(key, value, "Frozen weights are held in the precision of the training.")


def _family(reading: Reading, key: str, value: Any) -> None:
    if value in (*NOT_SET, False):
        reading.ledger.skip(key, value)
    else:
        reading.family_row(key, value)


RULES: dict[str, Rule] = {
    "config.name": _name,
    "training_folder": _place,
    "device": _device,
    "log_dir": to("logging_dir"),
    "network.type": _network,
    "network.linear": to("network_dim"),
    "network.rank": to("network_dim"),
    "network.linear_alpha": to("network_alpha"),
    "network.alpha": to("network_alpha"),
    "network.conv": _conv("conv_dim"),
    "network.conv_alpha": _conv("conv_alpha"),
    "network.dropout": to("network_dropout"),
    "network.lokr_factor": to("factor"),
    "network.lokr_full_rank": switch("full_matrix"),
    "embedding.trigger": to("token_string"),
    "embedding.tokens": to("num_vectors_per_token"),
    "embedding.init_words": to("init_word", lambda text: None if str(text).strip() in ("*", "") else text),
    "embedding.save_format": to("save_model_as"),
    "save.dtype": choice("save_precision", DTYPES),
    "save.save_every": to("save_every_n_steps"),
    "save.max_step_saves_to_keep": _kept_saves,
    "save.save_format": _format,
    "save.push_to_hub": _push,
    "save.hf_repo_id": _repository,
    "save.hf_private": _repository,
    "train.batch_size": to("train_batch_size"),
    "train.steps": to("max_train_steps"),
    "train.gradient_accumulation_steps": to("gradient_accumulation_steps", lambda count: int(count) if int(count) >= 1 else None),
    "train.gradient_accumulation": to("gradient_accumulation_steps"),
    "train.lr": _main_rate,
    "train.embedding_lr": _main_rate,
    "train.unet_lr": _rate_of("unet"),
    "train.text_encoder_lr": _rate_of("text_encoder"),
    "train.train_unet": _train_unet,
    "train.train_text_encoder": _train_text,
    "train.optimizer": _optimizer,
    "train.optimizer_params.*": _optimizer_param,
    "train.lr_scheduler_params.*": _schedule_param,
    "train.lr_scheduler": choice(
        "lr_scheduler",
        {name: name for name in ("constant", "constant_with_warmup", "cosine", "linear", "polynomial", "cosine_with_restarts")},
    ),
    "train.dtype": _precision,
    "train.xformers": choice("sdpa", {"true": True}, same_as=("false",)),
    "train.sdp": choice("sdpa", {"true": True}, same_as=("false",)),
    "train.attention_backend": choice("sdpa", {"native": True, "flash": True, "xformers": True}),
    "train.gradient_checkpointing": switch("gradient_checkpointing"),
    "train.cache_text_embeddings": switch("cache_text_encoder_outputs"),
    "train.seed": to("seed"),
    "model.name_or_path": to("pretrained_model_name_or_path"),
    "model.vae_path": to("vae"),
    "model.is_v2": switch("v2"),
    "model.is_v_pred": switch("v_parameterization"),
    **dict.fromkeys(("model.arch", "model.is_xl", "model.is_flux", "model.is_v3", "model.is_pixart", "model.is_pixart_sigma"), _family),
    **dict.fromkeys(("model.is_auraflow", "model.is_lumina2"), _family),
    "type": choice("", {}, same_as=PROCESSES),
    "model.dtype": _compute_dtype,
    "model.vae_dtype": choice("no_half_vae", {"fp32": True, "float32": True, "float": True}, same_as=("bf16", "fp16", "float16", "bfloat16")),
    "model.te_dtype": _compute_dtype,
    "model.quantize": _quantize,
    "model.qtype": part_of("model.quantize"),
    "model.lora_path": to("base_weights", lambda path: [path]),
    "model.compile": switch("torch_compile"),
    "logging.use_wandb": choice("log_with", {"true": "wandb"}, same_as=("false",)),
    **LEARNING,
    **PICTURES,
}
