"""How many steps a run takes and what happens at which: stated once, printed alike by form, preflight, trainer and metadata.

A step is one optimizer step of the whole run. Batches are global: batch size times processes, cut from one bucket.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass

from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.finetune import DreamBoothText
from sd_scripts.params.network import Network
from sd_scripts.params.rates import text_rates
from sd_scripts.params.rules.word import learnt_word
from sd_scripts.params.samples import Samples
from sd_scripts.params.saving import Saving
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.training import Training
from sd_scripts.survey.blueprint import Blueprint, Size
from sd_scripts.survey.buckets import choose
from sd_scripts.survey.items import Scan
from sd_scripts.survey.phrase import Line, Phrase, counted, in_english, phrase


@dataclass(frozen=True, slots=True)
class BucketCount:
    """One bucket of one dataset in an epoch: `items` pictures with repeats in `batches` global batches, of which the last may be short."""

    dataset: int
    bucket: Size
    images: int
    items: int
    batches: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Every number of a run that is known before it starts.

    `images` and `reg_images` count files that are used, `items` all of them with repeats in one epoch, `reg_items` the regularisation part of that.
    `batch_sizes` has one entry per dataset, per process. `text_encoder_stop_step`: 0 means never trained, None never stops. `save_epochs` and
    `sample_epochs` are 1-based; the file at the end is not among the saves. `kohya_steps_per_epoch` is None where kohya's count is the same.
    `word` is one that is learnt.
    """

    images: int
    reg_images: int
    items: int
    reg_items: int
    batch_sizes: tuple[int, ...]
    buckets: tuple[BucketCount, ...]
    batches_per_epoch: int
    processes: int
    accumulation: int
    steps_per_epoch: int
    epochs: int
    total_steps: int
    warmup_steps: int
    decay_steps: int
    text_encoder_stop_step: int | None
    save_steps: tuple[int, ...]
    save_epochs: tuple[int, ...]
    sample_at_first: bool
    sample_steps: tuple[int, ...]
    sample_epochs: tuple[int, ...]
    kohya_steps_per_epoch: int | None
    validation_images: int = 0
    word: str | None = None

    @property
    def text_changes(self) -> bool:
        """Whether what the text encoders make of a caption changes in the run."""
        return self.text_encoder_stop_step != 0 or self.word is not None

    def formula(self) -> list[str]:
        """The steps for people, one line per thought: pictures, batches, steps, then what happens on the way."""
        return [in_english(line) for line in self.lines()]

    def lines(self) -> list[Line]:
        """`formula` with words and numbers apart."""
        kohya = phrase(
            "kohya's sd-scripts count {steps} steps per epoch here: their batches are not shared among processes",
            steps=self.kohya_steps_per_epoch or 0,
        )
        lines = [self._pictures(), [self._batches()], *([[[kohya]]] if self.kohya_steps_per_epoch is not None else [])]
        if self.total_steps == self.epochs * self.steps_per_epoch:
            ending = [counted(self.epochs, "× 1 epoch", "× {count} epochs"), counted(self.total_steps, "= 1 step", "= {count} steps")]
        else:
            ending = [
                counted(self.total_steps, "1 step", "{count} steps"),
                phrase("= {epochs} epochs", epochs=f"{self.total_steps / self.steps_per_epoch:.2f}"),
            ]
        warmup = [phrase("warm-up {steps}", steps=self.warmup_steps)] if self.warmup_steps else []
        decay = [phrase("decay {steps}", steps=self.decay_steps)] if self.decay_steps else []
        happening = [
            self._saves(),
            *self._samples(),
            *self._text_encoder(),
            *([[phrase("learns the word {word}", word=self.word)]] if self.word else []),
        ]
        return [*lines, [group for group in (ending, warmup, decay) if group], *([group] for group in happening)]

    def as_dict(self) -> dict[str, object]:
        """All numbers with the formula's lines, ready for JSON."""
        return {**asdict(self), "formula": self.formula()}

    def _pictures(self) -> Line:
        trained = self.items - self.reg_items
        repeats, uneven = divmod(trained, self.images) if self.images else (0, 0)
        how = phrase("with their repeats") if uneven else counted(repeats, "× 1 repeat", "× {count} repeats")
        shown = [counted(self.images, "1 image", "{count} images"), how, phrase("= {count}", count=trained)]
        if self.reg_items:
            shown += [phrase("+ {count} regularisation", count=self.reg_items), phrase("= {count}", count=self.items)]
        aside = counted(self.validation_images, "1 image kept aside for validation", "{count} images kept aside for validation")
        return [shown, [aside]] if self.validation_images else [shown]

    def _batches(self) -> list[Phrase]:
        sizes = [f"{size:,}" for size in dict.fromkeys(self.batch_sizes)]
        shown = [phrase("÷ batch {size}", size=sizes[0]) if len(sizes) == 1 else phrase("÷ batch {sizes}", sizes=" / ".join(sizes))]
        if self.processes > 1:
            shown.append(phrase("÷ {count} processes", count=self.processes))
        if len(self.buckets) > 1:
            shown.append(phrase("in {count} buckets", count=len(self.buckets)))
        shown.append(counted(self.batches_per_epoch, "= 1 batch per epoch", "= {count} batches per epoch"))
        if self.accumulation > 1:
            shown.append(phrase("÷ accumulate {count}", count=self.accumulation))
            shown.append(counted(self.steps_per_epoch, "= 1 step per epoch", "= {count} steps per epoch"))
        return shown

    def _saves(self) -> list[Phrase]:
        return [phrase("saves {count}, the last one at the end", count=len(self.save_steps) + len(self.save_epochs) + 1)]

    def _samples(self) -> list[list[Phrase]]:
        count = len(self.sample_steps) + len(self.sample_epochs) + self.sample_at_first
        return [[counted(count, "samples once", "samples {count} times")]] if count else []

    def _text_encoder(self) -> list[list[Phrase]]:
        step = self.text_encoder_stop_step
        if step is None:
            return []
        return [[phrase("text encoder stops at step {step}", step=step) if step else phrase("text encoder is not trained")]]


