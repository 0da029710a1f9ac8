"""Five answers that fill the form: what to teach, the pictures, the base model, the card, where to. No page lives here.

What it fills in is a start, made of the same options as everything else: length from the number of pictures, savings of memory one after the other
until the estimate fits the card, prompts for samples with the word that is taught.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kohya_gui.configs import Draft
from kohya_gui.form.switch import choose
from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.survey.checks import Report, survey
from sd_scripts.survey.header import detect


@dataclass(frozen=True)
class Goal:
    """What can be taught: how many steps of batch 1 it takes, the rank, and the samples to draw, in which {word} stands for the word."""

    title: str
    help: str
    steps: int
    rank: int
    prompts: tuple[str, ...]
    word: str


GOALS: Mapping[str, Goal] = {
    "person": Goal(
        "A person or character",
        "Their face and figure, in any scene.",
        1500,
        16,
        ("photo of {word}, portrait, looking at the camera", "photo of {word} walking in a park, full body"),
        "ohwx person",
    ),
    "style": Goal(
        "A style", "How pictures look: strokes, colours, light.", 2000, 32, ("{word}, a cat on a chair", "{word}, a house on a hill"), "ohwx style"
    ),
    "thing": Goal(
        "A product or thing",
        "Its shape and details, in any place.",
        1200,
        16,
        ("photo of {word} on a wooden table", "photo of {word} on a beach"),
        "ohwx thing",
    ),
}
CARDS = (6, 8, 10, 12, 16, 24, 32, 48, 80)
"""Memory of graphics cards, GB."""
SEED = 42
EPOCHS = 10
MOST_REPEATS, LEAST_REPEATS = 100, 1
_FREE = 0.94
"""Share of a card that a training may take: the desktop needs a little too."""
_FILE_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Answers:
    """What was answered. `card_gb` 0: no graphics card. `word` is what calls the thing up in a prompt, `name` the file's."""

    goal: str
    pictures: str
    model: str
    card_gb: float
    word: str = ""
    output_dir: str = ""
    name: str = ""


@dataclass(frozen=True)
class Saving:
    """One way to use less memory, and the package that it takes."""

    values: Mapping[str, object]
    sentence: str
    package: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether its package is here."""
        return not self.package or find_spec(self.package) is not None


SAVINGS = (
    Saving({"gradient_checkpointing": True}, "Parts of each step are computed twice, which takes a third longer and saves most of the memory."),
    Saving({"optimizer_type": "AdamW8bit"}, "The optimizer keeps its numbers in 8 bits.", package="bitsandbytes"),
    Saving({"network_train_unet_only": True}, "Only the U-Net learns, the text encoder stays as it is."),
    Saving({"fp8_base": True}, "The base model is held in 8 bits."),
)
"""In the order in which they are tried: what costs least first."""


@dataclass(frozen=True)
class Guided:
    """The draft, what was saved and why in sentences, and what is at its paths. `fits` is None where nobody can tell."""

    draft: Draft
    notes: tuple[str, ...]
    report: Report
    fits: bool | None


def guided(answers: Answers, near: Command, *, start: Callable[[Command], Draft], prompts_file: Path) -> Guided:
    """The form as the answers fill it. `near` is the trainer that the form is for, `start` gives the draft of an empty form for one.

    Raises:
        ConfigError: there is no such goal, or pictures or model are not named, or the model is one that no trainer here takes.
        DataError: the model's file cannot be read.
    """
    goal = GOALS.get(answers.goal)
    if goal is None:
        raise ConfigError("", f"There is no goal {answers.goal!r}.", fix=f"Choose one of: {', '.join(GOALS)}.")
    if not answers.pictures.strip():
        raise ConfigError("train_data_dir", "No pictures are named.", fix="Write or browse to their folder.")
    if not answers.model.strip():
        raise ConfigError("pretrained_model_name_or_path", "No base model is named.", fix="Write or browse to it.")
    draft = start(trainer_for(answers.model.strip(), near))
    word = answers.word.strip() or goal.word
    given: dict[str, object] = {
        **draft.given,
        "pretrained_model_name_or_path": answers.model.strip(),
        "train_data_dir": answers.pictures.strip(),
        "class_tokens": word,
        "network_dim": goal.rank,
        "network_alpha": float(goal.rank // 2),
        "max_train_epochs": EPOCHS,
        "sample_every_n_epochs": 1,
        "output_name": file_name(answers.name or word),
        "mixed_precision": "bf16" if answers.card_gb else "no",
    }
    if answers.output_dir.strip():
        given["output_dir"] = answers.output_dir.strip()
    prompts = "\n".join(f"{prompt.format(word=word)} --d {SEED + index}" for index, prompt in enumerate(goal.prompts))
    return _fitted(dataclasses.replace(draft, given=given, prompts=prompts), goal, answers.card_gb, prompts_file)


def trainer_for(model: str, near: Command) -> Command:
    """The LoRA trainer for the model at this path; for a hub id, whose file is not here, that of `near`'s family.

    Raises:
        ConfigError: no trainer here takes such a model.
        DataError: the file cannot be read.
    """
    if not Path(model).exists():
        if model.count("/") == 1 and not model.startswith((".", "/", "~")):
            return choose("adapter", near.family)
        raise DataError("The model does not exist.", fix="Check the path.", path=Path(model))
    facts = detect(model)
    row = next((row for row in COMMANDS if row.kind == "train" and row.method == "adapter" and row.script == facts.script), None)
    if facts.refusal or row is None:
        words = facts.refusal or f"{facts.title} is nothing that can be trained here."
        raise ConfigError("pretrained_model_name_or_path", words, fix="Choose another base model.")
    return row


def file_name(text: str) -> str:
    """A file's name made of words: "ohwx person" is "ohwx_person"."""
    return _FILE_NAME.sub("_", text.strip()).strip("_.") or "my_lora"


def _fitted(draft: Draft, goal: Goal, card_gb: float, prompts_file: Path) -> Guided:
    """Repeats by the number of pictures, and savings one by one until the estimate fits the card."""
    report = _look(draft, prompts_file)
    images = sum(row.images for row in report.scan.counts) if report.scan else 0
    repeats = max(LEAST_REPEATS, min(MOST_REPEATS, round(goal.steps / max(1, images) / EPOCHS)))
    draft = dataclasses.replace(draft, given={**draft.given, "dataset_repeats": repeats})
    report, notes, room = _look(draft, prompts_file), [], card_gb * 1e9 * _FREE
    for saving in SAVINGS:
        if not card_gb or report.memory is None or report.memory.total <= room:
            break
        if saving.is_usable:
            draft = dataclasses.replace(draft, given={**draft.given, **saving.values})
            report = _look(draft, prompts_file)
            notes.append(saving.sentence)
    draft = dataclasses.replace(draft, base=draft.given)
    fits = None if report.memory is None or not card_gb else report.memory.total <= room
    return Guided(draft, tuple(notes), report, fits)


def _look(draft: Draft, prompts_file: Path) -> Report:
    return survey(draft.config(prompts_file=prompts_file)[0])
