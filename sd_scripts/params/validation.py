"""Options: pictures kept aside to measure the loss on."""

from __future__ import annotations

from sd_scripts.params.reasons import FOR_VALIDATION
from sd_scripts.params.spec import param, section


@section("Validation")
class Validation:
    """Pictures kept aside to measure the loss on."""

    validation_split: float = param(0.0, "Share of the pictures that is kept aside.", min=0, max=1, unavailable=FOR_VALIDATION)
    validation_seed: int | None = param(None, "Seed that chooses these pictures.", unavailable=FOR_VALIDATION)
    validate_every_n_steps: int | None = param(None, "Measure every n steps.", min=1, unavailable=FOR_VALIDATION)
    validate_every_n_epochs: int | None = param(None, "Measure every n epochs.", min=1, unavailable=FOR_VALIDATION)
    max_validation_steps: int | None = param(None, "Measure at most this many batches.", min=1, unavailable=FOR_VALIDATION)
