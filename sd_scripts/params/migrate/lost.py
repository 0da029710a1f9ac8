"""What kohya's trainers do not know: options of ours, and values that theirs do not take."""

from __future__ import annotations

from sd_scripts.params.commands import Command

OURS = "Kohya's trainer has no such option."
OWN_VALUES = {
    "optimizer_type": ("adamwstochastic", "muon", "soap"),
    "lr_scheduler": ("rex", "reduce_lr_on_plateau", "cosine_warmup_with_min_lr"),
}
"""Values that there are refused, or mean something else: docs/compatibility.md."""


def why_not(command: Command, name: str) -> str:
    """Why kohya's script of that name does not take an option; "" if it does."""
    parameter = command.parameter(name)
    if parameter.hints.own or name in command.added:
        return OURS
    return "It names files of this program." if name in ("config_file", "output_config") else ""


def lost_value(name: str, value: object) -> str:
    """Why kohya's trainers do not take a value of an option that they have; "" if they do."""
    if str(value).lower() in OWN_VALUES.get(name, ()):
        return f"Kohya's trainer has no {name} {value}."
    if name == "stop_text_encoder_training" and isinstance(value, float) and 0 < value < 1:
        return "Kohya's trainer takes a number of steps alone."
    return ""
