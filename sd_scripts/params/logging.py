"""Options: curves and console output."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Logging")
class Logging:
    """Curves and console output."""

    logging_dir: str | None = param(
        None, "Folder for the curves' files, one folder per run in it. Empty: none are written.", label="Log folder", path="folder"
    )
    log_with: Literal["tensorboard", "wandb", "all"] | None = param(
        None,
        "Who keeps the curves: TensorBoard, Weights & Biases (the package wandb), or both. Empty: TensorBoard, where a log folder is given.",
        label="Log with",
    )
    log_prefix: str | None = param(None, "Text before the name of the run's log folder.", label="Log prefix")
    log_tracker_name: str | None = param(
        None,
        "Name of the log inside that folder, and of the project on Weights & Biases. Empty: kohya's name for the script, such as network_train.",
        label="Log name",
    )
    log_tracker_config: str | None = param(
        None,
        "A TOML file with settings of the log services: a table [wandb] with words of wandb.init, a table [tensorboard].",
        label="Log service settings",
        path="file",
    )
    log_config: bool = param(False, "Write the settings into the log too.", label="Log settings")
    wandb_run_name: str | None = param(None, "Name of the run on Weights & Biases. Empty: it makes one up.", label="W&B run name")
    wandb_api_key: str | None = param(
        None, "Your Weights & Biases key. It is never written to a config, a log or a command line.", label="W&B key", secret=True
    )
    console_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = param(
        None, "How much is printed: lines of this weight and above. Empty: INFO.", label="Console level"
    )
    console_log_file: str | None = param(
        None, "Print to the end of this file instead of the console. The progress line stays on the console.", label="Console file", path="file"
    )
    console_log_simple: bool = param(False, "Print plain lines without colours or columns.", label="Plain console", settled="Lines are always plain.")
