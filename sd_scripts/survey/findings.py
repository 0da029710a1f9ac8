"""What is wrong with a subset's pictures and captions, in words: one problem for each file that cannot be used, one for each kind of oddity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.survey.caption_files import OTHER_EXTENSIONS
from sd_scripts.survey.datasets import Dataset
from sd_scripts.survey.picture_file import ODD_KINDS
from sd_scripts.survey.picture_folder import Listing, Look
from sd_scripts.survey.picture_names import OTHER_EXTENSIONS as PICTURES_NOT_READ
from sd_scripts.survey.picture_names import stem_of

_NAMED = 5


def findings(listing: Listing, looks: Sequence[Look], dataset: Dataset, *, field: str) -> Iterator[Problem]:
    """All problems of one subset. `field` is the option that names its folder."""
    for entry in looks:
        for reason in entry.errors:
            yield error(field, f"{reason.path}: {reason.message}", reason.fix, path=reason.path)
    messages = [*_pictures(listing, looks, dataset), *_captions(listing, looks), *_several_lines(listing, looks)]
    for message, fix in messages:
        yield warning(field, f"{listing.subset.name}: {message}", fix, path=listing.subset.image_dir)
    yield from _other_extension(listing, looks)


Finding = tuple[str, str]
"""(message, fix)."""


def _pictures(listing: Listing, looks: Sequence[Look], dataset: Dataset) -> Iterator[Finding]:
    for kind, words in (*ODD_KINDS.items(), ("mask size", "has a mask of another size, which is scaled to fit")):
        odd = [entry.name for entry in looks if kind in entry.oddities]
        if odd:
            yield f"{names_words(odd)} {words}.", ""
    own = {subset.image_dir for subset in dataset.subsets}
    nested = [name for name in listing.nested if listing.subset.image_dir / name not in own]
    if nested:
        yield f"pictures in sub-folders are not used: {names_words(nested)}.", "Give each folder of pictures its own entry."
    if listing.unlisted:
        yield f"{names_words(listing.unlisted)} in {listing.subset.image_dir.name} is not in the metadata file and not used.", "Write it anew."
    unread = [f"{listing.others[extension]:,} {extension}" for extension in PICTURES_NOT_READ if listing.others.get(extension)]
    if unread:
        yield f"{' and '.join(unread)} files are not used: pictures of that kind are not read.", "Save them as .png."
    stems = Counter(map(stem_of, listing.pictures))
    twins = [name for name in listing.pictures if stems[stem_of(name)] > 1]
    if twins:
        yield f"{names_words(twins)} share a name and so one caption and one cache file.", "Rename or remove one of each."
    step = dataset.bucket_reso_steps
    small = [entry.name for entry in looks if entry.item is not None and min(entry.item.size) < step]
    if small and dataset.enable_bucket and dataset.bucket_no_upscale:
        yield f"{names_words(small)} is smaller than one bucket step ({step} px) and is enlarged.", "Replace it by a larger picture."


def _captions(listing: Listing, looks: Sequence[Look]) -> Iterator[Finding]:
    subset = listing.subset
    instead = f'the class tokens "{subset.class_tokens}" are used' if subset.class_tokens else "an empty caption is used"
    if listing.texts is not None:
        silent = _without_caption(looks)
        if silent:
            yield f"neither a caption nor tags for {names_words(silent)}; {instead}.", ""
        return
    blank = [entry.name for entry in looks if entry.caption == "blank"]
    if blank:
        yield f"the caption file of {names_words(blank)} is empty; {instead}.", "Write a caption or delete the file."
    missing = _without_caption(looks)
    if not missing or _mistaken_extension(listing):
        return
    if len(missing) < len(looks):
        yield f"no {subset.caption_extension} file for {names_words(missing)}; {instead}.", ""
    elif not subset.class_tokens:
        yield f"no picture has a caption ({subset.caption_extension}); {instead}.", "Write captions, or set class tokens."


def _several_lines(listing: Listing, looks: Sequence[Look]) -> Iterator[Finding]:
    long = [entry.name for entry in looks if entry.item is not None and "\n" in entry.item.caption]
    if long and not listing.subset.captions.enable_wildcard:
        yield f"the caption of {names_words(long)} has several lines; only the first is used.", "Turn on enable_wildcard to draw one at each step."


def _other_extension(listing: Listing, looks: Sequence[Look]) -> Iterator[Problem]:
    """Files with another extension that are captions in all likelihood: kohya's default, .caption, misses the usual .txt."""
    other = _mistaken_extension(listing)
    if other and _without_caption(looks):
        message = (
            f"{listing.others[other]:,} {other} files are not read, because captions are looked for in {listing.subset.caption_extension} files."
        )
        yield warning(
            "caption_extension", f"{listing.subset.image_dir.name}: {message}", f"Set caption_extension to {other}.", {"caption_extension": other}
        )


def _mistaken_extension(listing: Listing) -> str | None:
    return next((extension for extension in OTHER_EXTENSIONS if listing.others.get(extension)), None)


def _without_caption(looks: Sequence[Look]) -> list[str]:
    return [entry.name for entry in looks if entry.item is not None and entry.caption == "missing"]


def names_words(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"
