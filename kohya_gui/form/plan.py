"""The plan beside the form: what was found at the given paths, the steps with their numbers, the rate's curve, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from kohya_gui.chart import Frame, Series, line_chart
from kohya_gui.form.keys import key_of
from kohya_gui.form.problems import pictures_link, problem_markup
from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import Words, count, plural, retell, say, size
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config
from sd_scripts.params.noise import Timesteps
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.survey.blueprint import Blueprint
from sd_scripts.survey.checks import Report
from sd_scripts.survey.curves import make_curve
from sd_scripts.survey.items import Scan
from sd_scripts.survey.memory import MemoryEstimate
from sd_scripts.survey.phrase import joined
from sd_scripts.survey.plan import Plan
from sd_scripts.survey.targets import LayerRow
from sd_scripts.survey.timestep_curves import TRAIN_TIMESTEPS, timestep_range, timestep_shares

CURVE_POINTS = 120
MOST_FOLDERS = 12
TIMESTEP_PARTS = 50
LAYERS = (
    "U-Net",
    "text encoder",
    "text encoder 2",
    "self-attention",
    "attention to the caption",
    "feed-forward",
    "projections",
    "convolutions",
    "other layers",
)
"""Parts of a model and sorts of layers, as `LayerRow` calls them."""


def plan_panel(
    config: Config, report: Report, problems: Sequence[Problem], words: Words, *, card_bytes: int | None = None, root_path: str = ""
) -> Markup:
    """All of the panel. `problems` are everything known, the report's among them; `card_bytes` is the memory of the accelerator, if there is one."""
    parts = [
        _model(report),
        _pictures(report),
        _steps(report.plan),
        _memory(report.memory, card_bytes),
        _curve(config, report.plan),
        _timesteps(config, report.plan),
        problem_list(problems, config.command, words, root_path=root_path),
    ]
    return join(tag("h2", say("Plan")), parts)


def problem_list(problems: Sequence[Problem], command: Command, words: Words, *, root_path: str = "") -> Markup:
    """Errors, then warnings, each with its fix and a link to its field."""
    errors = [problem for problem in problems if problem.severity == "error"]
    warnings = [problem for problem in problems if problem.severity != "error"]
    if not problems:
        return tag("p", say("No problems found."), class_="verdict good", role="status")
    verdict = verdict_words(len(errors), len(warnings))
    rows = [_problem(problem, command, words, root_path) for problem in (*errors, *warnings)]
    return join(tag("p", verdict, class_=f"verdict {'bad' if errors else 'warn'}", role="status"), tag("ul", rows, class_="problems"))


def verdict_words(errors: int, warnings: int) -> str:
    """How much is wrong."""
    return f"{plural(errors, 'error')}, {plural(warnings, 'warning')}"


def _problem(problem: Problem, command: Command, words: Words, root_path: str) -> Markup:
    parameter = command.by_name.get(problem.field)
    where = (
        tag("button", words.label(parameter), class_="link", type="button", data_goto=key_of(parameter))
        if parameter
        else tag("b", problem.field)
        if problem.field
        else None
    )
    fix = tag("span", retell(problem.fix), class_="fix") if problem.fix else None
    mend = tag("button", say("Fix it"), class_="link mend", type="button", data_fix=key_of(parameter)) if parameter and problem.mend else None
    parts = (tag("span", say(problem.severity), class_="visually-hidden"), join(where, " "), problem_markup(problem), " ", fix, " ", mend)
    parts = (*parts, " ", pictures_link(problem, root_path))
    return tag("li", *parts, class_=problem.severity)


def _model(report: Report) -> Markup:
    model = report.model
    if model is None:
        return _row(say("Base model"), say("not found yet"), found=False)
    facts = [say(model.title), model.precision, size(model.size)]
    adapter = report.adapter
    layers = adapter.unet_modules + adapter.text_encoder_modules if adapter else 0
    modules = f"{_about(adapter.file_bytes)} · {plural(layers, 'layer')}" if adapter else ""
    return join(
        _row(say("Base model"), " · ".join(fact for fact in facts if fact), found=True),
        _row(say("File"), modules, found=True) if modules else None,
        _row(say("File"), _about(report.file_bytes), found=True) if report.file_bytes else None,
        tag("ul", [tag("li", tag("span", _layers(row))) for row in adapter.rows], class_="folders small") if adapter else None,
    )


def _about(bytes_: int) -> str:
    return say("about {size}", size=size(bytes_))


def _layers(row: LayerRow) -> str:
    """What `LayerRow.line` says."""
    rank = [say("rank {rank}", rank=row.rank)] if row.rank else []
    part = say("{part}, {sort}: {layers}", part=say(row.part), sort=say(row.sort), layers=plural(row.layers, "layer"))
    return ", ".join([part, *rank, plural(row.parameters, "number")])


