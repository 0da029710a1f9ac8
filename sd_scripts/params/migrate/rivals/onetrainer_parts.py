"""OneTrainer's tables for the parts of a model, and its optimizers."""

from __future__ import annotations

from typing import Any

from sd_scripts.params.migrate.rivals.optimizer_words import SPELLED_OUT, joined, words_of
from sd_scripts.params.migrate.rivals.reading import Reading, Rule, as_number, is_true, known_keys, same, switch, to, without
from sd_scripts.params.migrate.shared import NOT_SET

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
"""Parts that SD (the first) and SDXL (both) have."""
OTHER_PARTS = (
    "transformer", "prior", "text_encoder_3", "text_encoder_4", "unconditional_transformer", "effnet_encoder", "decoder", "decoder_text_encoder",
    "decoder_vqgan",
)  # fmt: skip
OF_A_PART = (
    "train", "learning_rate", "weight_dtype", "model_name", "include", "stop_training_after", "stop_training_after_unit", "dropout_probability",
    "train_embedding", "attention_mask", "guidance_scale", "gradient_checkpointing", "offload_fraction", "activation_offloading",
)  # fmt: skip
HALF = {"FLOAT_16": "full_fp16", "BFLOAT_16": "full_bf16"}
SMALL = {"NFLOAT_4": "nf4", "NFLOAT_4_SVD": "nf4", "INT_8": "int8", "INT_W8A8": "int8", "INT_8_SVD": "int8"}
"""Types in fewer bits, with what holds frozen weights so here."""

OPTIMIZERS = {
    "ADAM": "Adam",
    "ADAMW": "AdamW",
    "ADAMW_8BIT": "AdamW8bit",
    "ADAM_8BIT": "bitsandbytes.optim.Adam8bit",
    "ADAGRAD": "Adagrad",
    "ADAGRAD_8BIT": "bitsandbytes.optim.Adagrad8bit",
    "ADEMAMIX_8BIT": "bitsandbytes.optim.AdEMAMix8bit",
    "ADEMAMIX": "bitsandbytes.optim.AdEMAMix",
    "LAMB": "bitsandbytes.optim.LAMB",
    "LAMB_8BIT": "bitsandbytes.optim.LAMB8bit",
    "LARS": "bitsandbytes.optim.LARS",
    "LARS_8BIT": "bitsandbytes.optim.LARS8bit",
    "LION": "Lion",
    "LION_8BIT": "Lion8bit",
    "RMSPROP": "RMSprop",
    "RMSPROP_8BIT": "bitsandbytes.optim.RMSprop8bit",
    "SGD": "SGD",
    "SGD_8BIT": "SGDNesterov8bit",
    "SCHEDULE_FREE_ADAMW": "AdamWScheduleFree",
    "SCHEDULE_FREE_SGD": "SGDScheduleFree",
    "DADAPT_ADA_GRAD": "DAdaptAdaGrad",
    "DADAPT_ADAM": "DAdaptAdam",
    "DADAPT_ADAN": "DAdaptAdan",
    "DADAPT_LION": "DAdaptLion",
    "DADAPT_SGD": "DAdaptSGD",
    "PRODIGY": "Prodigy",
    "PRODIGY_PLUS_SCHEDULE_FREE": "prodigyplus.ProdigyPlusScheduleFree",
    "ADAFACTOR": "Adafactor",
    "CAME": "pytorch_optimizer.CAME",
    "ADABELIEF": "pytorch_optimizer.AdaBelief",
    "YOGI": "pytorch_optimizer.Yogi",
    "TIGER": "pytorch_optimizer.Tiger",
    "AIDA": "pytorch_optimizer.Aida",
    "MUON": "Muon",
    "ADOPT": "pytorch_optimizer.ADOPT",
}
"""That program's names, with those here."""
OPTIMIZER = "optimizer."


def _optimizer(reading: Reading, key: str, value: Any) -> None:
    name, ledger = str(value), reading.ledger
    made = OPTIMIZERS.get(name.upper())
    if made is None:
        ledger.keep(key, value, note="There is no such optimizer here.")
        ledger.warn("optimizer_type", f"The optimizer {name} is not known here.", "Choose one: AdamW is taken otherwise.")
        return
    if is_true(reading.value("optimizer.is_paged")) and made in ("AdamW8bit", "Lion8bit"):
        made = f"Paged{made}"
    words, used = words_of(made, _arguments(reading, made))
    if words:
        reading.give("optimizer_args", words)
    reading.used_arguments = used
    ledger.take(key, value, name="optimizer_type", made=made, note=joined(words))