def batches_of(blueprint: Blueprint, scan: Scan, processes: int) -> tuple[BucketCount, ...]:
    """What an epoch consists of, by dataset and bucket in sorted order. Every process gets the same number of batches, so none waits for another."""
    images: Counter[tuple[int, Size]] = Counter()
    items: Counter[tuple[int, Size]] = Counter()
    for item in scan.items:
        if item.repeats:
            dataset = blueprint.datasets[item.dataset]
            key = (item.dataset, choose(item.size, dataset).bucket)
            images[key] += 1
            items[key] += item.repeats
    return tuple(
        BucketCount(dataset, bucket, images[dataset, bucket], count, math.ceil(count / (blueprint.datasets[dataset].batch_size * processes)))
        for (dataset, bucket), count in sorted(items.items())
    )


def make_plan(config: Config, blueprint: Blueprint, scan: Scan, *, processes: int = 1) -> Plan:
    """The plan of a run on `processes` processes. A scan without items gives a plan of 0 steps."""
    training, schedule = config[Training], config[LRSchedule]
    buckets = batches_of(blueprint, scan, processes)
    batches = sum(bucket.batches for bucket in buckets)
    per_epoch = math.ceil(batches / training.gradient_accumulation_steps)
    total = training.max_train_epochs * per_epoch if training.max_train_epochs else training.max_train_steps if batches else 0
    epochs = math.ceil(total / per_epoch) if per_epoch else 0
    kohya = _kohya_steps(blueprint, buckets, processes, training.gradient_accumulation_steps)
    used = [item for item in scan.items if item.repeats]
    save_steps, save_epochs = _saves(config[Saving], total, epochs)
    sample_steps, sample_epochs = _samples(config[Samples], total, epochs)
    return Plan(
        images=sum(not item.is_reg for item in used),
        reg_images=sum(item.is_reg for item in used),
        items=sum(item.repeats for item in used),
        reg_items=sum(item.repeats for item in used if item.is_reg),
        batch_sizes=tuple(dataset.batch_size for dataset in blueprint.datasets),
        buckets=buckets,
        batches_per_epoch=batches,
        processes=processes,
        accumulation=training.gradient_accumulation_steps,
        steps_per_epoch=per_epoch,
        epochs=epochs,
        total_steps=total,
        warmup_steps=steps_of(schedule.lr_warmup_steps, total),
        decay_steps=steps_of(schedule.lr_decay_steps, total),
        text_encoder_stop_step=_text_encoder_stop(config, total),
        save_steps=save_steps,
        save_epochs=save_epochs,
        sample_at_first=bool(config[Samples].sample_prompts and config[Samples].sample_at_first),
        sample_steps=sample_steps,
        sample_epochs=sample_epochs,
        kohya_steps_per_epoch=None if kohya == per_epoch else kohya,
        validation_images=len(scan.validation),
        word=learnt_word(config),
    )


def steps_of(value: float, total_steps: int) -> int:
    """Steps from kohya's unit: below 1 a share of the run, else a number of steps."""
    return int(value * total_steps) if 0 < value < 1 else int(value)


def _kohya_steps(blueprint: Blueprint, buckets: tuple[BucketCount, ...], processes: int, accumulation: int) -> int:
    """Steps per epoch in sd-scripts, where a batch belongs to one process and processes share out the batches."""
    batches = sum(math.ceil(bucket.items / blueprint.datasets[bucket.dataset].batch_size) for bucket in buckets)
    return math.ceil(math.ceil(batches / processes) / accumulation)


def _text_encoder_stop(config: Config, total_steps: int) -> int | None:
    if Network not in config:
        if not any(text_rates(config, FAMILIES[config.command.family].text_encoders)):
            return 0
        return (config[DreamBoothText].stop_text_encoder_training or None) if DreamBoothText in config else None
    network = config[Network]
    stop = network.stop_text_encoder_training
    rates = network.text_encoder_lr
    if network.network_train_unet_only or stop == -1 or (rates and not any(rates)):
        return 0
    return None if not stop else max(1, steps_of(stop, total_steps))


def _saves(saving: Saving, total_steps: int, epochs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Steps and epochs after which a checkpoint is saved. The last epoch has none, because the run's end follows it."""
    every_epochs = saving.save_every_n_epochs
    if saving.save_n_epoch_ratio:
        every_epochs = epochs // saving.save_n_epoch_ratio or 1
    return _multiples(saving.save_every_n_steps, total_steps), _multiples(every_epochs, epochs - 1)


def _samples(samples: Samples, total_steps: int, epochs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Steps and epochs after which previews are drawn; epochs win over steps, as the option's help says."""
    if not samples.sample_prompts:
        return (), ()
    if samples.sample_every_n_epochs:
        return (), _multiples(samples.sample_every_n_epochs, epochs)
    return _multiples(samples.sample_every_n_steps, total_steps), ()


def _multiples(every: int | None, last: int) -> tuple[int, ...]:
    return tuple(range(every, last + 1, every)) if every and every > 0 else ()
