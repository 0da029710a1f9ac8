"""Draws the demo's dataset again: `python demo/make_dataset.py`. Fifteen zibbits with captions, three on each of five grounds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from demo.draw import ZIBBIT_CAPTION, ZIBBIT_GROUNDS, draw_zibbit, ground_words

DATASET = Path(__file__).resolve().parent / "dataset" / "10_zibbit"
PER_GROUND = 3


def write_dataset(folder: Path, seed: int = 15) -> list[Path]:
    """Write `zibbit_01.png`, `zibbit_01.txt` and so on to `folder`, the same bytes of pixels for the same seed; return the pictures' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(seed), []
    for k, ground in enumerate(ZIBBIT_GROUNDS * PER_GROUND):
        path = folder / f"zibbit_{k + 1:02d}.png"
        x, y = 0.5 + rng.uniform(-0.05, 0.05), 0.57 + rng.uniform(-0.02, 0.02)
        draw_zibbit(ground, float(x), float(y), float(rng.uniform(0.26, 0.3))).save(path, optimize=True)
        path.with_suffix(".txt").write_text(ZIBBIT_CAPTION.format(ground=ground_words(ground)) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def main() -> None:
    """Write the dataset to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DATASET, help="folder for pictures and captions")
    print(*write_dataset(parser.parse_args().out), sep="\n")


if __name__ == "__main__":
    main()
