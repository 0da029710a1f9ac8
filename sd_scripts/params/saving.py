"""Options: what is written, where, how often, and what is kept."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Saving")
class Saving:
    """What is written, where, how often, and what is kept."""

    output_dir: str | None = param(
        None,
        "Folder for the finished file, checkpoints and samples. It is made if it does not exist.",
        label="Output folder",
        path="folder",
        advanced=False,
    )
    output_name: str | None = param(None, "Name of the finished file, without ending. Empty: last.", label="Output name", advanced=False)
    save_precision: Literal["float", "fp16", "bf16"] | None = param(
        None,
        "Number format in the file. fp16 halves the size without visible loss. Empty: 32 bits, as trained.",
        label="Saved precision",
    )
    save_every_n_epochs: int | None = param(
        None,
        "Save the LoRA every n epochs, to choose the best afterwards. 0 or empty: only at the end.",
        label="Save every n epochs",
        min=0,
        step=1,
        advanced=False,
    )
    save_every_n_steps: int | None = param(
        None, "Save the LoRA every n steps. 0 or empty: not by steps.", label="Save every n steps", min=0, step=100
    )
    save_n_epoch_ratio: int | None = param(
        None, "Save about this many times in the run, at ends of epochs. It counts before every n epochs.", label="Number of saves", min=0, step=1
    )
    save_last_n_epochs: int | None = param(
        None,
        "Keep only the checkpoints of the last n epochs and delete older ones of this run. 0 or empty: keep all.",
        label="Keep last n epochs",
        min=0,
        step=1,
    )
    save_last_n_steps: int | None = param(
        None,
        "Keep only the checkpoints of the last n steps (steps, not files) and delete older ones of this run. 0 or empty: keep all.",
        label="Keep last n steps",
        min=0,
        step=100,
    )
    no_metadata: bool = param(
        False, "Do not write the settings into the LoRA file. What programs need to load it is written all the same.", label="No metadata"
    )
    training_comment: str | None = param(None, "A note that is written into the LoRA file.", label="Comment")


@section("File of an adapter")
class AdapterFile:
    """The kind of file that an adapter is saved in."""

    save_model_as: Literal["ckpt", "pt", "safetensors"] | None = param(
        "safetensors", "File format. safetensors is safe and read everywhere.", label="File format"
    )


@section("File of a model")
class ModelFile:
    """The kind of file, or folder, that a whole model is saved in."""

    save_model_as: Literal["ckpt", "safetensors", "diffusers", "diffusers_safetensors"] | None = param(
        None,
        "One file, or a folder in the diffusers layout. safetensors is safe and read everywhere. Empty: the same kind as the base model.",
        label="File format",
    )
    use_safetensors: bool = param(False, "Save as safetensors, whatever the kind of the base model.", label="Always safetensors")


@section("State and resume")
class State:
    """What resuming needs."""

    save_state: bool = param(False, "Save all that resuming needs with each checkpoint: about three times the LoRA's size.", label="Save state")
    save_state_on_train_end: bool = param(False, "Save the state at the end, to train on later.", label="Save state at the end")
    save_last_n_epochs_state: int | None = param(
        None, "Keep the states of the last n epochs. Empty: as for checkpoints.", label="Keep states of last n epochs", min=0, step=1
    )
    save_last_n_steps_state: int | None = param(
        None, "Keep the states of the last n steps. Empty: as for checkpoints.", label="Keep states of last n steps", min=0, step=100
    )
    resume: str | None = param(None, "A state folder to go on from, exactly where it stopped.", label="Resume from", path="folder")
