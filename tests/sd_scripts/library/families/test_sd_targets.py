"""Adapter targets of full-size models, built without weights, against the ecosystem's name lists."""

import json

import pytest

from sd_scripts.library.families.ldm.load import skeleton
from sd_scripts.library.families.ldm.targets import text_targets
from sd_scripts.library.families.sd import SD
from sd_scripts.library.families.sd.targets import unet_targets
from tests.tiny_models import GOLDEN, SD15, SD21, single_file_shapes

NAMES = json.loads((GOLDEN / "lora_module_names.json").read_text("utf-8"))
BLOCKS = json.loads((GOLDEN / "lora.json").read_text("utf-8"))["block_index"]["sd1"]


@pytest.fixture(scope="module", params=[SD15, SD21], ids=["sd15", "sd21"])
def parts(request):
    return skeleton(single_file_shapes(request.param), SD.layout)


def test_unet_names_and_order_are_kohyas(parts):
    names = [target.name for target in unet_targets(parts.unet) if not target.conv]
    assert names == NAMES["sd2_lora" if parts.text_parts[0].open_clip else "sd15_lora"]["denoiser"]


def test_unet_names_and_order_with_convolutions_are_kohyas():
    unet = skeleton(single_file_shapes(SD15), SD.layout).unet
    assert [target.name for target in unet_targets(unet)] == NAMES["sd15_lora_conv"]["denoiser"]


def test_text_encoder_names_and_order_are_kohyas(parts):
    names = [target.name for target in text_targets(parts.text_encoders[0], part="text_encoder", prefix="lora_te")]
    assert names == NAMES["sd2_lora" if parts.text_parts[0].open_clip else "sd15_lora"]["text_encoders"]


def test_block_indices_are_kohyas():
    block_of = {target.name: target.block for target in unet_targets(skeleton(single_file_shapes(SD15), SD.layout).unet)}
    unet_names = [name for name in BLOCKS if name.startswith("lora_unet")]
    assert {name: block_of[name] for name in unet_names} == {name: BLOCKS[name] for name in unet_names}


def test_projections_are_convolutions_in_version_1_and_linear_in_version_2(parts):
    kinds = {target.kind for target in unet_targets(parts.unet) if target.name.endswith("proj_in")}
    assert kinds == ({"linear"} if parts.text_parts[0].open_clip else {"conv1x1"})


def test_time_projections_are_linear_and_need_convolutions_asked_for(parts):
    found = {(target.kind, target.conv) for target in unet_targets(parts.unet) if target.name.endswith("time_emb_proj")}
    assert found == {("linear", True)}


def test_every_linear_layer_and_convolution_inside_the_blocks_is_a_target(parts):
    inside = {
        id(module)
        for block in (*parts.unet.down_blocks, parts.unet.mid_block, *parts.unet.up_blocks)
        for module in block.modules()
        if type(module).__name__ in ("Linear", "Conv2d")
    }
    assert {id(target.module) for target in unet_targets(parts.unet)} == inside
