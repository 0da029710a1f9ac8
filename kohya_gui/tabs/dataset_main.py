"""The Dataset page's right side: pictures with their cuts and captions, the options of one table, the buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from kohya_gui.dataset_desk import ALONE, LOOK, VIEWS, spot_text
from kohya_gui.dataset_fields import BASIC, Field, field_text, fields_of, scope_of, unknown_keys
from kohya_gui.dataset_fixes import aside_in
from kohya_gui.dataset_pictures import Picture, SubsetPictures
from kohya_gui.form.widgets import browse_button
from kohya_gui.markup import Markup, join, tag
from kohya_gui.picture_routes import thumb_address
from kohya_gui.tabs.dataset_sight import Sight, subset_name
from kohya_gui.tabs.dataset_words import captions_address, does, fixes, spaced, trouble_words
from kohya_gui.text import count, say, words
from sd_scripts.survey.buckets import BucketChoice
from sd_scripts.survey.dataset_config import PATH_KEYS, Spot
from sd_scripts.survey.picture_names import stem_of

PER_PAGE = 48
FULL_ENOUGH = 0.5
EXAMPLE = (44, 36)
"""Pixels that an example of a bucket may take."""


def main(sight: Sight) -> Markup:
    """What is chosen, in the view that is chosen; or where to begin."""
    if not sight.datasets():
        return _begin()
    view = sight.state.view if sight.state.view in VIEWS else VIEWS[0]
    shown = {"pictures": _pictures, "options": _options, "buckets": _buckets}[view](sight)
    return join(_head(sight, view), tag("div", shown, id="ds-shown", class_="card"))


def _begin() -> Markup:
    return tag(
        "div",
        tag("h2", say("No dataset yet")),
        tag("p", say("Drop pictures at the left, name a folder of this machine, or begin with what the Train page holds.")),
        tag("p", say("A dataset file says which folders are used, how often, at which size, and how their captions are read.")),
        does(say("Begin with the Train page’s folders"), "button", request={"do": "from-train"}),
        class_="card empty",
    )


def _head(sight: Sight, view: str) -> Markup:
    spot = sight.spot
    if not spot:
        name = say("All datasets")
    elif len(spot) == 1:
        name = say("Dataset {number}", number=spot[0] + 1)
    else:
        name = subset_name(sight.table(spot))
    names = {"pictures": say("Pictures"), "options": say("Options"), "buckets": say("Buckets")}
    tabs = [
        does(names[key], "", request={"do": "view", "view": key}, aria_pressed="true" if key == view else "false", data_key=f"v{key}")
        for key in VIEWS
    ]
    return tag("div", tag("h2", name), tag("div", tabs, class_="views", role="group", aria_label=say("View")), class_="card-head ds-title")


def _within(sight: Sight) -> Iterator[tuple[Spot, SubsetPictures]]:
    """The subsets of what is chosen, as far as they were looked at."""
    for spot, found in (sight.found.subsets if sight.found else {}).items():
        if spot[: len(sight.spot)] == sight.spot:
            yield spot, found


def _pictures(sight: Sight) -> Markup:
    if sight.found is None:
        return tag("p", say("Looking…"), class_="soft", role="status")
    every = [(spot, found, picture) for spot, found in _within(sight) for picture in found.pictures]
    only = sight.state.only
    chosen = [row for row in every if _fits(row[2], only)]
    start = min(sight.state.page, max(0, (len(chosen) - 1) // PER_PAGE)) * PER_PAGE
    shown = chosen[start : start + PER_PAGE]
    cards = [_picture(sight, spot, found, picture) for spot, found, picture in shown]
    if not cards:
        text = say("No picture of this kind.") if only else say("There is no picture here that can be used.")
        grid = tag("p", text, class_="soft")
    else:
        grid = tag("ul", cards, class_="ds-grid")
    return join(_filters([row[2] for row in every], only), _notes(sight), grid, _pages(len(chosen), start), _aside(sight))


def _fits(picture: Picture, only: str) -> bool:
    if only.startswith(ALONE):
        return stem_of(picture.name) == stem_of(only.removeprefix(ALONE))
    return not only or (picture.needs_look if only == LOOK else any(trouble.kind == only for trouble in picture.troubles))


def _filters(pictures: Sequence[Picture], only: str) -> Markup | None:
    kinds = Counter(kind for picture in pictures for kind in {trouble.kind for trouble in picture.troubles})
    look = sum(picture.needs_look for picture in pictures)
    rows = [("", say("All"), len(pictures))] + ([(LOOK, say("To look at"), look)] if look else [])
    rows += [(kind, kind_words(kind), number) for kind, number in kinds.most_common()]
    if only.startswith(ALONE):
        rows.append((only, only.removeprefix(ALONE), sum(_fits(picture, only) for picture in pictures)))
    if len(rows) == 1:
        return None
    chips = [
        does(
            say("{what} {number}", what=name, number=count(number)),
            "chip",
            request={"do": "only", "only": key},
            aria_pressed="true" if key == only else "false",
            data_key=f"o{key}",
        )
        for key, name, number in rows
    ]
    return tag("div", chips, class_="ds-filters", role="group", aria_label=say("Show"))


def kind_words(kind: str) -> str:
    """A kind of trouble in two or three words."""
    return {
        "unreadable": say("unreadable"),
        "encoding": say("caption not UTF-8"),
        "mask": say("mask wrong"),
        "no mask": say("no mask"),
        "no caption": say("no caption"),
        "blank caption": say("empty caption"),
        "class words": say("class words used"),
        "lines": say("several lines"),
        "small": say("enlarged"),
        "long": say("strip"),
        "cut": say("much cut away"),
        "twin": say("same content"),
        "same name": say("same name"),
        "animated": say("animated"),
        "CMYK": say("CMYK"),
        "16 bit": say("16 bits"),
        "palette": say("palette"),
        "mask size": say("mask scaled"),
    }[kind]


def _notes(sight: Sight) -> Markup | None:
    """What concerns a folder as a whole."""
    lines = []
    for spot, found in _within(sight):
        if found.other_ending:
            request: dict[str, object] = {"do": "set", "spot": spot_text(spot), "key": "caption_extension", "value": found.other_ending}
            text = say(
                "Captions of {name} end in {ending}, which is not what is read.", name=subset_name(sight.table(spot)), ending=found.other_ending
            )
            lines.append(tag("p", text, " ", does(say("Read these"), request=request), class_="told warn"))
        used = {str(row.get("image_dir")) for row in sight.datasets()[spot[0]].get("subsets", [])}
        nested = [name for name in found.nested if str(found.subset.image_dir / name) not in used]
        if nested:
            text = say("Folders below {name} are not read: {folders}.", name=subset_name(sight.table(spot)), folders=", ".join(nested[:5]))
            add = does(say("Add them"), request={"do": "nested", "spot": spot_text(spot)})
            lines.append(tag("p", text, " ", add, class_="told warn"))
    return join(*lines) if lines else None


def _picture(sight: Sight, spot: Spot, found: SubsetPictures, picture: Picture) -> Markup:
    """One picture: what is kept of it is bright, what is cut away is dim."""
    root = sight.root_path
    image = tag("img", src=thumb_address(picture.path, root_path=root), alt="", loading="lazy", decoding="async")
    link: Markup | None = tag("span", say("No preview"), class_="none")
    if picture.size is not None:
        link = _framed(picture, image, root, "ds-link")
    troubles = [
        tag("li", trouble_words(trouble), " ", join(*spaced(fixes(trouble, picture, found, spot=spot, root_path=root))), class_=trouble.severity)
        for trouble in picture.troubles
    ]
    unread = say("caption not UTF-8") if picture.caption_state == "broken" else say("no caption")
    caption = tag("a", picture.caption or unread, href=captions_address(picture, root), class_="ds-caption", title=picture.caption)
    return tag(
        "li",
        link,
        tag("p", picture.name, class_="ds-file-name", title=picture.name),
        tag("p", _facts(picture), class_="small soft num"),
        caption,
        tag("ul", troubles, class_="problems small") if troubles else None,
    )


def _framed(picture: Picture, image: Markup, root_path: str, class_: str, *, within: tuple[int, int] | None = None) -> Markup:
    """A small picture with its cut, which opens the large one. `within`: as large as fits into so many pixels, else as large as there is room."""
    size, inset = picture.size or (1, 1), _inset(picture.cut)
    width = f";width:{min(within[0], within[1] * size[0] / size[1]):.0f}px" if within else ""
    cut = tag("i", class_="ds-cut", aria_hidden="true", style=f"inset:{inset}") if inset else None
    frame = tag("span", image, cut, class_="ds-frame", style=f"aspect-ratio:{size[0]}/{size[1]}{width}")
    large = thumb_address(picture.path, root_path=root_path, size="large")
    said = " · ".join(filter(None, (picture.name, _facts(picture))))
    return tag("a", frame, href=large, data_view_picture=True, data_caption=said, data_cut=inset, aria_label=picture.name, class_=class_)


def _facts(picture: Picture) -> str:
    """Its size and what becomes of it."""
    lost = say("lost {share}", share=f"{picture.lost:.0%}") if picture.lost >= 0.005 else ""
    return " · ".join(filter(None, (_size_words(picture), lost)))


def _size_words(picture: Picture) -> str:
    if picture.size is None:
        return ""
    size = f"{picture.size[0]} × {picture.size[1]}"
    return size if picture.cut is None else f"{size} → {picture.cut.bucket[0]} × {picture.cut.bucket[1]}"


def _inset(cut: BucketChoice | None) -> str | None:
    """How far the part that is kept lies from the edges, as CSS says it; None where all of it is kept."""
    if cut is None or cut.bucket == cut.resized:
        return None
    (width, height), (whole_width, whole_height), (left, top) = cut.bucket, cut.resized, cut.crop
    edges = (top / whole_height, 1 - (left + width) / whole_width, 1 - (top + height) / whole_height, left / whole_width)
    return " ".join(f"{max(0.0, edge):.2%}" for edge in edges)


def _pages(number: int, start: int) -> Markup | None:
    if number <= PER_PAGE:
        return None
    page, last = start // PER_PAGE, (number - 1) // PER_PAGE
    told = say("{first} to {last} of {number}", first=count(start + 1), last=count(min(number, start + PER_PAGE)), number=count(number))
    return tag(
        "nav",
        does(say("Previous"), "button", request={"do": "page", "page": page - 1}, disabled=page == 0),
        tag("span", told, class_="num soft", role="status"),
        does(say("Next"), "button", request={"do": "page", "page": page + 1}, disabled=page == last),
        class_="ds-pages",
        aria_label=say("Pages of pictures"),
    )


def _aside(sight: Sight) -> Markup | None:
    """Pictures of the chosen folders that were set aside."""
    rows = []
    for spot, found in _within(sight):
        for name in aside_in(found.subset.image_dir):
            back = does(say("Bring back"), request={"do": "back", "spot": spot_text(spot), "name": name})
            rows.append(tag("li", name, " ", back))
    if not rows:
        return None
    title = say("Set aside: 1 picture") if len(rows) == 1 else say("Set aside: {number} pictures", number=count(len(rows)))
    return tag("details", tag("summary", title), tag("ul", rows, class_="small"), class_="ds-aside")


def _options(sight: Sight) -> Markup:
    """Every key of the chosen table. What is not set falls back to the table above it, last to the Train page."""
    fields = fields_of(sight.data, sight.spot, sight.config)
    basic = BASIC[scope_of(sight.spot)]
    first = sorted((row for row in fields if row.key.name in basic), key=lambda row: basic.index(row.key.name))
    rest = sorted((row for row in fields if row.key.name not in basic), key=lambda row: row.key.section)
    groups = [_group(sight, title, list(rows)) for title, rows in groupby(rest, key=lambda row: row.key.section)]
    return join(_unknown(sight), tag("div", [_field(sight, row) for row in first], class_="fields"), groups, _moving(sight))


def _group(sight: Sight, title: str, rows: Sequence[Field]) -> Markup:
    own = sum(row.own is not None for row in rows)
    wrong = any((sight.spot, row.key.name) in sight.wrong for row in rows)
    mark = tag("span", say("{number} set", number=count(own)), class_="badge") if own else None
    body = tag("div", [_field(sight, row) for row in rows], class_="fields")
    head = tag("summary", tag("span", words().title(rows[0].key.parameter.section, title)), mark)
    return tag("details", head, body, open=bool(own or wrong), data_key=f"g{title}")


def _field(sight: Sight, row: Field) -> Markup:
    key, parameter = row.key.name, row.key.parameter
    wrong = sight.wrong.get((sight.spot, key))
    label, id_ = words().label(parameter), f"ds-o-{key}"
    said = _falls_back(row)
    common: dict[str, str | bool | None] = {
        "id": id_,
        "data_spot": spot_text(sight.spot),
        "data_set": key,
        "aria_invalid": "true" if wrong else None,
        "aria_describedby": f"{id_}-h",
    }
    text = wrong.text if wrong else field_text(row.own)
    choices = ("true", "false") if parameter.kind == "bool" else tuple(map(str, parameter.choices)) if parameter.choices else ()
    if choices:
        names = {"true": say("on"), "false": say("off")}
        empty = tag(
            "option", say("not set: {value}", value=names.get(field_text(row.inherited), field_text(row.inherited)) or say("nothing")), value=""
        )
        options = [tag("option", names.get(choice, choice), value=choice, selected=choice == text) for choice in choices]
        control = tag("select", empty, options, **common)
    else:
        control = tag("input", type="text", value=text, placeholder=field_text(row.inherited), autocomplete="off", spellcheck="false", **common)
    box = tag("div", control, browse_button(label) if key in PATH_KEYS else None, class_="box")
    reset = does(say("Take it out"), request={"do": "set", "spot": spot_text(sight.spot), "key": key, "value": ""}) if row.own is not None else None
    message = tag("p", wrong.message, class_="message", role="alert") if wrong else None
    classes = "field" + (" path-any" if key in PATH_KEYS else "") + (" is-changed" if row.own is not None else "") + (" has-error" if wrong else "")
    name = tag("label", label, " ", tag("code", key), for_=id_, class_="name")
    info = tag("p", words().help(parameter), " ", tag("b", said) if said else None, id=f"{id_}-h", class_="info")
    return tag("div", name, info, box, message, reset, class_=classes, data_key=f"f{key}")


def _falls_back(row: Field) -> str:
    """Who says what holds, where this table does not."""
    if row.own is not None:
        return ""
    value = {True: say("on"), False: say("off")}.get(row.inherited) if isinstance(row.inherited, bool) else field_text(row.inherited)
    value = value or say("nothing")
    if row.source is None:
        return say("Now {value}, as the Train page says.", value=value)
    if not row.source:
        return say("Now {value}, as it is for all datasets.", value=value)
    return say("Now {value}, as its dataset says.", value=value)


def _unknown(sight: Sight) -> Markup | None:
    rows = [
        tag("li", tag("code", key), " ", does(say("Take it out"), request={"do": "drop", "spot": spot_text(sight.spot), "key": key}))
        for key in unknown_keys(sight.data, sight.spot, sight.config)
    ]
    if not rows:
        return None
    text = say("These keys stand in the file, mean nothing here and are kept. A training refuses the file because of them.")
    return tag("div", tag("p", text), tag("ul", rows), class_="told warn")


def _moving(sight: Sight) -> Markup | None:
    """A way into another dataset for a folder."""
    others = [at for at in range(len(sight.datasets())) if at != sight.spot[0]] if len(sight.spot) == 2 else []
    if not others:
        return None
    buttons = [
        does(say("Dataset {number}", number=at + 1), "button", request={"do": "move", "spot": spot_text(sight.spot), "dataset": at}) for at in others
    ]
    return tag("div", tag("span", say("Move this folder to"), class_="soft"), " ", join(*spaced(buttons)), class_="ds-moving")


def _buckets(sight: Sight) -> Markup:
    """The buckets of what is chosen, with pictures of each and what a short last batch costs."""
    if sight.found is None:
        return tag("p", say("Looking…"), class_="soft", role="status")
    rows = [row for row in sight.found.buckets if not sight.spot or row.dataset == sight.spot[0]]
    if not rows:
        return tag("p", say("There are no buckets: no picture can be used."), class_="soft")
    most = max(row.count.items for row in rows)
    heads = (say("Size"), say("Pictures"), say("With repeats"), say("Batches"), say("Examples"))
    several = len({row.dataset for row in rows}) > 1
    known = {picture.path: picture for found in sight.found.subsets.values() for picture in found.pictures}
    lines = []
    for row in sorted(rows, key=lambda row: (row.dataset, -row.count.items)):
        number = row.count
        size = f"{number.bucket[0]} × {number.bucket[1]}"
        place = tag("span", say("Dataset {number}", number=row.dataset + 1), class_="small soft") if several else None
        share = tag("div", tag("i", style=f"width:{number.items / most:.0%}"), class_="ds-share", aria_hidden="true")
        examples = [
            _framed(known[path], _thumb(path, sight), sight.root_path, "ds-example", within=EXAMPLE) for path in row.examples if path in known
        ]
        lines.append(
            tag(
                "tr",
                tag("th", size, place, scope="row"),
                tag("td", count(number.images)),
                tag("td", count(number.items), share),
                tag("td", count(number.batches), _short(number.items, row.batch_size)),
                tag("td", examples, class_="ds-examples"),
            )
        )
    table = tag("table", tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])), tag("tbody", lines), class_="rows num ds-buckets")
    note = tag("p", say("For the whole dataset: folders of one dataset share its buckets."), class_="small soft") if len(sight.spot) == 2 else None
    return join(note, tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=say("Buckets")))


def _thumb(path: Path, sight: Sight) -> Markup:
    return tag("img", src=thumb_address(path, root_path=sight.root_path), alt=path.name, loading="lazy")


def _short(items: int, batch: int) -> Markup | None:
    """A last batch that is less than half full, in one bucket."""
    left = items % batch
    if not left or left >= batch * FULL_ENOUGH:
        return None
    return tag("span", say("last one has {left} of {batch}", left=count(left), batch=count(batch)), class_="small soft")
