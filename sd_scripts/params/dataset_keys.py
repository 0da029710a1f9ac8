"""Keys of a dataset config file that no command line has an option for. All others are options of a trainer, see `survey/dataset_options.py`."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Folder", sink="dataset")
class SubsetKeys:
    """What only a subset of a dataset config file says."""

    image_dir: str | None = param(None, "The folder of this subset's pictures.", label="Picture folder", path="folder", advanced=False)
    is_reg: bool = param(
        False,
        "These pictures keep the model from forgetting the class; they are repeated until they are as many as the others of their dataset.",
        label="Regularisation",
        advanced=False,
    )
    metadata_file: str | None = param(
        None,
        "A .json or .jsonl file that names the pictures with their captions. Caption files are then not read, and only pictures in it are used.",
        label="Metadata file",
        path="file",
    )


@section("Adapter", sink="dataset")
class DatasetKeys:
    """What only a dataset of a dataset config file says."""

    network_multiplier: float = param(
        1.0,
        "Strength of the adapter while these pictures are trained on; below 0 it learns their opposite.",
        label="Strength of the adapter",
        step=0.1,
    )


@section("Attributes", sink="dataset")
class CustomAttributes:
    """Attributes of pictures, in the table `custom_attributes`."""

    diff_output_preservation: bool = param(
        False,
        "These pictures teach what the model predicted for them before training, so that it stays as it was there.",
        label="Keep what the model predicted",
        dataset_key="custom_attributes.diff_output_preservation",
    )
