"""Problems with the weights files that a request names: missing, damaged, of another family, or against its options. Only headers are read."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path

from sd_scripts.errors import DataError
from sd_scripts.params.cache import Cache
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.loss import SNRWeight
from sd_scripts.params.model import SDModel, SourceModel
from sd_scripts.params.network import Network
from sd_scripts.params.noise import NoiseDDPM
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.learning import weights_for
from sd_scripts.params.saving import ModelFile, State
from sd_scripts.survey.header import Header, ModelFacts, facts_of, read_header

MODEL = "pretrained_model_name_or_path"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_NO_MODEL = {
    "lora": ("This file is a LoRA, not a base model.", "Name the model that it was made for; the LoRA itself may go into network_weights."),
    "vae": ("This file is a VAE, not a base model.", "Name a model; the VAE may go into the option vae."),
    "embedding": ("This file is a textual inversion embedding, not a base model.", "Name a model."),
    "text_encoder": ("This file is a text encoder alone.", "Name a model."),
    "unknown": ("This file is no model that is known here.", "Name a Stable Diffusion 1.x or 2.x model."),
    "denoiser": ("This file has no text encoder.", "Name a complete model."),
}


def read_model(config: Config) -> tuple[Header | None, ModelFacts | None, list[Problem]]:
    """Header and facts of the base model, and what is wrong with it. None where it is a hub id or cannot be read."""
    name = config[SourceModel].pretrained_model_name_or_path
    if not name or is_hub_id(name):
        return None, None, []
    try:
        header = read_header(name)
    except DataError as reason:
        return None, None, [error(MODEL, f"{reason.path}: {reason.message}", reason.fix)]
    facts = facts_of(header, is_folder=Path(name).is_dir())
    return header, facts, list(_model_problems(config, facts))


def is_hub_id(name: str) -> bool:
    """Whether `name` means a model on the hub rather than a path: "owner/name", and nothing of that name on disk."""
    return bool(_HUB_ID.fullmatch(name)) and not name.lower().endswith(_WEIGHTS) and not Path(name).exists()


def other_weights(config: Config, model: ModelFacts | None) -> Iterator[Problem]:
    """Problems with the VAE, with adapters to continue from or to merge, and with the state to resume."""
    vae = config[SourceModel].vae
    if vae and not is_hub_id(vae):
        yield from _vae(vae)
    if Network in config:
        network = config[Network]
        if network.network_weights:
            yield from _adapter("network_weights", network.network_weights, config, model)
        for path in network.base_weights or ():
            yield from _adapter("base_weights", path, config, model)
    resume = config[State].resume
    if resume and not config[HuggingFace].resume_from_huggingface and not Path(resume).is_dir():
        yield error("resume", f"The folder {resume} does not exist.", "Name a folder that ends in -state.")


def _model_problems(config: Config, facts: ModelFacts) -> Iterator[Problem]:
    yield from (warning(MODEL, note) for note in facts.notes if not (facts.inpainting and "inpainting" in note) and "v_parameterization" not in note)
    family = FAMILIES[config.command.family]
    if facts.refusal:
        yield error(MODEL, facts.refusal, "Name the base model.")
    elif facts.family and facts.family not in family.kinds and facts.kind in ("checkpoint", "folder", "denoiser"):
        script = _script_for(facts, config.command)
        fix = f"Use {script} for it." if script else f"Name a {family.title} model."
        yield error(MODEL, f"This is a {facts.title} model; {config.command.script} is for {family.title}.", fix)
    elif facts.kind in _NO_MODEL:
        yield error(MODEL, *_NO_MODEL[facts.kind])
    elif not facts.family:
        yield error(MODEL, *_NO_MODEL["unknown"])
    elif facts.inpainting and (config[Cache].cache_latents or config[Cache].cache_latents_to_disk):
        message = "This is an inpainting model: what it sees of a picture is encoded anew at each step, so latents cannot be cached."
        yield error(
            "cache_latents",
            message,
            "Turn it off, or name the ordinary version of the model.",
            {"cache_latents": False, "cache_latents_to_disk": False},
        )
    else:
        if SDModel in config:
            yield from _version(config, facts)
        if facts.zero_snr and NoiseDDPM in config and not config[NoiseDDPM].zero_terminal_snr:
            message = "The model says that its last timestep is pure noise, and zero_terminal_snr is off."
            yield warning("zero_terminal_snr", message, "Set zero_terminal_snr.", {"zero_terminal_snr": True})


def _script_for(facts: ModelFacts, asked: Command) -> str:
    """The script that does with this kind of model what `asked` does with its own: the same method, else one that saves the same kind of file."""
    rows = [row for row in COMMANDS if row.kind == "train" and facts.family in FAMILIES[row.family].kinds]
    whole = ModelFile in asked.sections
    rows.sort(key=lambda row: (row.method != asked.method, (ModelFile in row.sections) != whole))
    return rows[0].script if rows else facts.script


def _version(config: Config, facts: ModelFacts) -> Iterator[Problem]:
    asked, said = config[SDModel], "v_parameterization" in config.given
    velocity = asked.v_parameterization if said else facts.prediction == "v"
    if not said and SNRWeight in config:
        yield from weights_for(config[SNRWeight], velocity=velocity)
    if facts.family == "sd2" and not asked.v2:
        yield error("v2", "The file is a Stable Diffusion 2.x model, and v2 is off.", "Set v2.", {"v2": True})
    if facts.family != "sd2" and asked.v2:
        yield error("v2", f"The file is a {facts.title} model, and v2 is on.", "Turn v2 off.", {"v2": False})
    if facts.prediction == "v" and not velocity:
        yield warning(
            "v_parameterization",
            "The model says that it predicts velocity, and v_parameterization is off.",
            "Set v_parameterization.",
            {"v_parameterization": True},
        )
    if NoiseDDPM in config and config[NoiseDDPM].zero_terminal_snr and not velocity:
        yield warning("zero_terminal_snr", "A model that predicts noise learns nothing from pure noise.", "Use it with v_parameterization.")
    if facts.prediction == "epsilon" and asked.v_parameterization:
        yield warning(
            "v_parameterization",
            "The model says that it predicts noise, and v_parameterization is on.",
            "Turn v_parameterization off.",
            {"v_parameterization": False},
        )


def _vae(path: str) -> Iterator[Problem]:
    if Path(path).is_dir():
        if not any(Path(path).glob("*.safetensors")) and not any(Path(path).glob("*.bin")) and not (Path(path) / "vae").is_dir():
            yield error("vae", f"The folder {path} holds no weights.", "Name a VAE file or a diffusers folder.")
        return
    facts = yield from _facts("vae", path)
    if facts is not None and facts.kind not in ("vae", "checkpoint"):
        yield error("vae", f"{Path(path).name} holds no VAE.", "Name a VAE, or a model that has one.")


def _adapter(field: str, path: str, config: Config, model: ModelFacts | None) -> Iterator[Problem]:
    facts = yield from _facts(field, path)
    if facts is None:
        return
    family = FAMILIES[config.command.family]  # what was asked for, where there is no header, as of a model of the hub
    kinds, known = ((model.family,), model.title) if model is not None and model.family else (family.kinds, family.title)
    if facts.kind != "lora":
        yield error(field, f"{Path(path).name} is no LoRA.", "Name a LoRA file.")
    elif facts.family and facts.family not in kinds:
        yield error(field, f"{Path(path).name} is for {facts.title}, the base model is {known}.", "Name a LoRA for the same model.")


def _facts(field: str, path: str) -> Generator[Problem, None, ModelFacts | None]:
    """Facts of a weights file as the generator's value; its error as a problem."""
    try:
        return facts_of(read_header(path))
    except DataError as reason:
        yield error(field, f"{reason.path}: {reason.message}", reason.fix)
    return None
