"""Randomness as a function of position: the number that seeds each draw of a run. Who draws what from it is said where it is drawn."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, stream: str, *, epoch: int = 0, step: int = 0, index: int = -1) -> int:
    """Seed of one draw, equal for any number of processes and loader workers and for a resumed run.

    Args:
        seed: the run's seed.
        stream: name of what is drawn ("flip", "caption", "noise", ...). Draws with different names are independent.
        epoch: epoch that the draw belongs to, 1-based; 0 where the epoch is no part of the position.
        step: optimizer step that the draw belongs to; 0 where it is no part of the position.
        index: place in the global batch; -1 for a draw that belongs to the whole batch.

    Returns:
        0 ... 2**63 - 1, fit for `random.Random`, numpy and `torch.Generator.manual_seed`.
    """
    position = f"{seed}\0{stream}\0{epoch}\0{step}\0{index}".encode()
    return int.from_bytes(hashlib.sha256(position).digest()[:8], "big") >> 1
