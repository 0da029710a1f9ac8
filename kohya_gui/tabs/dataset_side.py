"""The Dataset page's left side and its bar: the file, the plan, the subsets as cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kohya_gui.dataset_desk import spot_text
from kohya_gui.dataset_fields import BASIC, fields_of
from kohya_gui.dataset_files import is_begun, suggested_file
from kohya_gui.dataset_looks import Found
from kohya_gui.dataset_upload import ENDINGS, LIMITS, ZIP
from kohya_gui.form.plan import formula_words, verdict_words
from kohya_gui.form.problems import problem_markup
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.dataset_sight import Sight, subset_name
from kohya_gui.tabs.dataset_words import does, spaced
from kohya_gui.tabs.shell import STROKE
from kohya_gui.text import count, retell, say
from sd_scripts.params.dataset_scopes import DATASET_KEYS
from sd_scripts.params.problem import Problem
from sd_scripts.survey.dataset_config import Fault, Spot

SIGNS = {
    "up": '<path d="M8 13V3M4 7l4-4 4 4"/>',
    "down": '<path d="M8 3v10M4 9l4 4 4-4"/>',
    "copy": '<path d="M6 6h8v8H6zM10 3H3v7"/>',
    "remove": '<path d="M4 4l8 8M12 4l-8 8"/>',
}
FEW_PROBLEMS = 3
"""So many are shown at once; more are folded, since what people come for is below them."""


def bar(sight: Sight) -> Markup:
    """The file with what can be done to it."""
    edition = sight.state.edition
    begun = is_begun(edition.document)
    value = edition.file or (str(suggested_file(sight.datasets_dir, edition.document)) if begun else "")
    path = tag(
        "input",
        type="text",
        id="ds-path",
        value=value,
        autocomplete="off",
        spellcheck="false",
        placeholder="datasets/cat.toml",
        data_file=edition.file,
    )
    file = tag(
        "div",
        tag("label", say("Dataset file"), for_="ds-path", class_="small", data_testid="block-info"),
        tag("span", path, class_="input-container"),
        class_="path-file ds-file",
    )
    more = tag(
        "details",
        tag("summary", say("New"), class_="button"),
        tag(
            "div",
            does(say("Empty dataset"), "ds-choice", request={"do": "new"}),
            does(say("From the Train page"), "ds-choice", request={"do": "from-train"}),
            tag("a", say("Download this one"), href=f"{sight.root_path}/dataset/file", class_="ds-choice", download=True) if begun else None,
            class_="ds-menu card",
        ),
        class_="ds-more",
    )
    steps = tag(
        "div",
        does("↶", "", request={"do": "undo"}, aria_label=say("Undo"), title=say("Undo"), disabled=not sight.state.past),
        does("↷", "", request={"do": "redo"}, aria_label=say("Redo"), title=say("Redo"), disabled=not sight.state.undone),
        class_="views",
        role="group",
        aria_label=say("History"),
    )
    buttons = (
        tag("button", say("Open"), type="button", class_="button", data_file_do="open"),
        tag("button", say("Save"), type="button", class_="button", data_file_do="save", id="ds-save", disabled=not begun),
        more,
        steps,
        tag("button", say("Use in Train"), type="button", class_="button primary", data_file_do="use", disabled=not begun),
    )
    return join(file, tag("div", buttons, class_="ds-buttons"), tag("p", _saved_words(sight), class_="small soft", id="ds-saved"))


def _saved_words(sight: Sight) -> str:
    edition = sight.state.edition
    if not is_begun(edition.document):
        return ""
    name = Path(edition.file).name
    if not edition.file and edition.begun:
        return say("Begun with the folders of the Train page. Not saved yet; what you do here is kept on this machine.")
    if not edition.file:
        return say("Not saved yet. What you do here is kept on this machine.")
    if edition.file == sight.trained_file:
        changed = say("{name}, which the Train page uses, has changes that are not saved.", name=name)
        return changed if edition.is_changed else say("{name} is saved. The Train page uses it.", name=name)
    return say("{name} has changes that are not saved.", name=name) if edition.is_changed else say("{name} is saved.", name=name)


def side(sight: Sight) -> Markup:
    """The plan, the cards, and what can be added."""
    return join(_plan(sight), _general(sight), [_dataset(sight, at) for at in range(len(sight.datasets()))], _another(sight), _adding(sight))


def _plan(sight: Sight) -> Markup | None:
    if not sight.datasets():
        return None
    found, job = sight.found, sight.job
    if found is None and job.wrong:
        return tag("section", tag("h2", say("Plan")), tag("p", retell(job.wrong), class_="told bad"), class_="card ds-plan")
    if found is None:
        return tag("section", tag("h2", say("Plan")), _progress(sight), class_="card ds-plan")
    steps = tag("ol", [tag("li", line) for line in formula_words(found.plan)], class_="formula num", aria_label=say("Steps")) if found.plan else None
    if found.plan and not found.plan.total_steps:
        steps = tag("p", say("No step yet: none of the pictures can be used."), class_="soft")
    missing = None if found.plan else tag("p", say("A training would refuse this dataset as it is."), class_="told bad small")
    again = does(say("Look again"), request={"do": "again"}, title=say("Look at the files anew, after changes from outside"))
    head = tag("div", tag("h2", say("Plan")), again, class_="card-head")
    return tag("section", head, steps, missing, _problems(sight, found), class_="card ds-plan")


def _progress(sight: Sight) -> Markup:
    job = sight.job
    if not job.total:
        words = say("Looking at the folders…")
    elif job.comparing:
        words = say("Comparing pictures: {done} of {total}", done=count(job.done), total=count(job.total))
    else:
        words = say("Looking at pictures: {done} of {total}", done=count(job.done), total=count(job.total))
    share = job.done / job.total if job.total else 0
    return tag(
        "div",
        tag("p", words, class_="num", role="status"),
        tag("div", tag("div", style=f"width:{share:.0%}"), class_="progress", aria_hidden="true"),
        id="ds-progress",
    )


def _problems(sight: Sight, found: Found) -> Markup | None:
    faults = [fault for fault in found.faults if fault.key != "datasets"]
    rows = [_fault(sight, fault) for fault in faults]
    ranked = sorted(found.problems, key=lambda problem: problem.severity != "error")
    rows += [_problem(problem) for problem in ranked]
    if not rows:
        return tag("p", say("No problems found."), class_="verdict good small")
    errors = len(faults) + sum(problem.severity == "error" for problem in found.problems)
    verdict = tag("span", verdict_words(errors, len(rows) - errors), class_=f"verdict {'bad' if errors else 'warn'} small")
    return tag(
        "details",
        tag("summary", verdict),
        tag("ul", rows, class_="problems small"),
        open=len(rows) <= FEW_PROBLEMS,
        data_key="problems",
        class_="ds-problems",
    )


def _fault(sight: Sight, fault: Fault) -> Markup:
    buttons: list[Markup] = []
    if sight.state.document.has(fault.spot) and fault.key in sight.table(fault.spot) and fault.key not in ("image_dir", "subsets"):
        request: dict[str, object] = {"do": "drop", "spot": spot_text(fault.spot), "key": fault.key}
        buttons.append(does(say("Take it out"), request=request))
    if sight.state.document.has(fault.spot):
        request = {"do": "choose", "spot": spot_text(fault.spot), "view": "options"}
        buttons.append(does(say("Show it"), request=request, data_focus=fault.key))
    fix = tag("span", retell(fault.error.fix), class_="fix")
    return tag("li", retell(fault.error.message), " ", fix, " ", join(*spaced(buttons)), class_="error")


def _problem(problem: Problem) -> Markup:
    mend = next(((key, value) for key, value in problem.mend if key in DATASET_KEYS and isinstance(value, bool)), None)
    buttons = [does(say("Fix it"), request={"do": "mend", "key": mend[0], "value": str(mend[1]).lower()})] if mend else []
    if problem.path:
        buttons.append(does(say("Show it"), request={"do": "find", "path": problem.path}))
    fix = tag("span", retell(problem.fix), class_="fix")
    return tag("li", problem_markup(problem), " ", fix, " ", join(*spaced(buttons)), class_=problem.severity)


def _adding(sight: Sight) -> Markup:
    at = sight.spot[0] if sight.spot else 0
    field = tag(
        "div",
        tag("label", say("Folder on this machine"), for_="ds-folder", class_="small", data_testid="block-info"),
        tag(
            "span",
            tag("input", type="text", id="ds-folder", autocomplete="off", spellcheck="false"),
            tag("button", say("Add"), type="button", class_="button", data_add=str(at)),
            class_="input-container",
        ),
        class_="path-folder ds-file",
    )
    choose = tag(
        "div",
        tag("button", say("Choose files"), type="button", class_="button", data_pick="ds-files"),
        tag("button", say("Choose a folder"), type="button", class_="button", data_pick="ds-tree"),
        class_="ds-choose",
    )
    where = say(
        "They are copied into a new folder in {folder}, up to {size} at once. Names stay, nothing is overwritten.",
        folder=sight.datasets_dir,
        size=LIMITS.words(),
    )
    drop = tag(
        "div",
        tag("p", tag("b", say("Drop pictures, folders or a zip here"))),
        choose,
        tag("p", where, class_="small soft"),
        id="ds-drop",
        data_dataset=str(at),
        data_endings=" ".join((*ENDINGS, ZIP)),
    )
    return tag("section", tag("h2", say("Add pictures")), drop, field, class_="card ds-add", data_key="add")


def _general(sight: Sight) -> Markup | None:
    if not sight.datasets():
        return None
    number = len(sight.table(()))
    words = say("{number} set", number=count(number)) if number else say("nothing set")
    return _row_button(sight, (), say("For all datasets"), words)


def _row_button(sight: Sight, spot: Spot, name: str, words: str) -> Markup:
    chosen = sight.spot == spot
    request: dict[str, object] = {"do": "choose", "spot": spot_text(spot), "view": "options"}
    label = join(tag("b", name), tag("span", words, class_="small soft num"))
    return does(
        label,
        "ds-table" + (" is-chosen" if chosen else ""),
        request=request,
        aria_pressed="true" if chosen else "false",
        data_key=f"t{spot_text(spot)}",
    )


def _dataset(sight: Sight, at: int) -> Markup:
    table = sight.datasets()[at]
    values = {row.key.name: row.value for row in fields_of(sight.data, (at,), sight.config) if row.key.name in BASIC["dataset"]}
    size = values.get("resolution")
    sides = size if isinstance(size, (list, tuple)) else (size, size)
    words = say("{width} × {height}, batch {batch}", width=sides[0], height=sides[-1], batch=values.get("batch_size")) if size else say("no size")
    cards = [_card(sight, (at, number), row) for number, row in enumerate(table.get("subsets", []))]
    none = tag("p", say("No folder yet. Add one above, or move one here."), class_="soft small") if not cards else None
    head = tag(
        "div", _row_button(sight, (at,), say("Dataset {number}", number=at + 1), words), _tools(sight, (at,), len(sight.datasets())), class_="ds-head"
    )
    return tag("section", head, cards, none, class_="ds-dataset", data_key=f"d{at}")


def _card(sight: Sight, spot: Spot, table: Mapping[str, Any]) -> Markup:
    chosen, name = sight.spot == spot, subset_name(table)
    request: dict[str, object] = {"do": "choose", "spot": spot_text(spot), "view": "pictures" if sight.state.view != "options" else "options"}
    title = does(name, "ds-name", request=request, aria_pressed="true" if chosen else "false")
    path = tag(
        "p", str(table.get("metadata_file") or table.get("image_dir") or ""), class_="small soft ds-path", title=str(table.get("image_dir", ""))
    )
    rows = {row.key.name: row for row in fields_of(sight.data, spot, sight.config)}
    quick = tag(
        "div",
        _quick(
            sight,
            spot,
            "num_repeats",
            label=say("Repeats"),
            value=str(rows["num_repeats"].value),
            type="number",
            min="1",
            step="1",
            inputmode="numeric",
        ),
        _quick(sight, spot, "class_tokens", label=say("Class words"), value=str(rows["class_tokens"].value or ""), type="text", spellcheck="false"),
        class_="ds-quick",
    )
    reg = rows["is_reg"].value is True
    switch = tag(
        "label",
        tag("input", type="checkbox", checked=reg, data_spot=spot_text(spot), data_set="is_reg"),
        tag("span", say("Regularisation")),
        class_="ds-check small",
    )
    masks = table.get("conditioning_data_dir")
    mask = tag("p", say("Masks: {folder}", folder=Path(str(masks)).name), class_="small soft", title=str(masks)) if masks else None
    classes = "ds-card" + (" is-chosen" if chosen else "") + (" is-reg" if reg else "")
    subsets = len(sight.datasets()[spot[0]].get("subsets", []))
    head = tag("div", title, _tools(sight, spot, subsets), class_="ds-head")
    return tag("article", head, path, _counts(sight, spot), quick, switch, mask, class_=classes, data_key=f"s{spot_text(spot)}", aria_label=name)


def _counts(sight: Sight, spot: Spot) -> Markup:
    """Pictures, captions and the share of an epoch; or why the folder is not used."""
    found = sight.found
    if found is None:
        return tag("p", say("Looking…"), class_="small soft")
    fault = next((row for row in found.faults if row.spot == spot and spot not in found.subsets), None)
    unused = next((reason for place, reason in found.reading.unused if place == spot), "")
    if fault is not None or unused:
        words = retell(fault.error.message.partition(": ")[2] or fault.error.message) if fault else say("Not used: {reason}", reason=retell(unused))
        return tag("p", words, class_=f"told small {'bad' if fault else 'warn'}")
    subset = found.subsets.get(spot)
    if subset is None:
        return tag("p", say("Not used: its dataset has a mistake."), class_="told small warn")
    look = sum(picture.needs_look for picture in subset.pictures)
    number = len(subset.pictures)
    words = [
        say("1 picture") if number == 1 else say("{number} pictures", number=count(number)),
        say("1 caption") if subset.captions == 1 else say("{number} captions", number=count(subset.captions)),
    ]
    if look:
        request: dict[str, object] = {"do": "choose", "spot": spot_text(spot), "view": "pictures"}
        more = does(say("{number} to look at", number=count(look)), "link ds-look", request=request, data_then='{"do":"only","only":"look"}')
    else:
        more = None
    share = found.share(spot)
    part = tag("div", tag("i", style=f"width:{share * 100:.1f}%"), class_="ds-share", aria_hidden="true")
    said = say("{share} of an epoch", share=f"{share:.0%}" if share >= 0.01 or not share else "<1%")
    return join(tag("p", " · ".join(words), " " if more else None, more, class_="small num"), part, tag("p", said, class_="small soft num ds-said"))


def _quick(sight: Sight, spot: Spot, key: str, *, label: str, value: str, **attributes: str) -> Markup:
    wrong = sight.wrong.get((spot, key))
    field = tag(
        "input",
        value=wrong.text if wrong else value,
        data_spot=spot_text(spot),
        data_set=key,
        autocomplete="off",
        aria_invalid="true" if wrong else None,
        **attributes,
    )
    said = tag("span", wrong.message, class_="message", role="alert") if wrong else None
    return tag("label", tag("span", label, class_="small soft"), field, said)


def _tools(sight: Sight, spot: Spot, among: int) -> Markup:
    """Up, down, copy, remove."""
    here = spot_text(spot)
    rows = (
        ("up", say("Move up"), {"do": "move", "spot": here, "by": -1}, spot[-1] == 0),
        ("down", say("Move down"), {"do": "move", "spot": here, "by": 1}, spot[-1] == among - 1),
        ("copy", say("Copy"), {"do": "copy", "spot": here}, False),
        ("remove", say("Take out; the files stay"), {"do": "remove", "spot": here}, False),
    )
    buttons = [
        does(
            Markup(f'<svg viewBox="0 0 16 16" {STROKE}>{SIGNS[sign]}</svg>'),
            "ds-tool",
            request=dict(request),
            title=label,
            aria_label=label,
            disabled=off,
        )
        for sign, label, request, off in rows
    ]
    return tag("div", buttons, class_="ds-tools", role="group", aria_label=say("Order"))


def _another(sight: Sight) -> Markup | None:
    if not sight.datasets():
        return None
    return does(say("Another dataset, for another size"), "button ds-another", request={"do": "add-dataset"})
