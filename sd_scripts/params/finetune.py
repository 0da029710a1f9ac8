"""Options: which text encoders are trained with a whole model, and with which rates."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Text encoder of the model")
class DreamBoothText:
    """How long, and how fast, the text encoder is trained along with the model."""

    stop_text_encoder_training: int | None = param(
        None,
        "Stop training the text encoder after this many steps. Empty or 0: it is trained to the end; -1: it is not trained.",
        label="Stop text encoder",
        min=-1,
        step=100,
        advanced=False,
    )
    learning_rate_te: float | None = param(
        None, "Learning rate of the text encoder. Empty: the main rate; 0: it is not trained.", label="Text encoder rate", min=0
    )


@section("Text encoder of the model")
class FineTuneText:
    """Whether the text encoder is trained along with the model."""

    train_text_encoder: bool = param(
        False, "Train the text encoder too. It costs memory, and words change their meaning sooner.", label="Train text encoder", advanced=False
    )
    learning_rate_te: float | None = param(
        None,
        "Learning rate of the text encoder. Empty: the main rate; 0: it is not trained.",
        label="Text encoder rate",
        min=0,
        when={"train_text_encoder": True},
    )


@section("Text encoders of the model")
class TwoTexts:
    """Whether the text encoders are trained along with the model."""

    train_text_encoder: bool = param(
        False,
        "Train both text encoders too. It costs much memory, and words change their meaning sooner.",
        label="Train text encoders",
        advanced=False,
    )
    learning_rate_te1: float | None = param(
        None,
        "Learning rate of the first text encoder (CLIP-L). Empty: the main rate; 0: it is not trained.",
        label="Rate of text encoder 1",
        min=0,
        when={"train_text_encoder": True},
    )
    learning_rate_te2: float | None = param(
        None,
        "Learning rate of the second text encoder (OpenCLIP-G). Empty: the main rate; 0: it is not trained.",
        label="Rate of text encoder 2",
        min=0,
        when={"train_text_encoder": True},
    )


@section("Rates by block")
class BlockRates:
    """A learning rate for each block of the U-Net."""

    block_lr: str | None = param(
        None,
        "Learning rates of the 23 parts of the U-Net, separated by commas: time and size embeddings, 9 input, 3 middle, 9 output blocks, output. "
        "0 leaves a part as it is.",
        label="Rates by block",
    )


@section("Update by groups")
class GroupedUpdate:
    """When weights are updated."""

    fused_optimizer_groups: int | None = param(
        None,
        "Split the weights into this many groups, each updated as soon as its gradients are known: less memory, for which 4 to 10 are usual. "
        "Gradient clipping then looks at each group alone.",
        label="Fused optimizer groups",
        min=1,
    )


@section("Attention (older switch)")
class OldAttention:
    """Another name of an attention kernel."""

    diffusers_xformers: bool = param(
        False,
        "xformers attention through diffusers.",
        label="xformers (diffusers)",
        settled="PyTorch's own attention is always used: the same result, as fast, without a package.",
    )
