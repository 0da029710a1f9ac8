"""Where the pictures are, how large they are trained, and what their captions become."""

from __future__ import annotations

from pathlib import Path

from kohya_gui.form.section import FormSection
from kohya_gui.text import plural, say
from sd_scripts.params.captions import CaptionDropout, Captions
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders, Masks, MetadataFile, Regularisation
from sd_scripts.params.images import Augmentation, Images
from sd_scripts.params.text import ClipText


class Pictures(FormSection):
    """The folders of pictures."""

    title = "Pictures"
    parts = (Folders, MetadataFile, Regularisation)
    open = True

    def summary(self, config: Config) -> str:
        """The dataset's folder or file."""
        folders = config[Folders]
        chosen = folders.dataset_config or folders.train_data_dir
        if not chosen:
            return say("no folder chosen")
        return Path(chosen).name + (f" · {plural(folders.dataset_repeats, 'repeat')}" if folders.dataset_repeats != 1 else "")


class PictureSize(FormSection):
    """Target size, buckets, cropping and augmentation."""

    title = "Size and buckets"
    parts = (Images, Augmentation, Masks)

    def summary(self, config: Config) -> str:
        """Resolution and buckets."""
        images = config[Images]
        size = (images.resolution or say("no size")).replace(",", " × ")
        sides = f"{images.min_bucket_reso}–{images.max_bucket_reso}"
        buckets = say("buckets {sides}", sides=sides) if images.enable_bucket else say("no buckets")
        changes = [word for word, on in ((say("flips"), config[Augmentation].flip_aug), (say("colour"), config[Augmentation].color_aug)) if on]
        return " · ".join([size, buckets, *changes])


class CaptionText(FormSection):
    """From caption file to the text encoder."""

    title = "Captions"
    parts = (Captions, CaptionDropout, ClipText)

    def summary(self, config: Config) -> str:
        """File ending and what is done with the text."""
        captions = config[Captions]
        words = [
            captions.caption_extension,
            say("shuffled") if captions.shuffle_caption else "",
            say("keep {count}", count=captions.keep_tokens) if captions.keep_tokens else "",
        ]
        return " · ".join(word for word in words if word)
