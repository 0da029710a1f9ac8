"""SimpleTuner's pictures: data backends, and what is drawn while training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import Imported
from sd_scripts.params.migrate.prompt_lines import PromptLine, take_prompts
from sd_scripts.params.migrate.rivals.folders import TEXT_FILES, Folder, square, take_folders
from sd_scripts.params.migrate.rivals.reading import (
    Program,
    Readable,
    Reading,
    Rule,
    as_number,
    beside,
    count,
    is_true,
    known_keys,
    part_of,
    switch,
    to,
)
from sd_scripts.params.migrate.shared import NOT_SET, is_secret

SAMPLERS = {"ddim": "ddim", "ddpm": "ddim", "euler": "euler", "euler-a": "euler_a", "dpm++": "dpmsolver++"}
TAKEN_OF_BACKEND = {
    "type": "image_dir",
    "dataset_type": "image_dir",
    "instance_data_dir": "image_dir",
    "disabled": "image_dir",
    "disable": "image_dir",
    "repeats": "num_repeats",
    "resolution": "resolution",
    "resolution_type": "resolution",
    "caption_strategy": "caption_extension",
    "instance_prompt": "class_tokens",
    "prepend_instance_prompt": "caption_prefix",
    "only_instance_prompt": "class_tokens",
    "is_regularisation_data": "is_reg",
    "is_regularization_data": "is_reg",
    "crop": "enable_bucket",
    "crop_aspect": "enable_bucket",
    "crop_style": "random_crop",
    "caption_shuffle.enable": "shuffle_caption",
    "caption_shuffle.position_start": "keep_tokens",
}
"""Keys of a data backend, with what each becomes."""
PIXELS = ("pixel", "pixel_area")
MEGAPIXEL = 1024 * 1024


def is_backend_list(document: object) -> bool:
    """Whether a JSON list is that program's data backends."""
    return isinstance(document, list) and bool(document) and all(isinstance(item, dict) and "id" in item and "type" in item for item in document)


def import_backends(document: list[Mapping[str, Any]], near: Command, *, folder: Path, readable: Readable) -> Imported:
    """The data backends alone, for the trainer `near`: what they say is added to what there is."""
    reading = Reading(Program("SimpleTuner", {}, {}), {}, near, folder=folder, readable=readable)
    take_backends(reading, "backends", document)
    return reading.read().finish(adds=True)


def take_backends(reading: Reading, key: str, backends: list[Mapping[str, Any]]) -> None:
    """Folders of pictures; caches and what lies elsewhere is not among them."""
    folders = []
    known = known_keys("simpletuner_lists.json")
    for at, item in enumerate(backends):
        place, why = f"{key}[{at}]", _why_not(item)
        if why:
            for name, value in item.items():
                if is_secret(reading.ledger, name):
                    reading.ledger.hide(f"{place}.{name}", value)
                else:
                    reading.ledger.keep(f"{place}.{name}", value, note=why)
            continue
        flat = {**item, **{f"caption_shuffle.{name}": value for name, value in _shuffle(item).items()}}
        flat.pop("caption_shuffle", None)
        for name in [name for name in flat if is_secret(reading.ledger, name)]:
            reading.ledger.hide(f"{place}.{name}", flat.pop(name))
        lost = {name: reason for name, value in flat.items() if (reason := _lost(name, value))}
        for name, reason in lost.items():
            reading.ledger.keep(f"{place}.{name}", flat[name], note=reason)
        reading.item_rows(place, {name: value for name, value in flat.items() if name not in lost}, TAKEN_OF_BACKEND, known)
        folders.append(_folder(reading, item))
    became = take_folders(reading, folders)
    label = count(len(backends), "data backend")
    if became:
        reading.ledger.convert(key, label, became=became)
    else:
        reading.ledger.keep(key, label, note="None of them is a folder of pictures on this machine.")