def _arguments(reading: Reading, optimizer: str) -> dict[str, Any]:
    """The optimizer's arguments that are set: numbers, and switches other than they are anyway."""
    defaults = known_keys("onetrainer.json")
    said = {key.removeprefix(OPTIMIZER): value for key, value in reading.said.items() if key.startswith(OPTIMIZER)}
    given = dict(SPELLED_OUT.get(optimizer, {}))
    for name, value in said.items():
        usual = defaults.get(OPTIMIZER + name, (None, ""))[0]
        if name != "optimizer" and value not in (*NOT_SET, [], {}) and (not same(value, usual) or name in given):
            given[name] = value
    return given


def _argument(reading: Reading, key: str, value: Any) -> None:
    """An argument that the chosen optimizer takes has become a word; the others are for others."""
    name = key.removeprefix(OPTIMIZER)
    usual = known_keys("onetrainer.json").get(key, (None, ""))[0]
    if name in reading.used_arguments:
        reading.ledger.convert(key, value, became="optimizer_args")
    elif value in NOT_SET or same(value, usual) or isinstance(value, bool):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.keep(key, value, note="The chosen optimizer takes no such argument here.")


def _unet_weights(reading: Reading, key: str, value: Any) -> None:
    """Types of frozen weights of an adapter; of whole weights, which are trained in them."""
    kind, ledger = str(value), reading.ledger
    if kind in ("FLOAT_32", "NONE", "TFLOAT_32"):
        ledger.skip(key, value)
    elif reading.is_whole and kind in HALF:
        ledger.take(key, value, name=HALF[kind], made=True)
    elif kind in HALF:
        ledger.skip(key, value, "Frozen weights are held in the precision of the training.")
    elif kind == "FLOAT_8" and reading.method == "adapter":
        ledger.take(key, value, name="fp8_base", made=True)
    elif kind in SMALL and reading.method == "adapter":
        ledger.take(key, value, name="quantize_base", made=SMALL[kind])
    else:
        ledger.keep(key, value, note="Weights are not held in that type here.")


def _text_weights(reading: Reading, key: str, value: Any) -> None:
    if str(value) in ("FLOAT_32", "NONE", "TFLOAT_32", *HALF):
        reading.ledger.skip(key, value, "They are held in the precision of the training.")
    else:
        reading.ledger.keep(key, value, note="Text encoders are held in the precision of the training.")


def _vae_weights(reading: Reading, key: str, value: Any) -> None:
    if str(value) == "FLOAT_32":
        reading.ledger.take(key, value, name="no_half_vae", made=True)
    else:
        reading.ledger.skip(key, value, "It runs in the precision of the training.")


def trains(reading: Reading, part: str) -> bool:
    """Whether a part of the model is trained."""
    return reading.method != "embedding" and not reading.is_off(f"{part}.train")


def _encoders(reading: Reading) -> tuple[str, ...]:
    return TEXT_ENCODERS if reading.command.family == "sdxl" else TEXT_ENCODERS[:1]


def _trains_any_text(reading: Reading) -> bool:
    return any(trains(reading, part) for part in _encoders(reading))


def _train_unet(reading: Reading, key: str, value: Any) -> None:
    if reading.method == "embedding" or trains(reading, "unet"):
        reading.ledger.skip(key, value)
    elif reading.method == "adapter" and _trains_any_text(reading):
        reading.ledger.take(key, value, name="network_train_text_encoder_only", made=True)
    else:
        reading.ledger.keep(key, value, note="The U-Net is trained along with its text encoder here.")


def _train_text(reading: Reading, key: str, value: Any) -> None:
    part, ledger, method = key.partition(".")[0], reading.ledger, reading.method
    if part not in _encoders(reading):
        ledger.skip(key, value, "This family has no such part.")
    elif method == "embedding":
        ledger.skip(key, value)
    elif method == "adapter":
        if not _trains_any_text(reading) and trains(reading, "unet"):
            ledger.take(key, value, name="network_train_unet_only", made=True)
        else:
            _rates_of_parts(reading)
            ledger.convert(key, value, became="text_encoder_lr")
    elif "train_text_encoder" in reading.command.by_name:
        if _trains_any_text(reading):
            reading.give("train_text_encoder", True)
            if not trains(reading, part):
                reading.give(_whole_rate(reading, part), 0.0)
        ledger.convert(key, value, became="train_text_encoder" if _trains_any_text(reading) else "train_text_encoder = false")
    elif trains(reading, part):
        ledger.skip(key, value)
    else:
        ledger.take(key, value, name="stop_text_encoder_training", made=-1, note="It is never trained.")


