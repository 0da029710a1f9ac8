"""ai-toolkit's pictures: datasets, the trigger word, and what is drawn while training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.params.migrate.prompt_lines import PromptLine, take_prompts
from sd_scripts.params.migrate.rivals.folders import Folder, square, take_folders
from sd_scripts.params.migrate.rivals.reading import Reading, Rule, as_number, count, is_true, known_keys, without
from sd_scripts.params.migrate.shared import NOT_SET

TRIGGER = "[trigger]"
SAMPLERS = {"ddpm": "ddim", "ddim": "ddim", "euler": "euler", "euler_a": "euler_a", "lms": "lms", "dpmsolver++": "dpmsolver++", "heun": "heun"}
TAKEN_OF_DATASET = {
    "folder_path": "image_dir",
    "dataset_path": "image_dir",
    "caption_ext": "caption_extension",
    "caption_type": "caption_extension",
    "caption_dropout_rate": "caption_dropout_rate",
    "shuffle_tokens": "shuffle_caption",
    "token_dropout_rate": "caption_tag_dropout_rate",
    "keep_tokens": "keep_tokens",
    "resolution": "resolution",
    "num_repeats": "num_repeats",
    "flip_x": "flip_aug",
    "is_reg": "is_reg",
    "default_caption": "class_tokens",
    "trigger_word": "class_tokens",
    "cache_latents": "cache_latents",
    "cache_latents_to_disk": "cache_latents_to_disk",
    "cache_text_embeddings": "cache_text_encoder_outputs",
    "buckets": "enable_bucket",
    "bucket_tolerance": "bucket_reso_steps",
    "random_crop": "random_crop",
    "mask_path": "conditioning_data_dir",
    "alpha_mask": "alpha_mask",
    "network_weight": "network_multiplier",
}
"""Keys of a dataset, with what each becomes."""
TAKEN_OF_PROMPT = dict.fromkeys(("prompt", "neg", "width", "height", "seed", "sample_steps", "guidance_scale"), "prompts")
OTHER_OF_PROMPT = "A prompt line has no such setting here."


def _datasets(reading: Reading, key: str, value: Any) -> None:
    datasets = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    folders = [folder for folder in (_folder(reading, item) for item in datasets) if folder.path]
    for at, item in enumerate(datasets):
        reading.item_rows(f"{key}[{at}]", item, TAKEN_OF_DATASET, known_keys("ai_toolkit_lists.json"))
    if any(is_true(item.get("cache_latents_to_disk")) for item in datasets):
        reading.give("cache_latents_to_disk", True)
    elif any(is_true(item.get("cache_latents")) for item in datasets):
        reading.give("cache_latents", True)
    if any(is_true(item.get("cache_text_embeddings")) for item in datasets):
        reading.give("cache_text_encoder_outputs", True)
    if any(item.get("mask_path") or is_true(item.get("alpha_mask")) for item in datasets):
        reading.give("masked_loss", True)
    became = take_folders(reading, folders)
    if became:
        reading.ledger.convert(key, count(len(datasets), "dataset"), became=became)
    else:
        reading.ledger.keep(key, value, note="No folder is named.")


def _folder(reading: Reading, item: Mapping[str, Any]) -> Folder:
    given = item.get("resolution", 512)
    sizes = [size for size in map(square, given if isinstance(given, list) else [given]) if size]
    ending = str(item.get("caption_ext") or item.get("caption_type") or ".txt")
    subset: dict[str, Any] = {
        "caption_extension": ending if ending.startswith(".") else f".{ending}",
        "num_repeats": max(1, int(as_number(item.get("num_repeats", 1)) or 1)),
        "caption_dropout_rate": as_number(item.get("caption_dropout_rate")) or None,
        "caption_tag_dropout_rate": as_number(item.get("token_dropout_rate")) or None,
        "shuffle_caption": True if is_true(item.get("shuffle_tokens")) else None,
        "keep_tokens": int(as_number(item.get("keep_tokens")) or 0) or None,
        "flip_aug": True if is_true(item.get("flip_x")) else None,
        "random_crop": True if is_true(item.get("random_crop")) else None,
        "conditioning_data_dir": item.get("mask_path") or None,
        "alpha_mask": True if is_true(item.get("alpha_mask")) else None,
        "class_tokens": with_trigger(reading, str(item.get("default_caption") or ""), own=str(item.get("trigger_word") or "")) or None,
    }
    dataset: dict[str, Any] = {}
    if is_true(item.get("buckets", True)):
        dataset["enable_bucket"] = True
        tolerance = int(as_number(item.get("bucket_tolerance")) or 0)
        if tolerance and tolerance != 64:
            dataset["bucket_reso_steps"] = tolerance
    weight = as_number(item.get("network_weight"))
    if weight not in (None, 1.0):
        dataset["network_multiplier"] = weight
    path = str(item.get("folder_path") or item.get("dataset_path") or "")
    return Folder(path, {name: made for name, made in subset.items() if made is not None}, dataset, sizes, is_reg=is_true(item.get("is_reg")))


def with_trigger(reading: Reading, text: str, *, own: str = "") -> str:
    """A text with the trigger word in its place."""
    word = own or str(reading.value("trigger_word") or reading.value("embedding.trigger") or "")
    return text.replace(TRIGGER, word).strip() if word else text


def _trigger(reading: Reading, key: str, value: Any) -> None:
    """That program puts the word before captions that lack it; here captions are taken as they are."""
    if value in NOT_SET:
        reading.ledger.skip(key, value)
        return
    if not is_true(reading.value("train.diff_output_preservation")):
        reading.give("metadata_trigger_phrase", str(value))
    if "class_tokens" not in reading.ledger.given:
        reading.give("class_tokens", str(value))
    reading.ledger.warn("class_tokens", f"The word {value} is put before captions that lack it there.", "Here it must stand in the caption files.")
    reading.ledger.convert(key, value, became=f"class_tokens = {value}", note="For pictures without a caption file.")


def _sample_every(reading: Reading, key: str, value: Any) -> None:
    if not reading.ledger.studio.get("prompts") or is_true(reading.value("train.disable_sampling")) or not as_number(value):
        note = "There is no prompt." if not reading.ledger.studio.get("prompts") else "Samples are switched off."
        reading.ledger.keep(key, value, note=note)
        return
    if is_true(reading.value("train.force_first_sample")) or not is_true(reading.value("train.skip_first_sample")):
        reading.give("sample_at_first", True)
    reading.ledger.take(key, value, name="sample_every_n_steps", made=int(as_number(value) or 0))


def _prompts(reading: Reading, key: str, value: Any) -> None:
    """A list of texts, or of tables with their own size and seed."""
    items = [item if isinstance(item, dict) else {"prompt": item} for item in value] if isinstance(value, list) else []
    if not items or (key == "sample.prompts" and reading.said.get("sample.samples")):
        reading.ledger.skip(key, value, "sample.samples counts." if items else "")
        return
    seed, walks = as_number(reading.value("sample.seed")), is_true(reading.value("sample.walk_seed"))
    lines = []
    for at, item in enumerate(items):
        base = None if seed is None or seed < 0 else seed + (at if walks else 0)
        lines.append(
            PromptLine(
                with_trigger(reading, str(item.get("prompt") or "")),
                negative=str(item.get("neg") or reading.value("sample.neg") or ""),
                width=item.get("width", reading.value("sample.width")),
                height=item.get("height", reading.value("sample.height")),
                seed=item.get("seed", base),
                steps=item.get("sample_steps", reading.value("sample.sample_steps")),
                scale=item.get("guidance_scale", reading.value("sample.guidance_scale")),
            )
        )
        if isinstance(value[at], dict):
            reading.item_rows(f"{key}[{at}]", item, TAKEN_OF_PROMPT, {name: (None, OTHER_OF_PROMPT) for name in item if name not in TAKEN_OF_PROMPT})
    take_prompts(reading.ledger, lines)
    reading.ledger.convert(key, count(len(items), "prompt"), became="prompts", note="They are kept as text and written to a file at the start.")


def _of_prompts(reading: Reading, key: str, value: Any) -> None:
    if value in (*NOT_SET, False):
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


PICTURES: dict[str, Rule] = {
    "datasets": _datasets,
    "trigger_word": _trigger,
    "sample.prompts": _prompts,
    "sample.samples": _prompts,
    "sample.sample_every": _sample_every,
    "sample.sampler": _sampler,
    **dict.fromkeys(("sample.width", "sample.height", "sample.neg", "sample.seed", "sample.walk_seed", "sample.guidance_scale"), _of_prompts),
    "sample.sample_steps": _of_prompts,
    "sample.sample_start_step": without("Samples are drawn from the first step on, or from the first interval.", default=0),
}
