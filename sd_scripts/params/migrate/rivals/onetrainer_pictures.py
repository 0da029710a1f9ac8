"""OneTrainer's pictures: concepts, resolution, and what is drawn while training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.params.migrate.prompt_lines import PromptLine, take_prompts
from sd_scripts.params.migrate.rivals.folders import Folder, square, take_folders
from sd_scripts.params.migrate.rivals.reading import Reading, Rule, as_number, beside, count, dotted, is_true, known_keys, switch, without
from sd_scripts.params.migrate.shared import NOT_SET

SAMPLERS = {
    "DDIM": "ddim",
    "EULER": "euler",
    "EULER_A": "euler_a",
    "EULER_KARRAS": "k_euler",
    "DPMPP": "dpmsolver++",
    "DPMPP_KARRAS": "dpmsolver++",
}
ARE_CONCEPTS, ARE_SAMPLES = ("image", "text", "balancing", "validation_concept"), ("diffusion_steps", "cfg_scale", "noise_scheduler")
"""Keys by which the two kinds of list are known."""
TAKEN_OF_CONCEPT = {
    "path": "image_dir",
    "enabled": "image_dir",
    "balancing": "num_repeats",
    "repeats": "num_repeats",
    "balancing_strategy": "num_repeats",
    "image.enable_random_flip": "flip_aug",
    "image.enable_random_hue": "color_aug",
    "image.enable_random_brightness": "color_aug",
    "image.enable_resolution_override": "resolution",
    "image.resolution_override": "resolution",
    "text.prompt_source": "caption_extension",
    "text.enable_tag_shuffling": "shuffle_caption",
    "text.tag_delimiter": "caption_separator",
    "text.keep_tags_count": "keep_tokens",
    "text.tag_dropout_enable": "caption_dropout_rate",
    "text.tag_dropout_mode": "caption_dropout_rate",
    "text.tag_dropout_probability": "caption_dropout_rate",
}
"""Keys of a concept, with what each becomes."""
TAKEN_OF_SAMPLE = dict.fromkeys(
    ("enabled", "prompt", "negative_prompt", "height", "width", "seed", "random_seed", "diffusion_steps", "cfg_scale", "noise_scheduler"), "prompts"
)


def is_concept_list(document: object) -> bool:
    """Whether a JSON list is that program's concepts."""
    return _is_list(document, ARE_CONCEPTS)


def is_sample_list(document: object) -> bool:
    """Whether a JSON list is that program's samples."""
    return _is_list(document, ARE_SAMPLES)


def _is_list(document: object, marks: tuple[str, ...]) -> bool:
    return isinstance(document, list) and bool(document) and all(isinstance(item, dict) and any(mark in item for mark in marks) for item in document)


def take_concepts(reading: Reading, key: str, concepts: list[Mapping[str, Any]]) -> None:
    """Folders of pictures; what of a concept has no counterpart is kept under its place."""
    folders = []
    for at, concept in enumerate(concepts):
        flat = dotted(concept)
        place = f"{key}[{at}]"
        used = is_true(concept.get("enabled", True)) and not is_true(concept.get("validation_concept")) and bool(concept.get("path"))
        if used:
            folders.append(_folder(flat))
        _account(reading, place, flat, used=used)
    became = take_folders(reading, folders, {"caption_extension": ".txt"} if folders else None)
    if became:
        reading.ledger.convert(key, count(len(concepts), "concept"), became=became)
    else:
        reading.ledger.skip(key, count(len(concepts), "concept"), "None of them is used.")


def _folder(flat: Mapping[str, Any]) -> Folder:
    repeats = as_number(flat.get("balancing", flat.get("repeats"))) or 1.0
    if str(flat.get("balancing_strategy", "REPEATS")) != "REPEATS":
        repeats = 1.0
    subset: dict[str, Any] = {"num_repeats": max(1, round(repeats))}
    subset["flip_aug"] = True if is_true(flat.get("image.enable_random_flip", True)) else None
    subset["color_aug"] = True if is_true(flat.get("image.enable_random_hue")) or is_true(flat.get("image.enable_random_brightness")) else None
    if is_true(flat.get("text.enable_tag_shuffling")):
        subset |= {"shuffle_caption": True, "keep_tokens": int(as_number(flat.get("text.keep_tags_count", 1)) or 0)}
        delimiter = str(flat.get("text.tag_delimiter") or ",").strip()
        subset["caption_separator"] = delimiter if delimiter not in ("", ",") else None
    if is_true(flat.get("text.tag_dropout_enable")):
        whole = str(flat.get("text.tag_dropout_mode", "FULL")) == "FULL"
        subset["caption_dropout_rate" if whole else "caption_tag_dropout_rate"] = as_number(flat.get("text.tag_dropout_probability")) or 0.0
    size = square(flat.get("image.resolution_override", "")) if is_true(flat.get("image.enable_resolution_override")) else None
    return Folder(str(flat["path"]), {name: value for name, value in subset.items() if value is not None}, {"resolution": size} if size else {})


