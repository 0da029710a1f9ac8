"""diffusion-pipe's dataset file: directories and sizes for all of them. Its training options are read like everybody's, see `aliases`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import Imported, Ledger
from sd_scripts.params.migrate.shared import NOT_SET

BUCKETS = "Buckets follow from resolution, bucket_reso_steps and the limits of their sides."
WITHOUT = {
    "min_ar": BUCKETS,
    "max_ar": BUCKETS,
    "num_ar_buckets": BUCKETS,
    "ar_buckets": BUCKETS,
    "size_buckets": BUCKETS,
    "frame_buckets": "Videos are not trained here.",
    "cache_shuffle_num": "Captions are shuffled anew in every epoch (shuffle_caption).",
    "cache_shuffle_delimiter": "caption_separator says what stands between tags.",
    "control_path": "Pictures that steer others are not trained here.",
}


def is_pipe_dataset(document: Mapping[str, Any]) -> bool:
    """Whether a document lists directories of pictures in that program's way."""
    entries = document.get("directory")
    return isinstance(entries, list) and all(isinstance(entry, dict) and "path" in entry for entry in entries)


def import_pipe_dataset(document: Mapping[str, Any], command: Command) -> Imported:
    """A dataset for each size, with all directories; what is said is added to what there is."""
    ledger = Ledger(command)
    subsets = [_subset(ledger, f"directory[{at}]", entry, document) for at, entry in enumerate(document["directory"])]
    sizes = document.get("resolutions") or []
    shared: dict[str, Any] = {}
    for key, value in document.items():
        if key == "enable_ar_bucket" and value:
            shared["enable_bucket"] = True
            ledger.convert(key, value, became="enable_bucket = true")
        elif key == "resolutions" and all(isinstance(size, (int, list)) for size in sizes):
            ledger.convert(key, value, became="datasets.resolution")
        elif key == "num_repeats":
            ledger.convert(key, value, became="datasets.subsets.num_repeats")
        elif key != "directory":
            _keep(ledger, key, value)
    datasets = [{**shared, "resolution": size, "subsets": subsets} for size in sizes] if sizes else [{**shared, "subsets": subsets}]
    ledger.dataset = {"general": {"caption_extension": ".txt"}, "datasets": datasets}
    return ledger.finish(adds=True)


def _subset(ledger: Ledger, place: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"image_dir": str(entry["path"])}
    masks, repeats = entry.get("mask_path"), entry.get("num_repeats", document.get("num_repeats", 1))
    made |= {"num_repeats": max(1, round(repeats))} if isinstance(repeats, (int, float)) else {}
    made |= {"conditioning_data_dir": str(masks)} if masks else {}
    for key, value in entry.items():
        name = {"path": "image_dir", "num_repeats": "num_repeats", "mask_path": "conditioning_data_dir"}.get(key)
        if name:
            ledger.convert(f"{place}.{key}", value, became=f"{name} = {made.get(name, '')}")
        else:
            _keep(ledger, f"{place}.{key}", value)
    return made


def _keep(ledger: Ledger, key: str, value: Any) -> None:
    why = WITHOUT.get(key.rpartition(".")[2])
    if value in (*NOT_SET, False):
        ledger.skip(key, value)
    else:
        ledger.keep(key, value, note=why or "diffusion-pipe is not known to have it.", outcome="no counterpart" if why else "unknown")
