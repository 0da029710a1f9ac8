"""The picture of blocks reads and writes the same options as the fields."""

from __future__ import annotations

import re

import pytest

from kohya_gui.configs import Draft
from kohya_gui.form.blocks import OPTIONS, SHEETS, block_picture, set_block
from sd_scripts.errors import ConfigError
from sd_scripts.params.blocks import block_ranks, lr_weights
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.network import LoRAArgs, Network

LORA = {"network_module": "networks.lora", "network_dim": 8}


def numbers(draft: Draft, sheet: str) -> list[str]:
    """What stands in the blocks, in the order of the lists."""
    picture = re.findall(r'value="([^"]*)" data-block="(\d+)"', block_picture(draft.config()[0], sheet))
    return [value for value, _ in sorted(picture, key=lambda row: int(row[1]))]


@pytest.mark.parametrize("script", ["train_network", "sdxl_train_network"])
def test_one_changed_block_changes_what_that_block_gets_and_no_other(script: str) -> None:
    draft = Draft(script, given=LORA)
    layout = FAMILIES[draft.command.family].blocks
    at = layout.count - layout.ends - 1
    for sheet in ("ranks", "alphas", "conv_ranks", "conv_alphas"):
        before = numbers(draft, sheet)
        draft = set_block(draft, sheet, at, "3")
        after = numbers(draft, sheet)
        assert [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old not in (new, "") and place != at - layout.ends] == []
        assert after[at - layout.ends] == "3"
    made = block_ranks(draft.config()[0][Network], draft.config()[0][LoRAArgs], layout)
    assert (made.ranks[at], made.alphas[at], made.conv_alphas[at]) == (3, 3.0, 3.0)
    assert made.conv_ranks is not None and made.conv_ranks[at] == 3
    assert made.ranks[layout.ends] == 8


def test_weights_are_given_for_the_side_that_was_changed_alone() -> None:
    draft = set_block(Draft(given=LORA), "rates", 13, "0,5")
    assert {name: draft.value(name) for name in OPTIONS if draft.value(name)} == {"up_lr_weight": "0.5,1,1,1,1,1,1,1,1,1,1,1"}
    weights = lr_weights(draft.config()[0][LoRAArgs])
    assert weights is not None
    assert [weights[12], weights[13], weights[14]] == [1.0, 0.5, 1.0]


def test_a_preset_shows_as_its_numbers_and_becomes_a_list_when_one_is_changed() -> None:
    draft = Draft(given={**LORA, "down_lr_weight": "linear"})
    assert numbers(draft, "rates")[:2] == ["0", "0.0909091"]
    assert str(set_block(draft, "rates", 0, "2").value("down_lr_weight")).startswith("2,0.0909091,")


@pytest.mark.parametrize(
    ("sheet", "index", "text"), [("ranks", 0, "much"), ("ranks", 25, "1"), ("ranks", -1, "1"), ("none", 0, "1"), ("ranks", 0, "1.5")]
)
def test_what_is_no_number_or_no_block_is_refused(sheet: str, index: int, text: str) -> None:
    with pytest.raises(ConfigError):
        set_block(Draft(given=LORA), sheet, index, text)


def test_there_is_no_picture_where_blocks_have_no_numbers_or_a_list_is_wrong() -> None:
    assert "data-block" not in block_picture(Draft(given={"network_module": "networks.oft"}).config()[0], "ranks")
    assert "told warn" in block_picture(Draft(given={**LORA, "block_dims": "1,2"}).config()[0], "ranks")
    assert all(sheet.title and sheet.help for sheet in SHEETS.values())
