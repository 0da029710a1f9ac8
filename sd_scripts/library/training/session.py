"""From accepted options to a run that can begin: processes, model, pictures, method, optimizer, and where an earlier attempt stopped."""

from __future__ import annotations

import functools
import pkgutil
import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer as TorchOptimizer

from sd_scripts.errors import ConfigError
from sd_scripts.library.cache import LatentsCache
from sd_scripts.library.data.batches import group_items
from sd_scripts.library.data.dataset import Dealer, Listing
from sd_scripts.library.data.loader import as_worker_death, worker_count
from sd_scripts.library.families.base import Family
from sd_scripts.library.held_weights import hold_layers, wanted_formats
from sd_scripts.library.methods.base import FileKind, Method
from sd_scripts.library.optim.average import WeightAverage
from sd_scripts.library.optim.early import EarlyOptimizer
from sd_scripts.library.optim.optimizers import build_early_optimizer, build_optimizer, schedule_for
from sd_scripts.library.optim.rehearsal import rehearse
from sd_scripts.library.text_cache import TextCache
from sd_scripts.library.training.caches import Filling, cached_latents, cached_texts
from sd_scripts.library.training.checkpoint import save_rules
from sd_scripts.library.training.compiling import as_compiler_failure, compile_blocks, refuse_compiling
from sd_scripts.library.training.control import Control
from sd_scripts.library.training.curves import open_curves
from sd_scripts.library.training.loop import loop
from sd_scripts.library.training.memory import as_out_of_memory
from sd_scripts.library.training.metadata import RunFacts, file_metadata, training_metadata
from sd_scripts.library.training.pictures import Pictures, can_keep
from sd_scripts.library.training.preservation import make_preservation
from sd_scripts.library.training.previews import make_previews
from sd_scripts.library.training.recompute import recompute_blocks
from sd_scripts.library.training.report import LossAverage, Report
from sd_scripts.library.training.request import Outcome, Request
from sd_scripts.library.training.run import Run
from sd_scripts.library.training.runtime import SAVE_DTYPES, Runtime, seed_everything, start_runtime
from sd_scripts.library.training.saves import Metadata, Saver
from sd_scripts.library.training.state import AVERAGE, Position, load_state, read_position
from sd_scripts.library.training.texts import Texts, captions_repeat
from sd_scripts.library.training.update import Updater, gradients_ready
from sd_scripts.library.training.uploads import open_uploads
from sd_scripts.library.training.validation import make_validation
from sd_scripts.params.averaging import Averaging
from sd_scripts.params.cache import Loader
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Regularisation
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.finetune import GroupedUpdate
from sd_scripts.params.loss import Loss
from sd_scripts.params.memory import Memory, Precision
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.saving import Saving, State
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.text import ClipText
from sd_scripts.params.training import Training
from sd_scripts.survey.learnt_word import template_captions
from sd_scripts.survey.masks import mask_source
from sd_scripts.survey.plan import Plan

NO_POSITION = Position(0, 1)
PARTS = ("unet", "text_encoder", "text_encoder_2")


def train(request: Request, report: Report) -> Outcome:
    """Train what `request` asks for, on this process's share of the work.

    Raises:
        TrainingError: anything that a user can be told. Out of memory is among it, with the next cheapest remedy.
    """
    runtime = start_runtime(request.config)
    control = Control(report.run_dir if runtime.is_main else None)
    control.listen()
    try:
        with _named(request.config):
            return loop(start(request, report, runtime, control))
    finally:
        control.close()
        runtime.close()


