"""A word that is learnt: whether the captions hold it, and sentences around it for pictures without captions of their own.

Source of the idea: Gal et al. 2022, "An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual Inversion", arXiv:2208.01618,
section 4.1, which takes neutral sentences from CLIP's set for ImageNet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sd_scripts.params.config import Config
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.word import learnt_word
from sd_scripts.params.word import LearntWord, TextualInversion
from sd_scripts.survey.blueprint import Blueprint
from sd_scripts.survey.findings import names_words
from sd_scripts.survey.items import Item, Scan

OF_THINGS = (
    "a photo of a {}", "a photo of the {}", "a photo of one {}", "a close-up photo of a {}", "a close-up photo of the {}", "a cropped photo of a {}",
    "a cropped photo of the {}", "a good photo of a {}", "a good photo of the {}", "a bright photo of a {}", "a bright photo of the {}",
    "a dark photo of the {}", "a clean photo of a {}", "a clean photo of the {}", "a dirty photo of a {}", "a cool photo of a {}",
    "a nice photo of the {}", "a small photo of the {}", "a large photo of a {}", "a rendering of a {}", "a rendition of the {}",
    "a depiction of a {}", "an image of a {}", "an image of the {}",
)  # fmt: skip
OF_STYLES = (
    "a painting in the style of {}", "a picture in the style of {}", "an image in the style of {}", "a rendering in the style of {}",
    "a drawing in the style of {}", "a print in the style of {}", "a close-up painting in the style of {}", "a cropped painting in the style of {}",
    "a clean painting in the style of {}", "a dirty painting in the style of {}", "a dark painting in the style of {}",
    "a bright painting in the style of {}", "a cool painting in the style of {}", "a nice painting in the style of {}",
    "a good painting in the style of {}", "a rich painting in the style of {}", "a small painting in the style of {}",
    "a large painting in the style of {}", "a weird painting in the style of {}", "the painting, in the style of {}",
)  # fmt: skip


def word_problems(config: Config, blueprint: Blueprint, found: Scan) -> Iterator[Problem]:
    """Captions without the word teach nothing about it."""
    word = learnt_word(config)
    if not word or template_captions(config):
        return
    alone = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    shown = [item for item in found.items if item.repeats and not item.is_reg]
    missing = [item.path.name for item in shown if not alone.search(_with_affixes(item, blueprint))]
    if not missing:
        return
    fix = f"Write {word} into the captions, or set caption_prefix to {word}."
    if len(missing) == len(shown):
        yield error("token_string", f"No caption has the word {word}: nothing would be learnt.", fix)
    else:
        yield warning("token_string", f"{len(missing):,} of {len(shown):,} captions lack the word {word}: {names_words(missing)}.", fix)


def _with_affixes(item: Item, blueprint: Blueprint) -> str:
    rules = blueprint.datasets[item.dataset].subsets[item.subset].captions
    return " ".join((rules.caption_prefix or "", item.caption, rules.caption_suffix or ""))


def template_captions(config: Config) -> tuple[str, ...]:
    """The sentences that take the place of captions, with the word in them; none where captions are used."""
    if TextualInversion not in config:
        return ()
    options, word = config[TextualInversion], config[LearntWord].token_string or ""
    templates = OF_THINGS if options.use_object_template else OF_STYLES if options.use_style_template else ()
    return tuple(template.format(word) for template in templates)
