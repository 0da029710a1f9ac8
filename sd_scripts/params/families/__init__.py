"""Torch-free facts of model families, one file per family, and the table by which a weights file is recognised."""

from __future__ import annotations

from sd_scripts.params.families.facts import FamilyFacts
from sd_scripts.params.families.sd import FACTS as SD_FACTS
from sd_scripts.params.families.sdxl import FACTS as SDXL_FACTS

FAMILIES: dict[str, FamilyFacts] = {facts.name: facts for facts in (SD_FACTS, SDXL_FACTS)}
"""Facts by the family's name, as commands name it."""