def start(request: Request, report: Report, runtime: Runtime, control: Control) -> Run:
    """Load everything that `request` names and put it where a resumed run left off."""
    config, plan, listing = request.config, request.plan, Listing(request.scan.items, request.blueprint)
    refuse_compiling(config, runtime.device)
    rehearse(config[Optimizer], config[LRSchedule], plan, device=runtime.device, dtype=_trained_dtype(config, runtime))
    position = start_position(config, plan)
    _warn_of_changes(config, position, plan, report)
    report.draw_in(open_curves(config) if runtime.is_main else None)
    uploads = open_uploads(config, report) if runtime.is_main else None
    seed = runtime.agreed(_seed(config, position, report))
    seed_everything(seed)
    method_class = pkgutil.resolve_name(request.method)
    family: Family = pkgutil.resolve_name(request.family).load(
        config, device=runtime.device, weight_dtype=runtime.weight_dtype, trained=_in_full(config, method_class.trained_parts(config))
    )
    filling = Filling(config, listing, runtime, report, control)
    cache = cached_latents(filling, family)
    method: Method = method_class(config, family)
    method.prepare()
    for note in method.notes:
        report.warn(note.field, note.message, note.fix)
    texts = cached_texts(filling, family)
    for part, module in zip(PARTS, (family.unet, *family.text_encoders), strict=False):
        if part in (forms := wanted_formats(config)):
            hold_layers(module, forms[part])
    if config[Memory].gradient_checkpointing:
        recompute_blocks(family.unet, family.text_encoders, config[Memory])
    compile_blocks(family.unet, config)
    updater = _updater(config, plan, method, runtime)
    resume = config[State].resume
    if resume:
        load_state(Path(resume), updater.parts())
        _begin_average(Path(resume), updater, report)
        report.event("resume", step=position.step, epoch=position.epoch, path=str(Path(resume).absolute()))
    dealer = Dealer(
        listing,
        seed,
        runtime.rank,
        runtime.processes,
        plan.total_steps,
        prior_loss_weight=_prior_loss_weight(config),
        cached_latents=cache,
        cached_texts=texts,
        caption_variants=texts.variants if texts else 1,
        templates=template_captions(config),
        masks=mask_source(config, request.blueprint),
        inpainting=family.inpaints,
    )
    header = _header(request, family, method, seed=seed, optimizer=updater.optimizer)
    rules = [subset.captions for dataset in listing.blueprint.datasets for subset in dataset.subsets]
    captions = Texts(family, keep=not plan.text_changes and captions_repeat(rules) and not config[ClipText].no_token_padding)
    report.begin(
        start_step=position.step,
        total=plan.total_steps,
        epochs=plan.epochs,
        average=LossAverage(plan.steps_per_epoch, position.losses),
    )
    return Run(
        plan=plan,
        loss=config[Loss],
        seed=seed,
        start=position,
        groups=group_items(listing.items, listing.blueprint),
        dealer=dealer,
        loader_workers=_workers(config, (cache, texts), runtime),
        family=family,
        method=method,
        pictures=Pictures(family, dealer, runtime.device, keep=cache is None and can_keep(listing, plan, FAMILIES[config.command.family])),
        texts=captions,
        preservation=make_preservation(config, family, method, captions, trained_text=plan.text_changes, blueprint=listing.blueprint),
        updater=updater,
        runtime=runtime,
        report=report,
        control=control,
        saver=Saver(save_rules(config, epochs=plan.epochs), method, updater, report, SAVE_DTYPES[config[Saving].save_precision], header, uploads),
        previews=make_previews(config, plan, family=family, runtime=runtime, report=report),
        validation=make_validation(request, family, runtime, seed=seed, trained_text=plan.text_changes),
        divergence_fix=_divergence_fix(config, cached=cache is not None),
        checkpointed=config[Memory].gradient_checkpointing,
    )


@contextmanager
def _named(config: Config) -> Generator[None]:
    """Turn what libraries raise when memory runs out, or a worker is killed, into what users are told."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        named = as_worker_death(error) or as_out_of_memory(error, config) or as_compiler_failure(error)
        if named is None:
            raise
        raise named from error


def _in_full(config: Config, trained: frozenset[str]) -> frozenset[str]:
    """Parts that are held in float32: what is trained, unless the whole training runs in half."""
    return frozenset() if config[Precision].full_bf16 or config[Precision].full_fp16 else trained


def _trained_dtype(config: Config, runtime: Runtime) -> torch.dtype:
    """What trained weights are held in. A word's vectors stay in float32 always."""
    in_half = config[Precision].full_bf16 or config[Precision].full_fp16
    return runtime.weight_dtype if in_half and config.command.method != "embedding" else torch.float32


