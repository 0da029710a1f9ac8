"""Rules on what a run starts from, writes and shows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import PurePath

from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.logging import Logging
from sd_scripts.params.memory import Precision
from sd_scripts.params.model import SDModel, SourceModel
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.rule import Rule, is_installed, were_given
from sd_scripts.params.samples import PROMPT_FILES, Samples
from sd_scripts.params.saving import Saving, State
from sd_scripts.params.text import ClipText
from sd_scripts.params.training import Training

ALWAYS_SO = frozenset(
    {"sdpa", "persistent_data_loader_workers", "lowram", "highvram", "console_log_simple", "ddp_gradient_as_bucket_view", "tokenizer_cache_dir"}
)
"""Settled options of which those who give them get what they ask for."""


def model_is_named(config: Config) -> Iterator[Problem]:
    """A run starts from a model."""
    if not config[SourceModel].pretrained_model_name_or_path:
        yield error("pretrained_model_name_or_path", "No base model is given.", "Name a .safetensors or .ckpt file, a diffusers folder or a hub id.")


def output_is_named(config: Config) -> Iterator[Problem]:
    """A run writes somewhere, under a name that is no path."""
    saving = config[Saving]
    if not saving.output_dir:
        yield error("output_dir", "No output folder is given.", "Name the folder that the result is written to.")
    if saving.output_name and (PurePath(saving.output_name).name != saving.output_name or "\\" in saving.output_name):
        yield error("output_name", f"{saving.output_name!r} holds a folder.", "Give the folder with output_dir, and a plain name here.")


def settled_options_are_told(config: Config) -> Iterator[Problem]:
    """What the trainer always does, or never needs: old configs go on working, and are told where they ask for something else."""
    for name, value in config.given.items():
        parameter = config.command.parameter(name)
        if parameter.hints.settled and name not in ALWAYS_SO and value != parameter.default:
            yield warning(name, parameter.hints.settled, "Leave it out.")


def clip_skip_applies(config: Config) -> Iterator[Problem]:
    """SD 2.x learned with its second-last layer, which its files already end with; other families have a fixed layer."""
    family = FAMILIES[config.command.family]
    if not family.takes_clip_skip and config[ClipText].clip_skip is not None:
        yield warning("clip_skip", f"It has no effect with {family.title}, which always takes the last layer but one.", "Leave it out.")
    if SDModel in config and config[SDModel].v2 and (config[ClipText].clip_skip or 1) > 1:
        yield warning("clip_skip", "SD 2.x models are not made for it.", "Leave it out.")


def half_vae_is_safe(config: Config) -> Iterator[Problem]:
    """Some families' own VAE makes NaN in fp16."""
    family, source = FAMILIES[config.command.family], config[SourceModel]
    if family.half_vae_overflows and config[Precision].mixed_precision == "fp16" and not source.no_half_vae and not source.vae:
        fix = "Set no_half_vae, use bf16, or name a VAE that is made for fp16."
        yield warning("no_half_vae", f"{family.title}'s own VAE overflows in fp16 and makes black pictures.", fix)


def prompts_for_samples(config: Config) -> Iterator[Problem]:
    """Samples need prompts, in a file or as text that a form has kept, and prompts a moment to draw them."""
    samples = config[Samples]
    typed = str(config.studio.get("prompts") or "").strip()
    wanted = [name for name in ("sample_every_n_steps", "sample_every_n_epochs", "sample_at_first") if getattr(samples, name)]
    if wanted and not samples.sample_prompts and not typed:
        yield error("sample_prompts", f"{wanted[0]} asks for samples, but no prompt file is given.", "Name a prompt file, or turn samples off.")
    if (samples.sample_prompts or typed) and not wanted:
        yield warning("sample_prompts", "No samples will be drawn.", "Set sample_every_n_steps, sample_every_n_epochs or sample_at_first.")
    if samples.sample_prompts and PurePath(samples.sample_prompts).suffix.lower() not in PROMPT_FILES:
        yield error("sample_prompts", f"{samples.sample_prompts!r} is no prompt file.", f"Its name must end in {', '.join(PROMPT_FILES)}.")


def samples_by_epochs_count_first(config: Config) -> Iterator[Problem]:
    """kohya: sampling by epochs replaces sampling by steps."""
    samples = config[Samples]
    if samples.sample_every_n_steps and samples.sample_every_n_epochs:
        yield warning(
            "sample_every_n_steps",
            "It has no effect, because sample_every_n_epochs is given too.",
            "Keep one of them.",
            {"sample_every_n_steps": None},
        )