def _rate(reading: Reading, key: str, value: Any) -> None:
    """A part's own rate, which is the main one where there is none."""
    part = key.partition(".")[0]
    if as_number(value) is None or reading.method == "embedding" or not trains(reading, part) or part not in ("unet", *_encoders(reading)):
        reading.ledger.skip(key, value)
    elif part == "unet":
        name = "unet_lr" if reading.method == "adapter" else "learning_rate"
        reading.ledger.take(key, value, name=name)
    elif reading.method == "adapter":
        _rates_of_parts(reading)
        reading.ledger.convert(key, value, became="text_encoder_lr")
    else:
        reading.ledger.take(key, value, name=_whole_rate(reading, part))


def _whole_rate(reading: Reading, part: str) -> str:
    if "learning_rate_te1" in reading.command.by_name:
        return "learning_rate_te1" if part == "text_encoder" else "learning_rate_te2"
    return "learning_rate_te"


def _rates_of_parts(reading: Reading) -> None:
    """Rates of an adapter's text encoders, of which one that is not trained has 0."""
    main = reading.number("learning_rate")
    rates = []
    for part in _encoders(reading):
        own = as_number(reading.value(f"{part}.learning_rate"))
        rates.append(0.0 if not trains(reading, part) else main if own is None else own)
    reading.give("text_encoder_lr", rates if len(set(rates)) > 1 else rates[:1])


def _stop_text(reading: Reading, key: str, value: Any) -> None:
    """When a text encoder is trained no more: after steps, or after epochs, which are a share of the run."""
    part, ledger = key.partition(".")[0], reading.ledger
    unit, amount = str(reading.value(f"{part}.stop_training_after_unit", "EPOCH")), as_number(value) or 0.0
    known = reading.command.by_name.get("stop_text_encoder_training")
    epochs = reading.number("epochs")
    if (
        amount <= 0
        or unit in ("NEVER", "ALWAYS")
        or part != "text_encoder"
        or not _trains_any_text(reading)
        or (unit == "EPOCH" and amount >= epochs)
    ):
        ledger.skip(key, value)
    elif known is None or unit not in ("STEP", "EPOCH") or (unit == "EPOCH" and known.kind == "int"):
        ledger.keep(key, value, note="This trainer cannot stop the text encoder's training so.")
    else:
        ledger.take(key, value, name="stop_text_encoder_training", made=int(amount) if unit == "STEP" else amount / epochs)


def _dropout(reading: Reading, key: str, value: Any) -> None:
    """Captions that are left out for one text encoder there, for all of them here."""
    if not as_number(value):
        reading.ledger.skip(key, value)
    elif "caption_dropout_rate" in reading.ledger.given:
        reading.ledger.keep(key, value, note="Captions are left out for both text encoders at once here.")
    else:
        reading.ledger.take(key, value, name="caption_dropout_rate")


def _of_other_family(reading: Reading, key: str, value: Any) -> None:
    part = key.partition(".")[0]
    if value in NOT_SET or same(value, known_keys("onetrainer.json").get(f"unet.{key.partition('.')[2]}", (None, ""))[0]):
        reading.ledger.skip(key, value)
    elif reading.ledger.other_family:
        reading.ledger.keep(key, value, note=f"It is of {reading.ledger.other_family}.")
    else:
        reading.ledger.skip(key, value, f"This family has no {part}.")


_OF_TEXT: dict[str, Rule] = {
    "train": _train_text,
    "learning_rate": _rate,
    "weight_dtype": _text_weights,
    "stop_training_after": _stop_text,
    "stop_training_after_unit": without("It belongs to stop_training_after.", default="NEVER"),
    "dropout_probability": _dropout,
    "gradient_checkpointing": switch("gradient_checkpointing"),
    "train_embedding": without("A word is trained in every text encoder.", default=True),
    "include": without("Every part of the model is loaded.", default=True),
}
PARTS: dict[str, Rule] = {
    "unet.train": _train_unet,
    "unet.learning_rate": _rate,
    "unet.weight_dtype": _unet_weights,
    "vae.model_name": to("vae"),
    "vae.weight_dtype": _vae_weights,
    **{f"{part}.{name}": rule for part in TEXT_ENCODERS for name, rule in _OF_TEXT.items()},
    **{f"{part}.{name}": _of_other_family for part in OTHER_PARTS for name in OF_A_PART},
}
OPTIMIZER_RULES: dict[str, Rule] = {
    "optimizer.optimizer": _optimizer,
    "optimizer.fused_back_pass": switch("fused_backward_pass"),
}


def argument_rules(names: tuple[str, ...]) -> dict[str, Rule]:
    """A rule for each argument of an optimizer in the table."""
    return {key: _argument for key in names if key.startswith(OPTIMIZER) and key not in OPTIMIZER_RULES}
