"""Stable Diffusion 1.x and 2.x."""

from sd_scripts.library.families.sd.family import SD

FAMILY = SD
"""The family under the name by which tools find it in any of these folders."""

__all__ = ["FAMILY", "SD"]