def saves_by_ratio_count_first(config: Config) -> Iterator[Problem]:
    """kohya: a number of saves replaces their distance in epochs."""
    saving = config[Saving]
    if saving.save_n_epoch_ratio and saving.save_every_n_epochs:
        yield warning(
            "save_every_n_epochs", "It has no effect, because save_n_epoch_ratio is given too.", "Keep one of them.", {"save_every_n_epochs": None}
        )


def keeping_needs_saving(config: Config) -> Iterator[Problem]:
    """What is not saved along the way cannot be pruned."""
    saving = config[Saving]
    if saving.save_last_n_epochs and not (saving.save_every_n_epochs or saving.save_n_epoch_ratio):
        yield warning(
            "save_last_n_epochs", "It has no effect: nothing is saved by epochs.", "Set save_every_n_epochs too.", {"save_every_n_epochs": 1}
        )
    if saving.save_last_n_steps and not saving.save_every_n_steps:
        yield warning("save_last_n_steps", "It has no effect: nothing is saved by steps.", "Set save_every_n_steps too.")


def last_n_steps_are_steps(config: Config) -> Iterator[Problem]:
    """save_last_n_steps counts steps, not files."""
    saving, state = config[Saving], config[State]
    every = saving.save_every_n_steps or 0
    for name, last in (("save_last_n_steps", saving.save_last_n_steps), ("save_last_n_steps_state", state.save_last_n_steps_state)):
        if last and last < every:
            fix = f"To keep 3 of them, write {3 * every}."
            yield warning(name, f"It counts steps, not files: of checkpoints every {every} steps only the newest is kept.", fix)


def state_files_need_saving(config: Config) -> Iterator[Problem]:
    """Pruning of states needs states."""
    state = config[State]
    for name in were_given(config, "save_last_n_epochs_state", "save_last_n_steps_state"):
        if getattr(state, name) and not state.save_state:
            yield warning(name, "It has no effect: no states are saved.", "Set save_state too.", {"save_state": True})


def saved_precision_fits(config: Config) -> Iterator[Problem]:
    """The weights of a LoRA are trained in 32 bits; bf16 keeps 8 of their digits, fp16 11."""
    mixed, saved = config[Precision].mixed_precision, config[Saving].save_precision
    if saved == "bf16" and mixed != "bf16":
        yield warning(
            "save_precision",
            f"bf16 keeps fewer digits than the training in {mixed.replace('no', '32 bits')} had.",
            "Use fp16, of the same size, or float.",
        )


def log_services_can_start(config: Config) -> Iterator[Problem]:
    """Each log service needs its package, and both need a folder for their files."""
    logging = config[Logging]
    if logging.log_with and not logging.logging_dir:
        yield error("logging_dir", "Logs need a folder for their files.", "Name one, or leave log_with out.", {"logging_dir": "logs"})
    if logging.logging_dir and logging.log_with != "wandb" and not is_installed("tensorboard"):
        yield error("logging_dir", "The package tensorboard is not installed.", "Install it with: pip install tensorboard")
    if logging.log_with in ("wandb", "all") and not is_installed("wandb"):
        yield error("log_with", "The package wandb is not installed.", "Install it with: python setup.py extras logging")
    if logging.log_with not in ("wandb", "all"):
        for name in were_given(config, "wandb_run_name"):
            yield warning(name, "It has no effect: log_with is not wandb.", "Leave it out, or set log_with.")


def a_repository_is_named(config: Config) -> Iterator[Problem]:
    """What concerns a repository needs one, and is one of its few words."""
    hub = config[HuggingFace]
    kinds = {"huggingface_repo_type": ("model", "dataset", "space"), "huggingface_repo_visibility": ("private", "public")}
    for name, words in kinds.items():
        if getattr(hub, name) and getattr(hub, name) not in words:
            yield error(name, f"{getattr(hub, name)!r} is none of {', '.join(words)}.", "Write one of them, or leave it out.")
    if hub.huggingface_repo_id and len([part for part in hub.huggingface_repo_id.split("/") if part]) != 2:
        yield error("huggingface_repo_id", f"{hub.huggingface_repo_id!r} is no repository.", "Write it as owner/name.")
    if not hub.huggingface_repo_id:
        for name in were_given(config, "huggingface_path_in_repo", "save_state_to_huggingface", "async_upload", "huggingface_repo_visibility"):
            if getattr(hub, name):
                yield warning(name, "It has no effect: no repository is named.", "Give huggingface_repo_id, or leave it out.")
    if hub.save_state_to_huggingface and not (config[State].save_state or config[State].save_state_on_train_end):
        yield warning("save_state_to_huggingface", "It has no effect: no states are saved.", "Set save_state too.", {"save_state": True})
    resume = config[State].resume
    if hub.resume_from_huggingface and not (resume and len(resume.split(":")[0].strip("/").split("/")) > 2 and resume.count(":") < 3):
        yield error("resume_from_huggingface", f"resume names no folder of a repository: {resume!r}.", "Write it as owner/name/folder.")


