"""What the Dataset page says of single pictures, and the buttons that mend something. A button carries the request that it makes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from kohya_gui.dataset_desk import spot_text
from kohya_gui.dataset_pictures import Picture, SubsetPictures, Trouble
from kohya_gui.markup import Child, Markup, tag
from kohya_gui.text import retell, say
from sd_scripts.survey.dataset_config import Spot
from sd_scripts.survey.folders import class_tokens_of, repeats_of


def does(label: Child, class_: str = "link", *, request: dict[str, object], **attributes: str | bool | None) -> Markup:
    """A button that makes a request of `dataset_verbs`."""
    return tag("button", label, type="button", class_=class_, data_do=json.dumps(request, ensure_ascii=False), **attributes)


def spaced(parts: Iterable[Markup]) -> Iterator[Markup]:
    """The parts, with a blank after each."""
    for part in parts:
        yield part
        yield Markup(" ")


def trouble_words(trouble: Trouble) -> str:
    """What is wrong, in one sentence."""
    detail = trouble.detail
    sentences = {
        "unreadable": lambda: say("Cannot be read: {reason}", reason=retell(detail)),
        "encoding": lambda: say("The caption {name} is not UTF-8.", name=detail),
        "mask": lambda: retell(detail),
        "no mask": lambda: say("It has no mask."),
        "no caption": lambda: say("It has no caption."),
        "blank caption": lambda: say("Its caption is empty."),
        "class words": lambda: say("No caption: “{words}” is used.", words=detail),
        "lines": lambda: say("The caption has {number} lines; only the first is used.", number=detail),
        "small": lambda: say("Less than half the pixels of {size}: it is enlarged and looks soft.", size=detail),
        "long": lambda: say("A strip: {number} times as long as it is wide.", number=detail),
        "cut": lambda: say("{share} of it is cut away.", share=detail),
        "twin": lambda: say("The same content as {name}.", name=detail),
        "same name": lambda: say("Another picture is called {name} too: they share one caption.", name=detail),
        "animated": lambda: say("It has several frames; only the first is used."),
        "CMYK": lambda: say("It is CMYK; colours may shift when it becomes RGB."),
        "16 bit": lambda: say("It has 16 bits per channel; 8 are used."),
        "palette": lambda: say("It has a colour palette and becomes RGB."),
        "mask size": lambda: say("Its mask has another size and is scaled to fit."),
    }
    return sentences[trouble.kind]()


def fixes(trouble: Trouble, picture: Picture, subset: SubsetPictures, *, spot: Spot, root_path: str) -> Iterator[Markup]:
    """Buttons and links that mend it."""
    kind, here = trouble.kind, spot_text(spot)
    if kind in ("no caption", "blank caption"):
        yield class_words(subset, spot)
        yield tag("a", say("Write one"), href=captions_address(picture, root_path), class_="link")
    if kind == "encoding":
        yield tag(
            "button", say("Convert to UTF-8"), type="button", class_="link", data_picture=picture.name, data_caption=trouble.detail, data_spot=here
        )
    if kind == "lines":
        yield does(say("Use all lines"), request={"do": "set", "spot": here, "key": "enable_wildcard", "value": "true"})
    if kind == "small" and subset.dataset.enable_bucket:
        yield does(say("Never enlarge"), request={"do": "set", "spot": here.partition(".")[0], "key": "bucket_no_upscale", "value": "true"})
    if kind == "cut" and not subset.dataset.enable_bucket:
        yield does(say("Use buckets"), request={"do": "set", "spot": here.partition(".")[0], "key": "enable_bucket", "value": "true"})
    if kind in ("unreadable", "small", "long", "cut", "twin", "same name"):
        yield does(say("Set aside"), request={"do": "aside", "spot": here, "name": picture.name})


def class_words(subset: SubsetPictures, spot: Spot) -> Markup:
    """Take the class words of the folder's name for pictures without a caption; else go to where they are written."""
    name = subset.subset.image_dir.name
    guess = class_tokens_of(name) if repeats_of(name) else ""
    here = spot_text(spot)
    if guess:
        request: dict[str, object] = {"do": "set", "spot": here, "key": "class_tokens", "value": guess}
        return does(say("Use “{words}”", words=guess), request=request)
    return does(say("Use the class words"), request={"do": "choose", "spot": here, "view": "options"}, data_focus="class_tokens")


def captions_address(picture: Picture, root_path: str) -> str:
    """Where the Captions page shows a picture."""
    return f"{root_path}/captions?folder={quote(str(picture.path.parent), safe='')}&picture={quote(picture.path.name, safe='')}"
