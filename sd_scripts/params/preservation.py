"""Options: what the model is to go on saying as it did before training."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Output preservation")
class OutputPreservation:
    """Hold predictions to those of the model before training: only for methods that can switch off what they train."""

    preservation_class: str | None = param(
        None,
        'What the trigger word is a case of, such as "cat". Captions with this in the trigger\'s place keep what the model made of them before. '
        "Needs no pictures; a step takes about twice as long.",
        label="Preserve class",
        own=True,
    )
    preservation_trigger: str | None = param(
        None, "The word of your captions whose place the class takes.", label="Trigger word", own=True, when={"preservation_class": True}
    )
    preservation_weight: float = param(
        1.0,
        "How much preserving the class counts beside learning your pictures.",
        label="Weight of the class",
        min=0,
        step=0.1,
        own=True,
        when={"preservation_class": True},
    )
    masked_prior_weight: float = param(
        0.0,
        "Outside the masks keep what the model predicted before training, this strongly beside the inside, so that backgrounds do not drift. "
        "Costs one more prediction per step. 0: off.",
        label="Keep the model outside masks",
        min=0,
        step=0.1,
        own=True,
    )
    reg_output_preservation: bool = param(
        False,
        "Regularisation pictures teach what the model predicted for them before training, not what they show, so any pictures of the class will do. "
        "Costs one more prediction per step.",
        label="Regularisation keeps the model",
        own=True,
    )