def a_start_is_stated_once(config: Config) -> Iterator[Problem]:
    """kohya: a step counts before an epoch, and without either there is nothing to skip to."""
    training = config[Training]
    if training.initial_step is not None and training.initial_epoch is not None:
        yield warning("initial_epoch", "It has no effect, because initial_step is given too.", "Keep one of them.", {"initial_epoch": None})
    if training.skip_until_initial_step and training.initial_step is None and training.initial_epoch is None:
        yield warning("skip_until_initial_step", "It has no effect without a step to begin at; a resumed run skips anyway.", "Set initial_step.")
    for name in ("initial_step", "initial_epoch"):
        if config[State].resume and getattr(training, name) is not None:
            yield warning(name, "It counts before the place that the state was saved at.", "Leave it out to go on exactly where the state stopped.")


def secrets_are_unused(config: Config) -> Iterator[Problem]:
    """A key that nothing reads need not lie about."""
    hub = config[HuggingFace]
    used = {
        "wandb_api_key": config[Logging].log_with in ("wandb", "all"),
        "huggingface_token": bool(hub.huggingface_repo_id) or hub.resume_from_huggingface,
    }
    for parameter in config.command.parameters:
        if parameter.hints.secret and parameter.name in config.given and not used.get(parameter.name):
            yield warning(parameter.name, "It is not used, and not written to any file.", "Remove it from the config.")


def launcher_words_are_words(config: Config) -> Iterator[Problem]:
    """Extra launcher options are split as a shell does."""
    text = config[Launcher].extra_accelerate_launch_args or ""
    try:
        shlex.split(text)
    except ValueError:
        yield error("extra_accelerate_launch_args", f"A quotation mark is not closed in {text!r}.", "Close it, or remove it.")


def machines_find_each_other(config: Config) -> Iterator[Problem]:
    """Machines that train together meet at an address and a port, and share the processes evenly."""
    launcher = config[Launcher]
    machines = launcher.num_machines
    if machines <= 1:
        for name in were_given(config, "machine_rank", "main_process_ip"):
            if getattr(launcher, name):
                yield warning(name, "It has no effect with one machine.", "Set num_machines, or leave it out.")
        return
    if not launcher.main_process_ip:
        yield error("main_process_ip", f"{machines} machines need the address of the first one.", "Give it as the others reach it.")
    if not launcher.main_process_port:
        yield error("main_process_port", f"{machines} machines need one port, the same for all.", "Use a free one, such as 29500.")
    if launcher.machine_rank >= machines:
        yield error("machine_rank", f"{launcher.machine_rank} is no number of {machines} machines.", f"Numbers go from 0 to {machines - 1}.")
    if launcher.num_processes % machines:
        fix = f"Use {max(1, launcher.num_processes // machines) * machines}: it counts those of all machines."
        yield error("num_processes", f"{launcher.num_processes} processes cannot be shared by {machines} machines.", fix)
    for name in were_given(config, "cache_latents_to_disk", "cache_text_encoder_outputs_to_disk"):
        if config.given[name]:
            yield warning(
                name, "All machines must see the same folder of pictures: each fills a part of the cache.", "Cache in memory if they do not."
            )


RULES: tuple[Rule, ...] = (
    model_is_named,
    settled_options_are_told,
    output_is_named,
    clip_skip_applies,
    half_vae_is_safe,
    prompts_for_samples,
    samples_by_epochs_count_first,
    saves_by_ratio_count_first,
    keeping_needs_saving,
    last_n_steps_are_steps,
    state_files_need_saving,
    saved_precision_fits,
    log_services_can_start,
    a_repository_is_named,
    a_start_is_stated_once,
    secrets_are_unused,
    launcher_words_are_words,
    machines_find_each_other,
)