def _account(reading: Reading, place: str, flat: Mapping[str, Any], *, used: bool) -> None:
    known = known_keys("onetrainer_lists.json")
    if not used:
        measures = is_true(flat.get("validation_concept"))
        why = "Pictures to measure on are taken from those to train on here (validation_split)." if measures else "The concept is switched off."
        for name, value in flat.items():
            if name == "path":
                reading.ledger.keep(f"{place}.{name}", value, note=why)
            else:
                reading.ledger.skip(f"{place}.{name}", value, why)
        return
    lost = {name: why for name, value in flat.items() if (why := _lost(name, value))}
    for name, why in lost.items():
        reading.ledger.keep(f"{place}.{name}", flat[name], note=why)
    reading.item_rows(place, {name: value for name, value in flat.items() if name not in lost}, TAKEN_OF_CONCEPT, known)


def _lost(name: str, value: Any) -> str:
    """Why a value of a key that is taken otherwise has no counterpart; "" if it has."""
    if name == "text.prompt_source" and value not in ("sample", ""):
        return "Captions are read from a file beside each picture; write them there, or use class_tokens."
    if name == "text.prompt_path" and value:
        return "Captions are read from a file beside each picture; write them there, or use class_tokens."
    if name == "image.enable_fixed_flip" and is_true(value):
        return "Pictures are mirrored half of the time, or never."
    if name == "balancing_strategy" and value != "REPEATS":
        return "A folder is repeated; a number of samples is not drawn from it."
    if name in ("balancing", "repeats") and as_number(value) not in (None, float(round(as_number(value) or 1))):
        return "Repeats are whole numbers here; it was rounded."
    return ""


def take_samples(reading: Reading, key: str, samples: list[Mapping[str, Any]]) -> None:
    """What is drawn while training, as lines of a prompt file."""
    lines = []
    known = known_keys("onetrainer_lists.json")
    of_sample = {name.removeprefix("sample."): value for name, value in known.items() if name.startswith("sample.")}
    for at, sample in enumerate(samples):
        reading.item_rows(f"{key}[{at}]", sample, TAKEN_OF_SAMPLE, of_sample)
        if is_true(sample.get("enabled", True)):
            lines.append(_line(sample))
    take_prompts(reading.ledger, lines)
    if lines:
        reading.ledger.convert(key, count(len(samples), "sample"), became="prompts", note="They are kept as text and written to a file at the start.")
    else:
        reading.ledger.skip(key, count(len(samples), "sample"))


def _line(sample: Mapping[str, Any]) -> PromptLine:
    return PromptLine(
        str(sample.get("prompt") or ""),
        negative=str(sample.get("negative_prompt") or ""),
        width=sample.get("width", 512),
        height=sample.get("height", 512),
        seed=None if is_true(sample.get("random_seed")) else sample.get("seed", 42),
        steps=sample.get("diffusion_steps", 20),
        scale=sample.get("cfg_scale", 7.0),
        sampler=SAMPLERS.get(str(sample.get("noise_scheduler", "DDIM")), ""),
    )


def _listed(take: Any, is_list: Any, what: str) -> Rule:
    """A list in the config itself, or in a file that it names."""

    def listed(reading: Reading, key: str, value: Any) -> None:
        if value in (*NOT_SET, []):
            reading.ledger.skip(key, value)
        elif isinstance(value, list):
            take(reading, key, [item for item in value if isinstance(item, dict)])
        elif reading.said.get("concepts" if what == "concepts" else "samples"):
            reading.ledger.skip(key, value, "They stand in the config itself.")
        else:
            found = beside(reading, str(value))
            document = _read(found) if found else None
            if is_list(document):
                take(reading, key, document)
            else:
                reading.ledger.keep(key, value, note="The file that it names is not there; open it by itself.")

    return listed


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return None


def _resolution(reading: Reading, key: str, value: Any) -> None:
    """One size, or several of which that program draws one for each picture."""
    parts = [part.strip() for part in str(value).split(",") if part.strip()]
    sizes = [size for size in map(square, parts) if size]
    ledger = reading.ledger
    if not sizes or len(sizes) != len(parts):
        ledger.keep(key, value, note="It is no picture size.")
    elif len(sizes) == 1:
        ledger.take(key, value, name="resolution", made=sizes[0], note="" if sizes[0] == value else "Width and height.")
    else:
        largest = max(sizes, key=lambda size: int(size.partition(",")[0]))
        note = "Each picture has one size in a dataset here; for several, list its folder in several datasets."
        ledger.take(key, value, name="resolution", made=largest, note=note)
        ledger.studio.setdefault("kept", {})[key] = value


PICTURES: dict[str, Rule] = {
    "concept_file_name": _listed(take_concepts, is_concept_list, "concepts"),
    "concepts": _listed(take_concepts, is_concept_list, "concepts"),
    "sample_definition_file_name": _listed(take_samples, is_sample_list, "samples"),
    "samples": _listed(take_samples, is_sample_list, "samples"),
    "resolution": _resolution,
    "aspect_ratio_bucketing": switch("enable_bucket"),
    "masked_training": without(
        "Masks lie beside the pictures there (name-masklabel.png); here they lie in a folder of their own (conditioning_data_dir, masked_loss)."
    ),
}
