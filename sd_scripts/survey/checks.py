"""What can be told about a request before anything large is loaded: data, steps, model, problems. Form, preflight and trainer call `survey`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sd_scripts.errors import ConfigError, DataError, TrainingError
from sd_scripts.params.cache import Cache
from sd_scripts.params.check import check
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.network import Network
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.samples import Samples
from sd_scripts.params.saving import ModelFile, Saving
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.text_cache import TextCache
from sd_scripts.survey.blueprint import Blueprint, CaptionRules, Dataset, Size, Subset, read_blueprint
from sd_scripts.survey.curves import SHAPES, make_curve
from sd_scripts.survey.dataset_options import PRESERVES
from sd_scripts.survey.faces import face_of
from sd_scripts.survey.header import Header, ModelFacts
from sd_scripts.survey.items import Item, Progress, Scan, scan
from sd_scripts.survey.learnt_word import word_problems
from sd_scripts.survey.masks import mask_problems
from sd_scripts.survey.memory import MemoryEstimate, estimate_memory, largest_batch, model_file_bytes
from sd_scripts.survey.model_checks import other_weights, read_model
from sd_scripts.survey.plan import Plan, make_plan
from sd_scripts.survey.prompts import read_prompt_file, without_effect
from sd_scripts.survey.targets import AdapterSize, adapter_size, pattern_problems

_SAME_SHAPE = 0.02
"""Difference of aspect ratios, as a share, that is not worth a word."""
_MUCH_SMALLER = 0.5


@dataclass(frozen=True, slots=True)
class Report:
    """What a request means and what is wrong with it, errors first. A part is None where a problem kept it from being made.

    `file_bytes` is the estimated size of a whole model's file; that of an adapter stands in `adapter`.
    """

    blueprint: Blueprint | None
    scan: Scan | None
    plan: Plan | None
    model: ModelFacts | None
    adapter: AdapterSize | None
    problems: list[Problem]
    memory: MemoryEstimate | None = None
    file_bytes: int | None = None

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a start."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def pictures_line(self) -> str:
        """One line for people: "40 pictures, 38 captions, 1 unusable"; empty without a scan."""
        if self.scan is None or self.blueprint is None:
            return ""
        images = sum(count.images for count in self.scan.counts)
        captions = sum(count.captions for count in self.scan.counts)
        unusable = sum(count.unusable for count in self.scan.counts)
        parts = [f"{images:,} pictures", f"{captions:,} captions", f"{unusable:,} unusable" if unusable else ""]
        return ", ".join(filter(None, parts))


def survey(config: Config, *, processes: int = 1, on_progress: Progress | None = None) -> Report:
    """Look at everything that `config` names, on `processes` processes. Never raises for what a user can mend: that is a problem of the report."""
    problems = check(config)
    blueprint, found = _look_at_data(config, problems, on_progress)
    plan = None
    if blueprint is not None and found is not None:
        plan = make_plan(config, blueprint, found, processes=processes)
        problems += [*_plan_problems(config, plan), *_curve_problems(config, plan)]
        problems += data_problems(config, blueprint, found)
        problems += word_problems(config, blueprint, found)
    header, model, model_problems = read_model(config)
    problems += [*model_problems, *other_weights(config, model), *_prompt_problems(config)]
    if blueprint is not None and found is not None:
        problems += mask_problems(config, blueprint, found, inpainting=model is not None and model.inpainting)
    adapter = _adapter(config, header, problems)
    unique = list(dict.fromkeys(problems))
    memory, whole = None, None
    if header is not None and model is not None:
        memory = estimate_memory(config, header, model, pixels=largest_batch(plan) if plan else 0, adapter=adapter)
        whole = model_file_bytes(config, header, model) if ModelFile in config else None
    ranked = sorted(unique, key=lambda problem: problem.severity != "error")
    return Report(blueprint, found, plan, model, adapter, ranked, memory, whole)


def _look_at_data(config: Config, problems: list[Problem], on_progress: Progress | None) -> tuple[Blueprint | None, Scan | None]:
    try:
        blueprint = read_blueprint(config)
        found = scan(blueprint, on_progress=on_progress)
    except TrainingError as reason:
        problem = _as_problem(reason, "train_data_dir")
        if not any(known.field == problem.field and known.severity == "error" for known in problems):
            problems.append(problem)
        return None, None
    except OSError as reason:
        problems.append(
            error("train_data_dir", f"{reason.filename}: the folder cannot be read ({reason.strerror}).", "Check that it exists and may be read.")
        )
        return None, None
    problems += [*blueprint.problems, *found.problems]
    if not any(not item.is_reg for item in found.items):
        problems.append(
            error(
                "dataset_config" if blueprint.source == "dataset_config" else "train_data_dir",
                "None of the pictures can be used.",
                "See the other problems.",
            )
        )
    return blueprint, found


def _as_problem(reason: TrainingError, field: str) -> Problem:
    if isinstance(reason, ConfigError):
        return error(reason.field or field, reason.message, reason.fix)
    place = f"{reason.path}: " if isinstance(reason, DataError) and reason.path is not None else ""
    return error(field, place + reason.message, reason.fix)


def _curve_problems(config: Config, plan: Plan) -> Iterator[Problem]:
    """Arguments that the schedule does not take. A name that it does not know is told by the options' own rules."""
    schedule = config[LRSchedule]
    if schedule.lr_scheduler_type or schedule.lr_scheduler not in SHAPES:
        return
    try:
        make_curve(schedule, total_steps=plan.total_steps, warmup_steps=plan.warmup_steps, decay_steps=plan.decay_steps)
    except ConfigError as refused:
        if refused.field in ("lr_scheduler_args", "lr_scheduler_min_lr_ratio"):
            yield error(refused.field, refused.message, refused.fix)


