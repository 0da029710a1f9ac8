"""Options: where the pictures are."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Pictures")
class Folders:
    """Where the pictures are."""

    train_data_dir: str | None = param(
        None,
        "The folder of your pictures: either the pictures themselves, or folders named like 10_cat, where 10 is how often each is shown per epoch.",
        label="Picture folder",
        path="folder",
        advanced=False,
    )
    dataset_config: str | None = param(
        None,
        "A dataset file (.toml or .json) that describes several folders, each with its own options. It replaces the two folders above.",
        label="Dataset file",
        path="file",
    )
    dataset_repeats: int = param(
        1,
        "How often each picture is shown per epoch, for a plain folder. More repeats make longer epochs, not a better result by themselves.",
        label="Repeats",
        min=1,
        step=1,
        advanced=False,
    )
    class_tokens: str | None = param(
        None,
        'Caption of every picture that has no caption file, for a plain folder: a rare word and what it is, such as "sks cat".',
        label="Caption without file",
        own=True,
        advanced=False,
    )
    dataset_class: str | None = param(
        None,
        "Dotted path of a dataset class of your own.",
        unavailable="such a class hands over finished batches, past buckets, caches and the count of steps. Let it write a metadata file (in_json) "
        "instead.",
    )
    cache_info: bool = param(
        False,
        "Write picture sizes and captions to metadata_cache.json in the picture folder, to start faster next time. What changed since is read anew.",
    )
    debug_dataset: bool = param(
        False,
        "Draw the first batches as they would be trained on, with their captions, into the output folder, and end without loading the model.",
        label="Show the dataset only",
    )


@section("Metadata file")
class MetadataFile:
    """Captions and tags of many pictures in one file, instead of a file beside each."""

    in_json: str | None = param(
        None,
        "A .json or .jsonl file that names pictures below the picture folder with their captions and tags. Caption files are then not read, and only "
        "pictures in it are used.",
        label="Metadata file",
        path="file",
    )


@section("Regularisation")
class Regularisation:
    """Pictures of the same class that keep a model from forgetting it (prior preservation)."""

    reg_data_dir: str | None = param(
        None,
        "Pictures of the same class that keep the model from forgetting it, in folders named like 1_cat. They take half of the training time.",
        label="Regularisation folder",
        path="folder",
    )
    prior_loss_weight: float = param(
        1.0,
        "How much regularisation pictures count, from 0 to 1. Less learns your pictures harder.",
        label="Weight of regularisation",
        min=0,
        step=0.1,
        when={"reg_data_dir": True},
    )


@section("Masks")
class Masks:
    """Which parts of a picture are learned."""

    conditioning_data_dir: str | None = param(
        None,
        "Folder of masks with the names of the pictures; or with folders named as theirs. White is learned, black is not, grey a little.",
        label="Mask folder",
        path="folder",
        when={"masked_loss": True},
    )
    masked_loss: bool = param(
        False, "Learn only what the masks leave white; the rest of a picture may be anything. Every picture needs one.", label="Masked loss"
    )
    alpha_mask: bool = param(
        False,
        "Learn only what is opaque in pictures with transparency; others are learned whole. Masks from a folder count first.",
        label="Transparency as mask",
    )
