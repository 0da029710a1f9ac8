"""The guided start of the Train page: five questions on one card, which fill the form below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kohya_gui.form.widgets import browse_button
from kohya_gui.guide import CARDS, GOALS, Answers, Guided, guided
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import Answer, TrainingActions, told
from kohya_gui.text import count, say, size

GIGABYTE = 1e9


@dataclass(frozen=True)
class GuideActions:
    """Answers to one page, for a user by name."""

    desk: Desk
    actions: TrainingActions

    def fill(self, user: str, asked: Mapping[str, object]) -> Answer:
        """Fill the form from the answers; with "start", start at once where nothing is wrong. Raises ConfigError, DataError."""
        answers = _answers(asked.get("guide"))
        roots, drafts = self.desk.roots, self.desk.drafts
        for path in (answers.pictures, answers.output_dir):
            if path.strip():
                roots.resolve(path.strip())
        made = guided(answers, drafts.read(user).command, start=self.desk.start, prompts_file=drafts.prompts_file(user))
        draft = drafts.update(user, lambda draft: made.draft, apart=True)
        shown = self.actions.shown(user, draft)
        if asked.get("start") is True:
            return {**shown, **self.actions.start(user), "guide": "filled"}
        return {**shown, "outcome": _told(made), "guide": "filled"}


def _answers(given: object) -> Answers:
    values = {str(key): str(value) for key, value in given.items()} if isinstance(given, Mapping) else {}
    card = values.get("card", "0")
    return Answers(
        goal=values.get("goal", ""),
        pictures=values.get("pictures", ""),
        model=values.get("model", ""),
        card_gb=float(card) if card.replace(".", "", 1).isdigit() else 0.0,
        word=values.get("word", ""),
        output_dir=values.get("output", ""),
        name=values.get("name", ""),
    )


def _told(made: Guided) -> Markup:
    """What was filled in, in sentences."""
    plan, memory = made.report.plan, made.report.memory
    steps = say("The form is filled: {steps} steps.", steps=count(plan.total_steps)) if plan else say("The form is filled.")
    rows = [tag("li", say(note)) for note in made.notes]
    fits = ""
    if memory is not None and made.fits is not None:
        needs = size(memory.total)
        fits = (
            say("It needs about {memory}, which fits the card.", memory=needs)
            if made.fits
            else say("It needs about {memory}: more than the card has.", memory=needs)
        )
    return join(
        told("warn" if made.fits is False else "good", f"{steps} {fits}".strip()), tag("ul", rows, class_="notes small soft") if rows else None
    )


def draw_guide(desk: Desk) -> Markup:
    """The card. It is open where the form is empty, which the page's script knows."""
    head = tag(
        "summary", tag("span", say("Guided start"), class_="title"), tag("span", say("five questions fill the form"), class_="summary"), tag("span")
    )
    rows = (_goal(), _pictures(), _model(), _card(desk), _where(desk))
    buttons = tag(
        "div",
        tag("button", say("Start training"), type="button", class_="button primary", id="guide-start", data_do="guide-start"),
        tag("button", say("Fill the form only"), type="button", class_="button", id="guide-fill", data_do="guide"),
        class_="buttons",
    )
    body = tag("div", tag("ol", [tag("li", row) for row in rows], class_="questions"), buttons, tag("div", id="guide-outcome"), class_="section-body")
    return tag("details", head, body, id="guide", class_="section", open=True)


def _goal() -> Markup:
    choices = [
        tag(
            "label",
            tag("input", type="radio", name="guide-goal", value=name, data_guide="goal", checked=name == next(iter(GOALS))),
            tag("span", tag("b", say(goal.title)), " ", tag("small", say(goal.help))),
        )
        for name, goal in GOALS.items()
    ]
    return tag("fieldset", tag("legend", say("What do you want to teach?"), class_="name"), tag("div", choices, class_="choices"))


def _pictures() -> Markup:
    return join(
        _text("pictures", say("Your pictures"), say("A folder of ten or more. Captions beside them are used."), folder="folder"),
        _text(
            "word",
            say("The word that calls it up"),
            say("A rare word and what it is, for pictures without a caption."),
            placeholder="ohwx person",
        ),
    )


def _model() -> Markup:
    return _text("model", say("Base model"), say("A .safetensors or .ckpt file, a diffusers folder, or a Hugging Face id."), folder="any")


def _card(desk: Desk) -> Markup:
    """The cards that people have, with the one in this machine chosen."""
    found = min((device.memory_bytes for device in desk.executor.machine.devices if device.memory_bytes), default=None)
    own = round(found / GIGABYTE) if found else 0
    near = max((gb for gb in CARDS if gb <= own + 1), default=0)
    options = [tag("option", say("No graphics card: the processor"), value="0", selected=near == 0)]
    options += [tag("option", say("{memory} GB", memory=gb), value=gb, selected=gb == near) for gb in CARDS]
    label = tag("label", say("How strong is the graphics card?"), for_="g-card", class_="name")
    words = say("Found in this machine: {memory}.", memory=size(found)) if found else say("None was found in this machine.")
    box = tag("div", tag("select", options, id="g-card", data_guide="card", aria_describedby="h-g-card"), class_="box")
    return tag("div", label, tag("p", words, id="h-g-card", class_="info"), box, class_="field")


def _where(desk: Desk) -> Markup:
    return join(
        _text("output", say("Where to"), say("The folder for the finished file."), folder="folder", value=str(desk.settings.output_dir)),
        _text("name", say("File name"), say("Empty: the word that calls it up.")),
    )


def _text(name: str, label: str, help: str, *, folder: str = "", value: str = "", placeholder: str | None = None) -> Markup:
    entry = tag(
        "input",
        type="text",
        id=f"g-{name}",
        data_guide=name,
        value=value,
        placeholder=placeholder,
        autocomplete="off",
        spellcheck="false",
        aria_describedby=f"h-g-{name}",
    )
    return tag(
        "div",
        tag("label", label, for_=f"g-{name}", class_="name"),
        tag("p", help, id=f"h-g-{name}", class_="info"),
        tag("div", entry, browse_button(label) if folder else None, class_="box"),
        class_=f"field path-{folder}" if folder else "field",
    )
