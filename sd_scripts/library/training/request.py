"""What goes into a training and what comes out of it. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from sd_scripts.params.config import Config
from sd_scripts.survey.datasets import Blueprint
from sd_scripts.survey.items import Scan
from sd_scripts.survey.plan import Plan


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained: the accepted options, what the survey found, and the dotted paths of the family's and the method's class."""

    config: Config
    plan: Plan
    blueprint: Blueprint
    scan: Scan
    family: str
    method: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended: exit code, why, and how many optimizer steps are done."""

    exit_code: int
    reason: str
    step: int
