"""Optimizers of other trainers: their names, and those of their arguments that ours take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sd_scripts.params.migrate.ledger import shown
from sd_scripts.params.optimizer_args import ARGUMENTS

BETAS = ("beta1", "beta2", "beta3")
SPELLED_OUT: dict[str, dict[str, Any]] = {"Adafactor": {"relative_step": False, "scale_parameter": False, "warmup_init": False}}
"""Switches that other trainers have off and that are on here where nothing is said."""
WITH_THREE_BETAS = ("pytorch_optimizer.CAME", "DAdaptAdan", "bitsandbytes.optim.AdEMAMix8bit", "bitsandbytes.optim.PagedAdEMAMix8bit")


def accepted(optimizer: str) -> Mapping[str, str] | None:
    """The arguments of an optimizer by name, None where they are not listed."""
    return next((arguments for name, arguments in ARGUMENTS.items() if name.lower() == optimizer.lower()), None)


def words_of(optimizer: str, given: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """`optimizer_args` from single arguments, and the names of those that the optimizer takes. Betas count together, or not at all."""
    known = accepted(optimizer)
    used: set[str] = set()
    words = []
    for name, value in given.items():
        if name not in BETAS and value is not None and (known is None or name in known):
            words.append(f"{name}={_word(value)}")
            used.add(name)
    wanted = BETAS if optimizer in WITH_THREE_BETAS else BETAS[:2]
    betas = [given.get(name) for name in wanted]
    if (known is None or "betas" in known) and None not in betas:
        words.append(f"betas={','.join(_word(beta) for beta in betas)}")
        used.update(wanted)
    if known is not None and "beta3" in known and given.get("beta3") is not None and "beta3" not in used:
        words.append(f"beta3={_word(given['beta3'])}")
        used.add("beta3")
    return words, used


def from_text(text: str) -> dict[str, str]:
    """Arguments written as "a=1,b=2"; a comma inside a value belongs to it."""
    made: dict[str, str] = {}
    last = ""
    for piece in text.split(","):
        name, equals, value = piece.partition("=")
        if equals:
            last = name.strip()
            made[last] = value.strip()
        elif last:
            made[last] += f",{piece.strip()}"
    return made


def joined(words: Iterable[str]) -> str:
    """Words as a row shows them."""
    return " ".join(words)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (list, tuple)):
        return ",".join(_word(item) for item in value)
    return shown(value) if isinstance(value, float) else str(value)
