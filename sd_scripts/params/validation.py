"""Options: pictures kept aside to measure the loss on."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Validation")
class Validation:
    """Pictures kept aside to measure the loss on."""

    validation_split: float = param(
        0.0,
        "Share of the pictures of every folder that is not trained on but measured: their loss rises when the model begins to learn by heart. "
        "0.1 is usual; 0 is off.",
        label="Share kept aside",
        min=0,
        max=1,
        step=0.05,
    )
    validation_seed: int | None = param(
        None,
        "Chooses these pictures and their noise. Empty: always the same pictures, with noise by the run's seed.",
        min=0,
    )
    validate_every_n_steps: int | None = param(None, "Measure every n steps. Each takes four predictions per picture.", min=1)
    validate_every_n_epochs: int | None = param(None, "Measure every n epochs. If neither this nor steps are given: after each epoch.", min=1)
    max_validation_steps: int | None = param(None, "Measure at most this many batches. Empty: all pictures that are kept aside.", min=1)
