"""The picture of a U-Net's blocks: a number in each block instead of lists of 25. It reads and writes the same options as the fields beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kohya_gui.configs import Draft
from kohya_gui.markup import Markup, tag
from kohya_gui.text import error_words, say
from sd_scripts.errors import ConfigError
from sd_scripts.params.blocks import BlockLayout, BlockRanks, block_ranks, lr_weights
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.network import BLOCKS_WITHOUT_ATTENTION, RANKED, LoRAArgs, Network

RATES = "rates"
_SIDES = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")


@dataclass(frozen=True)
class Sheet:
    """One kind of number per block: what it is called, what it does, the option that holds it, and one that has to be given along with it."""

    title: str
    help: str
    option: str = ""
    along: str = ""
    values: Callable[[BlockRanks], Sequence[float] | None] = lambda ranks: None


SHEETS = {
    RATES: Sheet("Weights", "Factor of the learning rate in each block; 0 leaves the block as it is."),
    "ranks": Sheet("Ranks", "Rank of each block.", "block_dims", values=lambda made: made.ranks),
    "alphas": Sheet("Alphas", "Alpha of each block.", "block_alphas", "ranks", lambda made: made.alphas),
    "conv_ranks": Sheet("Conv ranks", "Rank of each block's convolutions.", "conv_block_dims", values=lambda made: made.conv_ranks),
    "conv_alphas": Sheet("Conv alphas", "Alpha of each block's convolutions.", "conv_block_alphas", "conv_ranks", lambda made: made.conv_alphas),
}
SIDES = {"down": "Down {number}", "mid": "Middle {number}", "up": "Up {number}"}
"""What a block is called, by its side of the U-Net."""
OPTIONS = (*_SIDES, *(sheet.option for sheet in SHEETS.values() if sheet.option))
"""Options that the picture reads and writes."""


def block_picture(config: Config, name: str) -> Markup:
    """The picture with the numbers of one sheet, or why there is none. `name` is a key of `SHEETS`, any other the first."""
    name = name if name in SHEETS else RATES
    if LoRAArgs not in config or Network not in config or config[Network].network_module not in RANKED:
        return tag("p", say("Blocks have numbers of their own with networks.lora and its relatives only."), class_="soft")
    layout = FAMILIES[config.command.family].blocks
    try:
        numbers = _numbers(config, name, layout)
    except ConfigError as failed:
        return tag("p", error_words(failed), class_="told warn")
    tabs = [
        tag("button", say(sheet.title), type="button", role="tab", aria_selected="true" if key == name else "false", data_sheet=key)
        for key, sheet in SHEETS.items()
    ]
    return tag(
        "div",
        tag("div", tabs, class_="views", role="tablist", aria_label=say("Numbers by block")),
        tag("p", say(SHEETS[name].help), class_="info"),
        _unet(config.command.family, layout, name, numbers),
        class_="blocks",
    )


def set_block(draft: Draft, name: str, index: int, text: str) -> Draft:
    """The draft after one block's number was changed; the options' lists are written out in full.

    Raises:
        ConfigError: there is no such sheet or block, or the text is no number.
    """
    config, _ = draft.config()
    layout = FAMILIES[draft.command.family].blocks
    sheet = SHEETS.get(name)
    if sheet is None or not 0 <= index < layout.count:
        raise ConfigError("", "There is no such block.")
    numbers = list(_numbers(config, name, layout) or (0.0,) * layout.count)
    try:
        numbers[index] = int(text) if name in ("ranks", "conv_ranks") else float(text.replace(",", "."))
    except ValueError:
        raise ConfigError(sheet.option, f"{text!r} is no number.", fix="Write one, such as 8.") from None
    if name == RATES:
        return _with_rates(draft, layout, numbers)
    if sheet.along and not draft.value(SHEETS[sheet.along].option):
        beside = _numbers(config, sheet.along, layout) or (0.0,) * layout.count
        draft = draft.with_value(SHEETS[sheet.along].option, _joined(beside))
    return draft.with_value(sheet.option, _joined(numbers))


def _numbers(config: Config, name: str, layout: BlockLayout) -> Sequence[float] | None:
    """The numbers of a sheet as they count now. Raises ConfigError where an option's text is none."""
    arguments = config[LoRAArgs]
    if name == RATES:
        return lr_weights(dataclasses.replace(arguments, block_lr_zero_threshold=None), layout) or (1.0,) * layout.count
    plain = dataclasses.replace(arguments, down_lr_weight=None, mid_lr_weight=None, up_lr_weight=None)
    return SHEETS[name].values(block_ranks(config[Network], plain, layout))


def _with_rates(draft: Draft, layout: BlockLayout, numbers: Sequence[float]) -> Draft:
    """Only the sides that are not 1 throughout are given: what is not given stays so."""
    start = layout.ends
    for option, count in zip(_SIDES, (layout.down, layout.mid, layout.up), strict=True):
        part = numbers[start : start + count]
        start += count
        given = _joined(part) if any(number != 1 for number in part) or draft.value(option) else None
        draft = draft.with_value(option, given)
    return draft


def _joined(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _unet(family: str, layout: BlockLayout, name: str, numbers: Sequence[float] | None) -> Markup:
    """Down on the left, the middle at the bottom, up on the right, as the U-Net is drawn."""
    bare = BLOCKS_WITHOUT_ATTENTION.get(family, ())
    first, second, third = layout.ends, layout.ends + layout.down, layout.ends + layout.down + layout.mid
    sides = (
        ("down", range(first, second), SIDES["down"]),
        ("mid", range(second, third), SIDES["mid"]),
        ("up", range(third, third + layout.up), SIDES["up"]),
    )
    columns = []
    for side, places, words in sides:
        cells = [
            _cell(name, place, say(words, number=place - places.start), value="" if numbers is None else f"{numbers[place]:g}", is_bare=place in bare)
            for place in places
        ]
        columns.append(tag("div", cells[::-1] if side == "up" else cells, class_=f"unet-{side}"))
    note = say("Dashed: blocks without attention, which only convolutions reach.")
    return tag("div", tag("div", columns, class_="unet"), tag("p", note, class_="small soft"))


def _cell(name: str, place: int, title: str, *, value: str, is_bare: bool) -> Markup:
    entry = tag("input", type="text", inputmode="decimal", value=value, data_block=place, data_of=name, autocomplete="off", aria_label=title)
    return tag("label", tag("span", title), entry, class_="unet-block bare" if is_bare else "unet-block")
