"""A run while it goes on: its position, what is due now, and what is known late. The algorithm is in loop.py, the start in session.py."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import Tensor

from sd_scripts.errors import Diverged
from sd_scripts.library.data.batches import GlobalBatch, Group, batches_from
from sd_scripts.library.data.dataset import Batch, Dealer
from sd_scripts.library.data.loader import load
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.families.base import Conditions, Family, Noised, TextEmbeddings
from sd_scripts.library.methods.base import Method
from sd_scripts.library.training.control import Control
from sd_scripts.library.training.memory import memory_now
from sd_scripts.library.training.pictures import Pictures, mask_of
from sd_scripts.library.training.preservation import Preservation
from sd_scripts.library.training.previews import Previews
from sd_scripts.library.training.report import Report, StepFacts
from sd_scripts.library.training.request import Outcome
from sd_scripts.library.training.runtime import LateNumber, Runtime
from sd_scripts.library.training.saves import Saver
from sd_scripts.library.training.state import Position
from sd_scripts.library.training.texts import Texts
from sd_scripts.library.training.update import Updater
from sd_scripts.library.training.validation import Validation
from sd_scripts.library.transfer import to_device
from sd_scripts.params.events import REQUESTS, Phase, Request
from sd_scripts.params.loss import Loss
from sd_scripts.survey.plan import Plan

NAMES_SHOWN = 8
REASONS: dict[Request, str] = {"stop": "stopped on request", "pause": "paused"}


@dataclass(slots=True)
class Late:
    """A step whose loss is still on its way from the device."""

    plan: GlobalBatch
    numbers: LateNumber
    lr: Mapping[str, float]
    extra: Mapping[str, float]
    pictures: tuple[str, ...]


@dataclass(slots=True)
class Run:
    """Everything that one training holds. `start_step` optimizer steps were done before it began; `loader_workers` processes read ahead."""

    plan: Plan
    loss: Loss
    seed: int
    start: Position
    groups: Sequence[Group]
    dealer: Dealer
    loader_workers: int
    family: Family
    method: Method
    pictures: Pictures
    texts: Texts
    preservation: Preservation | None
    updater: Updater
    runtime: Runtime
    report: Report
    control: Control
    saver: Saver
    previews: Previews
    validation: Validation | None
    divergence_fix: str
    checkpointed: bool = False
    requests: set[Request] = field(default_factory=set)
    ended: str = ""
    _late: deque[Late] = field(default_factory=deque)
    _best: tuple[float, int] | None = None
    _step: int = 0
    _epoch: int = 0
    _window: list[GlobalBatch] = field(default_factory=list)

    def begin(self) -> None:
        """Everything before the first step: the first previews, and the modes of the parts."""
        self._step, self._epoch, self._best = self.start.step, self.start.epoch, self.start.best
        if self.plan.sample_at_first and self.start.step == 0:
            self._preview(by_epoch=False)
        self._train()

    def batches(self) -> Iterator[Batch]:
        """This process's share of every batch that is still to be trained on."""
        plans = batches_from(
            self.groups, seed=self.seed, processes=self.runtime.processes, accumulation=self.plan.accumulation, start_step=self.start.step
        )
        wanted = takewhile(lambda plan: plan.step <= self.plan.total_steps, plans)
        orders = map(self.pictures.order, wanted)
        for batch in load(self.dealer, orders, workers=self.loader_workers, pin_memory=self.runtime.device.type == "cuda"):
            self._window.append(batch.plan)
            yield batch

    def draws(self, batch: Batch) -> Draws:
        """The generators of a batch's pictures."""
        return Draws(self.seed, batch.plan.epoch, batch.plan.step, batch.indices)

    def text(self, batch: Batch) -> TextEmbeddings:
        """A batch's captions encoded: as they were cached, or now."""
        if batch.text is None:
            return self.texts(batch.captions)
        embeds, pooled = (part.to(self.runtime.device, non_blocking=True) for part in batch.text)
        return TextEmbeddings(embeds, pooled)

    def conditions(self, batch: Batch) -> Conditions:
        """What the model is told of a batch's pictures besides their captions."""
        return Conditions(to_device(batch.sizes, self.runtime.device), self.pictures.seen(batch))

    def mask(self, batch: Batch) -> Tensor | None:
        """What of each picture is learned, (batch, 1, height, width), in [0, 1]; None for all."""
        return mask_of(batch, self.runtime.device)

    def preserved(
        self, batch: Batch, noised: Noised, text: TextEmbeddings, conditions: Conditions, *, model_pred: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        """Targets, of which some may be the model's prediction before training, and losses per item to add for what is to stay as it was."""
        if self.preservation is None:
            return noised.target, 0.0
        return self.preservation(batch, noised, text, conditions, model_pred=model_pred, mask=mask)

    def model_context(self, batch: Batch) -> AbstractContextManager[None]:
        """Where the model computes: mixed precision as configured, dropout drawn for this place in the run."""
        self.runtime.seed_model(self.seed, epoch=batch.plan.epoch, step=batch.plan.step, micro_step=batch.plan.micro_step)
        return self.runtime.autocast()

    def finish_step(self, plan: GlobalBatch) -> None:
        """Update the weights; report the step before, whose loss has arrived by now."""
        rates = self.updater.rates()
        asked = self.control.pending()
        numbers = self.updater.step([float(request in asked) for request in REQUESTS] if self.runtime.processes > 1 else ())
        extra = {**self.method.after_step(), **self.updater.adapted_rates()}
        self.updater.changed(plan.step)
        pictures = tuple(self.dealer.listing.items[number].path.name for batch in self._window for number in batch.entries)
        self._window.clear()
        self._late.append(Late(plan, LateNumber(numbers), rates, extra, pictures))
        self._step, self._epoch = plan.step, plan.epoch
        self._settle(keep=0 if self._must_be_settled(plan) else 1)
        if self.runtime.processes == 1:
            self.requests |= asked
        if self._ends_epoch(plan):
            self.report.ended_epoch(plan.epoch)
            self.updater.ended_epoch(self.report.losses)

    def validate_if_due(self, plan: GlobalBatch) -> None:
        """The loss on pictures that are kept aside, after this step or this epoch."""
        validation = self.validation
        by_epoch = validation is not None and self._ends_epoch(plan) and validation.epoch_is_due(plan.epoch)
        if validation is None or not (by_epoch or validation.step_is_due(plan.step)):
            return
        self._rest("validating")
        loss = validation.measure(lambda done, total: self.report.phase("validating", done, total))
        if not math.isfinite(loss):
            raise Diverged(f"The loss on validation pictures became {loss} at step {plan.step}.", fix=self.divergence_fix)
        self._best = min(self._best or (loss, plan.step), (loss, plan.step))
        self.report.validated(plan.step, plan.epoch, loss, best=self._best, by_epoch=by_epoch)
        self._train()

    def save_if_due(self, plan: GlobalBatch) -> None:
        """Checkpoints after this step and this epoch."""
        rules = self.saver.rules
        due_step, due_epoch = rules.step_is_due(plan.step), plan.closes_epoch and rules.epoch_is_due(plan.epoch)
        if not (due_step or due_epoch):
            return
        if self.runtime.is_main:
            if due_step:
                self.saver.after_step(self._position())
            if due_epoch:
                self.saver.after_epoch(self._position())
            self.report.phase("training")

    def preview_if_due(self, plan: GlobalBatch) -> None:
        """Previews after this step or this epoch."""
        by_epoch = self._ends_epoch(plan) and self.previews.epoch_is_due(plan.epoch)
        if by_epoch or self.previews.step_is_due(plan.step):
            self._preview(by_epoch=by_epoch)

    def serve_requests(self, plan: GlobalBatch) -> None:
        """Do what somebody asked for from outside. Processes see requests at the same step, since they travel with the gradients."""
        for request in sorted(self.requests):
            if request in REASONS and plan.step < self.plan.total_steps:
                self.ended = REASONS[request]
            if request == "sample":
                self._preview_on_request()
            if request == "save" or self.ended:
                self._settle(keep=0)
                if self.runtime.is_main:
                    self.saver.on_request(self._position())
                    self.report.phase("training")
            self.control.served(request)
        self.requests.clear()

    def is_over(self, plan: GlobalBatch) -> bool:
        """Whether the plan is done, or a request ended the run."""
        return bool(self.ended) or plan.step >= self.plan.total_steps

    def finish(self) -> Outcome:
        """The finished run's files; or, where it was stopped, only the outcome: its files are there already."""
        self._settle(keep=0)
        if self.ended:
            self.saver.close()
            return Outcome(3, self.ended, self._step)
        if self.runtime.is_main:
            self.saver.at_end(self._position())
        self.saver.close()
        self.runtime.wait()
        return Outcome(0, "finished", self._step)

    def _settle(self, *, keep: int) -> None:
        """Read the losses that have arrived, all but the `keep` newest, and report their steps."""
        while len(self._late) > keep:
            late = self._late.popleft()
            loss, *flags = late.numbers.read()
            if not torch.isfinite(torch.tensor(loss)):
                raise self._diverged(late, loss)
            if self.runtime.processes > 1:
                self.requests |= {request for request, flag in zip(REQUESTS, flags, strict=True) if flag > 0}
            self.report.took_step(StepFacts(late.plan.step, late.plan.epoch, loss, late.lr, memory_now(self.runtime.device), late.extra))

    def _diverged(self, late: Late, loss: float) -> Diverged:
        shown = ", ".join(late.pictures[:NAMES_SHOWN])
        step, more = late.plan.step, len(late.pictures) - NAMES_SHOWN
        if more > 0:
            return Diverged(f"The loss became {loss} at step {step}, with the pictures {shown} and {more} more.", fix=self.divergence_fix)
        return Diverged(f"The loss became {loss} at step {step}, with the pictures {shown}.", fix=self.divergence_fix)

    def _must_be_settled(self, plan: GlobalBatch) -> bool:
        """Whether something follows this step that must not happen with broken weights, or must know all losses."""
        rules = self.saver.rules
        return self._ends_epoch(plan) or rules.step_is_due(plan.step) or self.previews.step_is_due(plan.step)

    def _ends_epoch(self, plan: GlobalBatch) -> bool:
        return plan.closes_epoch or plan.step >= self.plan.total_steps

    def _position(self) -> Position:
        return Position(
            self._step,
            self._epoch,
            self.seed,
            processes=self.runtime.processes,
            accumulation=self.plan.accumulation,
            steps_per_epoch=self.plan.steps_per_epoch,
            losses=tuple(self.report.losses),
            best=self._best,
        )

    def _preview_on_request(self) -> None:
        if self.previews.prompts:
            self._preview(by_epoch=False)
        else:
            self.report.warn("sample_prompts", "No preview can be drawn: there is no prompt file.", "Name one with sample_prompts at the next start.")

    def _preview(self, *, by_epoch: bool) -> None:
        self._rest("sampling")
        self.previews.draw(step=self._step, epoch=self._epoch if by_epoch else None)
        self.runtime.wait()
        self._train()

    def _rest(self, phase: Phase) -> None:
        """Modes for looking at the model instead of training it, until `_train`."""
        self._settle(keep=0)
        self.report.phase(phase)
        self.method.eval()
        self.family.unet.eval()
        for text_encoder in self.family.text_encoders:
            text_encoder.eval()
        self.updater.eval()

    def _train(self) -> None:
        """Modes for training. Frozen parts stay in eval mode, unless recomputing activations needs train mode; they have no dropout of their own."""
        self.method.train()
        self.updater.train()
        if self.checkpointed:
            self.family.unet.train()
            for text_encoder in self.family.text_encoders:
                text_encoder.train()
        self.report.phase("training")
