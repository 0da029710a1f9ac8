"""Embeddings of captions while training: computed at every step where the text encoder learns, else once per caption."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from sd_scripts.library.families.base import Family, TextEmbeddings
from sd_scripts.survey.caption_variants import varies
from sd_scripts.survey.datasets import CaptionRules

MOST_KEPT = 2048
"""Captions whose embeddings stay on the device: 77 × 768 numbers each make half a gigabyte in float32."""


def captions_repeat(rules: Iterable[CaptionRules]) -> bool:
    """Whether the same texts come again in every epoch. Dropping whole captions adds only the empty one."""
    return not any(varies(rule) for rule in rules)


class Texts:
    """Captions to embeddings: `texts(captions)`.

    With `keep`, each caption is encoded once and alone: its embedding then does not depend on which captions it met in a batch, so that a resumed run
    gets the same bits. `keep` needs a text encoder that does not change and embeddings of one length.
    """

    def __init__(self, family: Family, *, keep: bool) -> None:
        self.family, self.keep = family, keep
        self._kept: dict[str, TextEmbeddings] = {}

    def __call__(self, captions: Sequence[str]) -> TextEmbeddings:
        """Embeddings of a batch of captions, in order."""
        if not self.keep:
            return self.family.encode_text(captions)
        rows = [self._one(caption) for caption in captions]
        pooled = [row.pooled for row in rows if row.pooled is not None]
        return TextEmbeddings(torch.cat([row.prompt_embeds for row in rows]), torch.cat(pooled) if pooled else None)

    def _one(self, caption: str) -> TextEmbeddings:
        if caption in self._kept:
            return self._kept[caption]
        with torch.no_grad():
            row = self.family.encode_text([caption])
        if len(self._kept) < MOST_KEPT:
            self._kept[caption] = row
        return row
