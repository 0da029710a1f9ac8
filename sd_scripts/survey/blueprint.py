"""From a request to the datasets that it means: folders on the command line, or a dataset config file. No picture is looked into."""

from __future__ import annotations

from sd_scripts.errors import DataError
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders
from sd_scripts.survey.dataset_config import datasets_of_file
from sd_scripts.survey.datasets import Blueprint, CaptionRules, Dataset, Size, Subset
from sd_scripts.survey.folders import datasets_of_folders

__all__ = ["Blueprint", "CaptionRules", "Dataset", "Size", "Subset", "read_blueprint"]


def read_blueprint(config: Config) -> Blueprint:
    """The datasets that `config` asks for; what was odd but usable stands in the blueprint's problems.

    With `dataset_config` they come from that file, and the folders of the command line are not used. Else from `train_data_dir`: every sub-folder
    `<repeats>_<class tokens>` is a subset; a folder of pictures without such sub-folders is one subset, with `dataset_repeats` and `class_tokens`.

    Raises:
        ConfigError: no data is named, or a key or value is wrong.
        DataError: there is no picture in any of the folders.
    """
    made = datasets_of_file(config) if config[Folders].dataset_config else datasets_of_folders(config)
    if not any(not subset.is_reg for dataset in made.datasets for subset in dataset.subsets):
        raise DataError("There are no pictures to train on.", fix="Name a folder with .png, .jpg, .webp, .avif, .jxl or .bmp files.")
    return made