def start_position(config: Config, plan: Plan) -> Position:
    """Where the run begins: at the place of the state that it resumes, unless `initial_step` or `initial_epoch` names another one.

    A named place moves pictures, counters and file names. Weights, optimizer and schedule are the state's, or new.

    Raises:
        ConfigError: nothing would be left to train.
        DataError: the state cannot be read.
    """
    folder, training = config[State].resume, config[Training]
    position = read_position(Path(folder)) if folder else NO_POSITION
    named, field, step = True, "initial_step", training.initial_step
    if step is None and training.initial_epoch is not None:
        field, step = "initial_epoch", (training.initial_epoch - 1) * plan.steps_per_epoch
    if step is None:
        named, field, step = False, "resume", position.step
    elif not training.skip_until_initial_step:
        step -= step % plan.steps_per_epoch
    if step >= plan.total_steps:
        message = f"The run would begin after step {step}, and has {plan.total_steps} steps in all."
        raise ConfigError(field, message, fix="Raise max_train_steps or max_train_epochs.")
    if not named:
        return position
    return replace(position, step=step, epoch=max(1, -(-step // plan.steps_per_epoch)), losses=(), best=None)


def _warn_of_changes(config: Config, position: Position, plan: Plan, report: Report) -> None:
    """Say when the resumed run cuts its batches otherwise than the one that the state is from: the rest then differs from an uninterrupted run."""
    if not config[State].resume or not position.step:
        return
    if not position.exact:
        report.warn("resume", "The state is another program's: weights and optimizer go on, but pictures come in another order.")
    elif (position.steps_per_epoch, position.accumulation) != (plan.steps_per_epoch, plan.accumulation):
        text = (
            f"The state is from a run of {position.steps_per_epoch} steps per epoch, this one has {plan.steps_per_epoch}: it does not go on exactly."
        )
        report.warn("resume", text, "Use the pictures, batch size and processes of the first run to go on exactly.")


def _seed(config: Config, position: Position, report: Report) -> int:
    """The run's seed: as given, else that of the state, else a new one."""
    given = config[Training].seed
    if given is None:
        return secrets.randbelow(2**32) if position.seed is None else position.seed
    if position.seed is not None and position.seed != given:
        text = f"The state was made with seed {position.seed}, not {given}: pictures come in another order."
        report.warn("resume", text, f"Set seed to {position.seed}.")
    return given


def _updater(config: Config, plan: Plan, method: Method, runtime: Runtime) -> Updater:
    options, parts = config[Optimizer], config[GroupedUpdate].fused_optimizer_groups if GroupedUpdate in config else None
    if options.fused_backward_pass or parts:
        optimizer = build_early_optimizer(method.param_groups(), options, parts=parts, ready=gradients_ready(runtime, options.max_grad_norm))
    else:
        optimizer = build_optimizer(method.param_groups(), options)
    scheduler = schedule_for(
        optimizer, options, config[LRSchedule], total_steps=plan.total_steps, warmup_steps=plan.warmup_steps, decay_steps=plan.decay_steps
    )
    return Updater(runtime, method, optimizer, scheduler, options.max_grad_norm, average=_average(config[Averaging], method))


def _average(options: Averaging, method: Method) -> WeightAverage | None:
    if options.ema_decay is None:
        return None
    return WeightAverage(method.trainable(), decay=options.ema_decay, interval=options.ema_update_interval, on_cpu=options.ema_cpu_only)


def _begin_average(state: Path, updater: Updater, report: Report) -> None:
    """Where the state holds no average, it begins with the weights of the state; where nobody asks for the one that it holds, that is said."""
    stored = (state / AVERAGE).is_file()
    if updater.average is not None and not stored:
        updater.average.restart()
        report.warn("ema_decay", "The state holds no average of the weights: it begins here.")
    elif updater.average is None and stored:
        report.warn("ema_decay", "The state holds an average of the weights, which is not used: ema_decay is off.", "Set ema_decay to go on with it.")


def _prior_loss_weight(config: Config) -> float:
    return config[Regularisation].prior_loss_weight if Regularisation in config else 1.0


def _workers(config: Config, caches: Sequence[LatentsCache | TextCache | None], runtime: Runtime) -> int:
    """Loader processes: none where a cache lies in memory, since handing its parts over costs more than taking them."""
    if any(cache is not None and not cache.to_disk for cache in caches):
        return 0
    return worker_count(config[Loader].max_data_loader_n_workers, processes=runtime.processes)


def _divergence_fix(config: Config, *, cached: bool) -> str:
    if config[Precision].mixed_precision == "fp16":
        return "Use mixed_precision bf16" + ("." if cached else " or no_half_vae.") + " Else lower learning_rate."
    return "Lower learning_rate; look at the named pictures and captions if it happens again."


def _header(request: Request, family: Family, method: Method, *, seed: int, optimizer: TorchOptimizer) -> Metadata:
    """What writes the header of each weight file. What all of them share is made once, at the first save, since the model's file is hashed for it."""
    config, plan, blueprint, scan = request.config, request.plan, request.blueprint, request.scan
    kind = type(optimizer.parts[0] if isinstance(optimizer, EarlyOptimizer) else optimizer)
    facts = RunFacts(seed, secrets.randbelow(2**32), time.time(), f"{kind.__module__}.{kind.__qualname__}")

    @functools.cache
    def shared() -> dict[str, str]:
        return training_metadata(config, plan, blueprint, scan=scan, family=family, method=method, facts=facts)

    def header(tensors: Mapping[str, Tensor], step: int, epoch: int, kind: FileKind = method.file_kind) -> Mapping[str, str]:
        return file_metadata(config, family, shared(), tensors=tensors, step=step, epoch=epoch, now=time.time(), kind=kind)

    return header