def _adapter(config: Config, header: Header | None, problems: list[Problem]) -> AdapterSize | None:
    if header is None:
        return None
    try:
        problems += pattern_problems(config, header)
        return adapter_size(config, header)
    except ConfigError:  # malformed block lists: `check` has told of them already
        return None


def _plan_problems(config: Config, plan: Plan) -> Iterator[Problem]:
    """Options that the number of steps makes senseless."""
    if not plan.total_steps:
        return
    schedule, saving, samples = config[LRSchedule], config[Saving], config[Samples]
    total, fifth = plan.total_steps, max(1, plan.total_steps // 5)
    if plan.warmup_steps + plan.decay_steps > plan.total_steps:
        field = "lr_warmup_steps" if schedule.lr_warmup_steps else "lr_decay_steps"
        words = f"Warm-up and decay take {plan.warmup_steps + plan.decay_steps:,} steps, but the run has only {total:,} steps."
        yield error(field, words, "Write 0.1 for a tenth of the run.")
    if saving.save_every_n_steps and saving.save_every_n_steps > plan.total_steps:
        yield warning(
            "save_every_n_steps",
            f"Nothing is saved before the end: the run has only {total:,} steps.",
            f"Use {fifth}.",
            {"save_every_n_steps": fifth},
        )
    if saving.save_every_n_epochs and saving.save_every_n_epochs >= plan.epochs and not saving.save_n_epoch_ratio:
        words = "Nothing is saved before the end: the run has only one epoch."
        several = f"Nothing is saved before the end: the run has only {plan.epochs:,} epochs."
        yield warning("save_every_n_epochs", words if plan.epochs == 1 else several, "Use a smaller number, or save_every_n_steps.")
    if samples.sample_prompts and samples.sample_every_n_steps and not samples.sample_every_n_epochs and not plan.sample_steps:
        yield warning(
            "sample_every_n_steps", f"No sample is drawn: the run has only {total:,} steps.", f"Use {fifth}.", {"sample_every_n_steps": fifth}
        )
    if samples.sample_prompts and samples.sample_every_n_epochs and not plan.sample_epochs:
        words = "No sample is drawn: the run has only one epoch."
        several = f"No sample is drawn: the run has only {plan.epochs:,} epochs."
        yield warning("sample_every_n_epochs", words if plan.epochs == 1 else several, "Use a smaller number, or sample_every_n_steps.")


def data_problems(config: Config, blueprint: Blueprint, found: Scan) -> Iterator[Problem]:
    """Options of datasets and subsets that do not fit one another, the model or the pictures."""
    yield from _blueprint_problems(config, blueprint)
    yield from _picture_problems(blueprint, found)


def _blueprint_problems(config: Config, blueprint: Blueprint) -> Iterator[Problem]:
    for dataset in blueprint.datasets:
        yield from _sizes(dataset, config)
        yield from _adapter_alone(dataset, config)
        for subset in dataset.subsets:
            yield from _subset(subset, config, blueprint.field_of(subset))
            if subset.face_crop_aug_range:
                yield from _faces(subset, dataset, config)


def _adapter_alone(dataset: Dataset, config: Config) -> Iterator[Problem]:
    """What has a meaning only where there is an adapter, whose strength can be changed."""
    if Network in config:
        return
    if dataset.network_multiplier != 1:
        fix = "Leave it out; num_repeats says how much pictures count."
        yield error("dataset_config", f"network_multiplier {dataset.network_multiplier:g}: there is no adapter in this training.", fix)
    if any(subset.diff_output_preservation for subset in dataset.subsets):
        message = f"{PRESERVES}: a model that is trained itself does not know any more what it predicted before."
        yield error("dataset_config", message, "Leave it out, or train a LoRA.")


def _faces(subset: Subset, dataset: Dataset, config: Config) -> Iterator[Problem]:
    option, name = "face_crop_aug_range", subset.image_dir.name
    if dataset.enable_bucket:
        yield error(option, f"{name}: buckets keep a picture's shape and cut nothing out.", "Turn off enable_bucket or this.", {option: None})
    if config[Cache].cache_latents or config[Cache].cache_latents_to_disk:
        yield error(option, f"{name}: cached latents cannot be cut anew.", "Turn off cache_latents or this.", {option: None})


def _sizes(dataset: Dataset, config: Config) -> Iterator[Problem]:
    family = FAMILIES[config.command.family]
    width, height = dataset.resolution
    if dataset.enable_bucket:
        if dataset.bucket_reso_steps % family.latent_stride:
            yield error(
                "bucket_reso_steps", f"{dataset.bucket_reso_steps} is no multiple of {family.latent_stride}.", f"Use {family.bucket_divisor}."
            )
    elif width % family.latent_stride or height % family.latent_stride:
        near = [max(1, round(side / family.bucket_divisor)) * family.bucket_divisor for side in (width, height)]
        yield error(
            "resolution",
            f"{width},{height} is not made of multiples of {family.latent_stride}.",
            f"Use {near[0]},{near[1]}, or turn on enable_bucket.",
        )


def _picture_problems(blueprint: Blueprint, found: Scan) -> Iterator[Problem]:
    """Pictures that lose much of themselves, or gain nothing, on the way to the training size."""
    for index, dataset in enumerate(blueprint.datasets):
        sizes = [item.size for item in found.items if item.dataset == index and item.repeats]
        width, height = dataset.resolution
        cut = sum(abs(width / height * size[1] / size[0] - 1) > _SAME_SHAPE for size in sizes)
        if cut and not dataset.enable_bucket:
            message = f"It is off: {cut:,} of {len(sizes):,} pictures have another shape than {width}×{height} and lose their edges."
            yield warning("enable_bucket", message, "Turn it on to keep each picture's shape.", {"enable_bucket": True})
        yield from _nameless(dataset, [item for item in found.items if item.dataset == index])
        small = sum(is_enlarged(size, dataset) for size in sizes)
        if small:
            message = f"{small:,} of {len(sizes):,} pictures have less than half the pixels of {width}×{height}: they are enlarged and look soft."
            yield warning("resolution", message, "Use larger pictures, a smaller resolution, or bucket_no_upscale.")


def is_enlarged(size: Size, dataset: Dataset) -> bool:
    """Whether a picture has so few pixels that it looks soft at the training size."""
    width, height = dataset.resolution
    return size[0] * size[1] < width * height * _MUCH_SMALLER and not (dataset.enable_bucket and dataset.bucket_no_upscale)


def _nameless(dataset: Dataset, items: Sequence[Item]) -> Iterator[Problem]:
    """Pictures that are to be cut around faces, and whose names tell of none."""
    wanted = [item for item in items if dataset.subsets[item.subset].face_crop_aug_range]
    without = [item for item in wanted if face_of(item.path) is None]
    if without:
        message = f"{len(without):,} of {len(wanted):,} names tell of no face, such as {without[0].path.name}: those pictures are cut in the middle."
        yield warning("face_crop_aug_range", message, "Name them like cat_310_220_96_110.png: centre and size of the face in pixels.")


def _subset(subset: Subset, config: Config, field: str) -> Iterator[Problem]:
    rules, name = subset.captions, subset.image_dir.name
    if config[Cache].cache_latents or config[Cache].cache_latents_to_disk:
        for option, on in (("color_aug", subset.color_aug), ("random_crop", subset.random_crop)):
            if on and field == "dataset_config":
                yield error(
                    option,
                    f"{name}: it cannot be on while latents are cached, because a cached picture is always the same.",
                    "Turn off cache_latents or this.",
                )
    if TextCache in config and config[TextCache].cache_text_encoder_outputs:
        yield from _kept_captions(rules, config[TextCache].text_encoder_cache_variants, name)
    if rules.shuffle_caption:
        for option, text, joined in (("caption_prefix", rules.caption_prefix, "first"), ("caption_suffix", rules.caption_suffix, "last")):
            apart = text is not None and (
                text.rstrip().endswith(rules.caption_separator) if joined == "first" else text.lstrip().startswith(rules.caption_separator)
            )
            if text and not apart and not rules.keep_tokens_separator:
                first = f"{text!r} becomes part of each caption's first tag and is shuffled with it."
                last = f"{text!r} becomes part of each caption's last tag and is shuffled with it."
                yield warning(
                    option,
                    first if joined == "first" else last,
                    f"Set it apart with {rules.caption_separator!r}, and keep a prefix in front with keep_tokens.",
                )


def _kept_captions(rules: CaptionRules, variants: int, folder: str) -> Iterator[Problem]:
    """A caption that is encoded once cannot grow with the steps, and changes only among its versions."""
    if rules.token_warmup_step > 0:
        yield error("token_warmup_step", f"{folder}: cached captions cannot grow step by step.", "Turn it or cache_text_encoder_outputs off.")
    changing = [name for name in ("shuffle_caption", "enable_wildcard", "caption_tag_dropout_rate") if getattr(rules, name)]
    if changing and variants == 1:
        fix = "Set text_encoder_cache_variants to 8, or turn it or cache_text_encoder_outputs off."
        yield error(changing[0], f"{folder}: cached captions have one version only, so nothing would change from step to step.", fix)


def _prompt_problems(config: Config) -> Iterator[Problem]:
    """Problems with the prompt file, found before the first preview would be due."""
    samples = config[Samples]
    if not samples.sample_prompts:
        return
    try:
        file = read_prompt_file(Path(samples.sample_prompts), sampler=samples.sample_sampler)
    except ConfigError as reason:
        yield error(reason.field, reason.message, reason.fix)
        return
    yield from file.problems
    yield from without_effect(file.prompts, FAMILIES[config.command.family].preview.options)
    if not file.prompts:
        yield error("sample_prompts", f"{Path(samples.sample_prompts).name} holds no prompt.", "Write one prompt per line.")