def _why_not(item: Mapping[str, Any]) -> str:
    """Why a backend is no folder to train on; "" if it is one."""
    if is_true(item.get("disabled")) or is_true(item.get("disable")):
        return "The backend is switched off."
    if str(item.get("dataset_type", "image")) != "image":
        return "Caches of texts and latents lie beside the pictures here; only pictures are trained on."
    if str(item.get("type", "local")) != "local":
        return "Only folders on this machine are trained on; download the pictures first."
    return "" if item.get("instance_data_dir") else "No folder is named."


def _shuffle(item: Mapping[str, Any]) -> Mapping[str, Any]:
    made = item.get("caption_shuffle")
    return made if isinstance(made, dict) else {"enable": made} if made is not None else {}


def _folder(reading: Reading, item: Mapping[str, Any]) -> Folder:
    shuffle, strategy = _shuffle(item), str(item.get("caption_strategy") or reading.value("caption_strategy") or "filename")
    text = str(item.get("instance_prompt") or "")
    dropout = as_number(item.get("caption_dropout_probability"))
    squares = is_true(item.get("crop")) and str(item.get("crop_aspect", "square")) == "square"
    subset: dict[str, Any] = {
        "num_repeats": int(as_number(item.get("repeats")) or 0) + 1,
        "caption_extension": TEXT_FILES if strategy in ("textfile", "instanceprompt", "instance_prompt") else None,
        "class_tokens": text or None,
        "caption_prefix": f"{text} " if text and is_true(item.get("prepend_instance_prompt")) else None,
        "random_crop": True if squares and str(item.get("crop_style", "random")) == "random" and not _caches(reading) else None,
        "shuffle_caption": True if is_true(shuffle.get("enable")) else None,
        "keep_tokens": int(as_number(shuffle.get("position_start")) or 0) or None,
        "caption_dropout_rate": dropout or None,
    }
    size = _size(
        item.get("resolution", reading.value("resolution")), str(item.get("resolution_type") or reading.value("resolution_type") or "pixel_area")
    )
    dataset: dict[str, Any] = {} if squares else {"enable_bucket": True}
    is_reg = is_true(item.get("is_regularisation_data")) or is_true(item.get("is_regularization_data"))
    path = str(item["instance_data_dir"])
    return Folder(path, {name: made for name, made in subset.items() if made is not None}, dataset, [size] if size else [], is_reg=is_reg)


def _caches(reading: Reading) -> bool:
    """Latents are computed once, so a picture has one cut."""
    reading.give("cache_latents", True)
    reading.give("cache_latents_to_disk", True)
    return True


def _size(value: Any, unit: str) -> str | None:
    number = as_number(value)
    if number is None:
        return None
    side = number if unit in PIXELS and number >= 16 else (number * MEGAPIXEL) ** 0.5
    return square(max(64, round(side / 64) * 64 if unit not in PIXELS else int(side)))


def _lost(name: str, value: Any) -> str:
    if name == "caption_strategy" and value not in ("textfile", "instanceprompt", "instance_prompt"):
        return "Captions are read from a file beside each picture; write them there."
    if name == "crop_aspect" and value not in ("square", "preserve"):
        return "Pictures are sorted into buckets of their own shape, or all cut square."
    if name == "repeats" and as_number(value) not in (None, float(int(as_number(value) or 0))):
        return "Repeats are whole numbers here; it was rounded."
    return ""


def _backend_config(reading: Reading, key: str, value: Any) -> None:
    if value in NOT_SET:
        reading.ledger.skip(key, value)
        return
    found = beside(reading, str(value))
    document = _read(found) if found else None
    if isinstance(document, list) and is_backend_list(document):
        take_backends(reading, key, document)
    else:
        reading.ledger.keep(key, value, note="The file with the data backends is not there; open it by itself.")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return None


def _prompt(reading: Reading, key: str, value: Any) -> None:
    if value in NOT_SET:
        reading.ledger.skip(key, value)
        return
    take_prompts(reading.ledger, [_line(reading, str(value))])
    reading.ledger.convert(key, value, became="prompts", note="A line of the prompts.")


