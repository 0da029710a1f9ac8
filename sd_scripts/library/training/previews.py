"""When previews are due, and where they go. How a picture is drawn is preview.py's business."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sd_scripts.errors import RunError
from sd_scripts.library.families.base import Family
from sd_scripts.library.training.preview import Preview, draw_previews, preview_path
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.runtime import Runtime, borrowed
from sd_scripts.params.config import Config
from sd_scripts.params.samples import Samples
from sd_scripts.params.saving import Saving
from sd_scripts.survey.plan import Plan
from sd_scripts.survey.prompts import Prompt, read_prompts

FOLDER = "sample"


@dataclass(frozen=True, slots=True)
class Previews:
    """The previews of one run. Processes share them out: each draws every nth prompt."""

    prompts: Sequence[Prompt]
    steps: frozenset[int]
    epochs: frozenset[int]
    folder: Path
    name: str
    family: Family
    runtime: Runtime
    report: Report

    def step_is_due(self, step: int) -> bool:
        """Whether previews follow optimizer step `step`."""
        return step in self.steps

    def epoch_is_due(self, epoch: int) -> bool:
        """Whether previews follow the end of `epoch`."""
        return epoch in self.epochs

    def draw(self, *, step: int, epoch: int | None) -> None:
        """Draw all previews with the model as it is, and save each as soon as it is there.

        Args:
            step: optimizer steps done.
            epoch: for previews at an epoch's end: takes the step's place in file names.

        Raises:
            RunError: a picture cannot be written.
        """
        mine = self.prompts[self.runtime.rank :: self.runtime.processes]
        done = 0

        def keep(preview: Preview) -> None:
            nonlocal done
            done += 1
            self._keep(preview, step=step, epoch=epoch)
            self.report.phase("sampling", done, len(mine))

        with borrowed((self.family.vae, *self.family.text_encoders), self.runtime.device):
            draw_previews(self.family, mine, autocast=self.runtime.autocast, on_image=keep)

    def _keep(self, preview: Preview, *, step: int, epoch: int | None) -> None:
        path = preview_path(self.folder, self.name, preview.prompt, step=step, epoch=epoch)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            preview.image.save(path)
        except OSError as error:
            fix = "Free space or choose another output_dir."
            raise RunError(f"The preview {path} cannot be written: {error.strerror or error}.", fix=fix) from error
        prompt = preview.prompt
        self.report.event("sample", path=str(path.absolute()), prompt=prompt.prompt, step=step, seed=preview.seed, index=prompt.index)


def make_previews(config: Config, plan: Plan, *, family: Family, runtime: Runtime, report: Report) -> Previews:
    """Read the prompts and keep a copy of their file beside the pictures, as it was when the run began.

    Raises:
        ConfigError: the prompt file is missing or wrong.
        RunError: the copy cannot be written.
    """
    samples, saving = config[Samples], config[Saving]
    folder = Path(saving.output_dir or ".")
    prompts: Sequence[Prompt] = ()
    if samples.sample_prompts and (plan.sample_steps or plan.sample_epochs or plan.sample_at_first or report.run_dir is not None):
        source = Path(samples.sample_prompts)
        prompts = read_prompts(source, sampler=samples.sample_sampler)
        if runtime.is_main:
            _copy(source, folder / FOLDER / f"prompt{source.suffix}")
    name = saving.output_name or ""
    return Previews(prompts, frozenset(plan.sample_steps), frozenset(plan.sample_epochs), folder, name, family, runtime, report)


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
    except OSError as error:
        fix = "Make the folder writable or choose another output_dir."
        raise RunError(f"The prompts cannot be copied to {target}: {error.strerror}.", fix=fix) from error
