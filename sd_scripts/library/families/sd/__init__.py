"""Stable Diffusion 1.x and 2.x."""

from sd_scripts.library.families.sd.family import SD

__all__ = ["SD"]