def _line(reading: Reading, prompt: str) -> PromptLine:
    first = str(reading.value("validation_resolution") or "").partition(",")[0]
    size = square(first) if first else None
    width, _, height = (size or "").partition(",")
    return PromptLine(
        prompt,
        negative=str(reading.value("validation_negative_prompt") or ""),
        width=width or None,
        height=height or None,
        seed=reading.value("validation_seed"),
        steps=reading.value("validation_num_inference_steps"),
        scale=reading.value("validation_guidance"),
    )


def _library(reading: Reading, key: str, value: Any) -> None:
    """A file of prompts by name."""
    if value in NOT_SET:
        reading.ledger.skip(key, value)
        return
    found = beside(reading, str(value))
    document = _read(found) if found else None
    if not isinstance(document, dict):
        reading.ledger.keep(key, value, note="The file with the prompts is not there.")
        return
    take_prompts(reading.ledger, [_line(reading, str(text)) for text in document.values()])
    reading.ledger.convert(key, value, became="prompts", note=f"Lines of the prompts: {len(document)}.")


def _interval(reading: Reading, key: str, value: Any) -> None:
    ledger = reading.ledger
    if not (as_number(value) or 0) > 0:
        ledger.skip(key, value)
    elif is_true(reading.value("validation_disable")):
        ledger.keep(key, value, note="Samples are switched off.")
    elif not ledger.studio.get("prompts"):
        ledger.keep(key, value, note="There is no prompt.")
    else:
        ledger.take(key, value, name="sample_every_n_epochs" if "epoch" in key else "sample_every_n_steps", made=int(as_number(value) or 0))


def _of_prompts(reading: Reading, key: str, value: Any) -> None:
    if value in NOT_SET:
        reading.ledger.skip(key, value)
    elif reading.ledger.studio.get("prompts"):
        reading.ledger.convert(key, value, became="prompts", note="It stands in each line of the prompts.")
    else:
        reading.ledger.keep(key, value, note="There is no prompt.")


def _sampler(reading: Reading, key: str, value: Any) -> None:
    made = SAMPLERS.get(str(value).lower())
    if made:
        reading.ledger.take(key, value, name="sample_sampler", made=made)
    else:
        reading.ledger.keep(key, value, note="There is no such sampler for this kind of model.")


def _resolution(reading: Reading, key: str, value: Any) -> None:
    """The size for pictures whose backend names none."""
    size = _size(value, str(reading.value("resolution_type") or "pixel_area"))
    if size is None:
        reading.ledger.keep(key, value, note="It is no picture size.")
    elif "resolution" in reading.ledger.given or reading.ledger.dataset:
        reading.ledger.skip(key, value, "The data backends say their own.")
    else:
        reading.ledger.take(key, value, name="resolution", made=size, note="Width and height.")


def _caption_dropout(reading: Reading, key: str, value: Any) -> None:
    if as_number(value):
        reading.ledger.take(key, value, name="caption_dropout_rate")
    else:
        reading.ledger.skip(key, value)


PICTURES: dict[str, Rule] = {
    "data_backend_config": _backend_config,
    "resolution": _resolution,
    "resolution_type": part_of("resolution"),
    "instance_prompt": to("class_tokens"),
    "caption_dropout_probability": _caption_dropout,
    "validation_prompt": _prompt,
    "user_prompt_library": _library,
    "validation_step_interval": _interval,
    "validation_epoch_interval": _interval,
    "validation_on_startup": switch("sample_at_first"),
    "validation_noise_scheduler": _sampler,
    "vae_batch_size": to("vae_batch_size"),
    **dict.fromkeys(
        (
            "validation_negative_prompt", "validation_resolution", "validation_seed", "validation_num_inference_steps", "validation_guidance",
        ),
        _of_prompts,
    ),
}  # fmt: skip
