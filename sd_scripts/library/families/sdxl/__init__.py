"""SDXL."""

from sd_scripts.library.families.sdxl.family import SDXL

FAMILY = SDXL
"""The family under the name by which tools find it in any of these folders."""

__all__ = ["FAMILY", "SDXL"]