def _pictures(report: Report) -> Markup:
    scan = report.scan
    if scan is None or not scan.counts:
        return _row(say("Pictures"), say("not found yet"), found=False)
    images = sum(row.images for row in scan.counts)
    captions = sum(row.captions for row in scan.counts)
    unusable = sum(row.unusable for row in scan.counts)
    words = [plural(images, "picture"), plural(captions, "caption")]
    if unusable:
        words.append(say("{count} unreadable", count=count(unusable)))
    folders = _folders(report.blueprint, scan) if report.blueprint and len(scan.counts) > 1 else None
    return join(_row(say("Pictures"), ", ".join(words), found=images > 0), folders)


def _folders(blueprint: Blueprint, scan: Scan) -> Markup:
    rows = []
    for found in scan.counts[:MOST_FOLDERS]:
        subset = blueprint.datasets[found.dataset].subsets[found.subset]
        times = f"{count(found.images)} × {count(subset.num_repeats)}"
        rows.append(tag("li", tag("span", subset.image_dir.name), tag("span", times, f" {say('reg')}" if subset.is_reg else None, class_="num")))
    return tag("ul", rows, class_="folders small")


def _steps(plan: Plan | None) -> Markup | None:
    if plan is None or not plan.total_steps:
        return None
    return tag("ol", [tag("li", line) for line in formula_words(plan)], class_="formula num", aria_label=say("Steps"))


def formula_words(plan: Plan) -> list[str]:
    """What `Plan.formula` says, in the reader's language."""
    return [joined([[say(phrase.english, **phrase.values) for phrase in group] for group in line]) for line in plan.lines()]


def _curve(config: Config, plan: Plan | None) -> Markup | None:
    if plan is None or not plan.total_steps:
        return None
    rate = config[Optimizer].learning_rate
    try:
        curve = make_curve(config[LRSchedule], total_steps=plan.total_steps, warmup_steps=plan.warmup_steps, decay_steps=plan.decay_steps)
    except ConfigError:
        return None
    stride = max(1, plan.total_steps // CURVE_POINTS)
    points = [(step, rate * curve.multiplier(step, base_lr=rate)) for step in range(0, plan.total_steps, stride)]
    chart = line_chart(
        [Series(say("learning rate"), points, "smooth")],
        Frame(width=360, height=110, from_zero=True, x_max=plan.total_steps),
        title=say("Learning rate over {steps} steps, at most {rate}", steps=count(plan.total_steps), rate=f"{rate:g}"),
    )
    return tag("figure", tag("figcaption", say("Learning rate"), class_="small soft"), chart)


def _memory(memory: MemoryEstimate | None, card_bytes: int | None) -> Markup | None:
    """The estimate with its parts; a card that is too small is said so."""
    if memory is None:
        return None
    parts = (
        (say("weights that stay as they are"), memory.frozen),
        (say("what learns, with gradients and optimizer"), memory.trained),
        (say("what a step keeps for its backward pass"), memory.activations),
        (say("driver and rests"), memory.rest),
    )
    short = card_bytes is not None and memory.total > card_bytes
    words = say("about {size} of {total}", size=size(memory.total), total=size(card_bytes)) if card_bytes else _about(memory.total)
    rows = [tag("li", tag("span", name), tag("span", size(value), class_="num")) for name, value in parts]
    advice = say("More than the card has. Gradient checkpointing, a smaller batch or 16-bit precision need less.")
    return join(
        tag("details", tag("summary", _row(say("Memory"), words, found=not short)), tag("ul", rows, class_="folders small"), class_="estimate"),
        tag("p", advice, class_="told warn small") if short else None,
    )


def _timesteps(config: Config, plan: Plan | None) -> Markup | None:
    """How often each timestep is trained, where that is not all of them evenly."""
    if plan is None or not plan.total_steps or Timesteps not in config:
        return None
    timesteps = config[Timesteps]
    if timesteps.timestep_curve == "uniform" and timestep_range(timesteps) == (0, TRAIN_TIMESTEPS):
        return None
    shares = timestep_shares(timesteps, TIMESTEP_PARTS)
    most = max(shares, key=lambda row: row[1])[0]
    chart = line_chart(
        [Series(say("share"), shares, "smooth")],
        Frame(width=360, height=110, from_zero=True, x_max=TRAIN_TIMESTEPS),
        title=say("Share of the steps by timestep, most often near {timestep}", timestep=f"{most:.0f}"),
    )
    return tag("figure", tag("figcaption", say("Timesteps, 0 is no noise"), class_="small soft"), chart)


def _row(name: str, value: str, *, found: bool) -> Markup:
    return tag("p", tag("span", name, class_="soft"), tag("span", value, class_="" if found else "soft"), class_="found")
