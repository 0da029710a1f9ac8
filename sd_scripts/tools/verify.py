"""Check weight files: `python -m sd_scripts.tools.verify FILE...` prints one JSON object per file and line.

Every byte is read: the header, each tensor (NaN and infinity are reported by key), the sha256, and the hash that the file states of itself.
Exit codes: 0 all files are whole and finite; 2 at least one is unreadable, cut off, or holds NaN or infinity, or the arguments are wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from sd_scripts.errors import DataError
from sd_scripts.library.weights_file import each_tensor, is_finite, sha256_of
from sd_scripts.survey.header import detect, read_header

DOWN, ALPHA = ".lora_down.weight", ".alpha"
KEYS_NAMED = 10
CHUNK_BYTES = 1 << 22


def verify(path: Path) -> dict[str, object]:
    """What is in one weight file, ready for JSON. A bad file raises nothing: `ok` is False, and `error` or `not_finite` says why.

    `kind` and `family` are the survey's words. For adapters, `ranks` counts modules by rank, `alphas` by alpha. `states_its_hash` tells whether the
    hash in the file's own metadata is right (None: it states none).
    """
    try:
        facts, header = detect(path), read_header(path)
        broken, ranks, alphas = _contents(path)
        digest = sha256_of(path)
    except DataError as error:
        return {"path": str(path), "ok": False, "error": str(error)}
    found: dict[str, object] = {
        "path": str(path),
        "ok": not broken,
        "kind": facts.kind,
        "family": facts.family,
        "precision": facts.precision,
        "bytes": facts.size,
        "tensors": facts.tensors,
        "finite": not broken,
        "sha256": digest,
        "states_its_hash": _states_its_hash(path, header.metadata),
    }
    if ranks:
        found |= {"ranks": ranks, "alphas": alphas}
    if broken:
        found["not_finite"] = broken[:KEYS_NAMED]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per file. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sd_scripts.tools.verify", description="Check that weight files are whole and finite.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a .safetensors, .ckpt or .pt file")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per line; the default")
    form.add_argument("--text", action="store_true", help="one line for people per file")
    options = parser.parse_args(argv)
    good = True
    for path in options.files:
        found = verify(path)
        good = good and found["ok"] is True
        print(_line(found) if options.text else json.dumps(found, ensure_ascii=False), flush=True)
    return 0 if good else 2


def _contents(path: Path) -> tuple[list[str], dict[str, int], dict[str, int]]:
    """Keys with NaN or infinity, and how many modules have which rank and which alpha."""
    broken: list[str] = []
    ranks: Counter[str] = Counter()
    alphas: Counter[str] = Counter()
    for key, tensor in each_tensor(path):
        if not is_finite(tensor):
            broken.append(key)
        if key.endswith(DOWN):
            ranks[str(tensor.shape[0])] += 1
        elif key.endswith(ALPHA) and tensor.numel() == 1:
            alphas[_number(tensor)] += 1
    return broken, dict(ranks), dict(alphas)


def _number(tensor: Tensor) -> str:
    return f"{float(tensor):g}"


def _states_its_hash(path: Path, metadata: Mapping[str, str]) -> bool | None:
    stated = metadata.get("sshs_model_hash")
    if not stated or path.suffix.lower() != ".safetensors":
        return None
    digest = hashlib.sha256()
    for chunk in _behind_header(path):
        digest.update(chunk)
    return digest.hexdigest() == stated


def _behind_header(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _line(found: Mapping[str, object]) -> str:
    if "error" in found:
        return f"BAD   {found['error']}"
    verdict = "ok   " if found["ok"] else f"BAD   NaN or infinity in {found['not_finite']}"
    what = f"{found['family'] or 'unknown'} {found['kind']}, {found['tensors']} tensors, {found['bytes']} bytes"
    return f"{verdict} {found['path']}: {what}, {found['sha256']}"


if __name__ == "__main__":
    raise SystemExit(main())
