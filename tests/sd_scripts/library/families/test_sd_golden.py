"""The tiny SD 1.x model: outputs of text encoder, U-Net and VAE as recorded from the reference programs (golden/models.json)."""

import json

import pytest
import torch

from sd_scripts.library.families.clip import EOS, caption_chunks, join_chunks
from sd_scripts.library.families.ldm.text import encode_ids
from tests.tiny_models import GOLDEN, build_sd15_tiny, load_sd, wave

RECORDED = json.loads((GOLDEN / "models.json").read_text("utf-8"))["sd15_tiny"]
SKIPPED = "clip_skip 2 (hidden_states[-2] then final layer norm)"
UNET_CASES = [name for name in RECORDED["unet"] if name.split()[0][0].isdigit()]


@pytest.fixture(scope="module")
def sd(tmp_path_factory):
    return load_sd(build_sd15_tiny(tmp_path_factory.mktemp("models") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def input_ids():
    return caption_chunks(["a photo of a cat"], max_chunks=1, pad_id=EOS)[:, 0]


def assert_recorded(tensor, recorded):
    flat = tensor.detach().flatten()
    assert list(tensor.shape) == recorded["shape"]
    torch.testing.assert_close(flat[torch.tensor(recorded["at"])], torch.tensor(recorded["values"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack([flat.mean(), flat.std()]), torch.tensor([recorded["mean"], recorded["std"]]), atol=1e-4, rtol=0)


def test_all_weights_are_there(sd):
    weights = [weight for part in (sd.unet, sd.vae, sd.text_encoders[0]) for weight in part.parameters()]
    assert sum(weight.numel() for weight in weights) == RECORDED["total_parameters"]


def test_the_text_encoder_gives_the_recorded_states(sd, input_ids):
    outputs = sd.text_encoders[0](input_ids, output_hidden_states=True)
    assert_recorded(outputs.last_hidden_state, RECORDED["clip"]["last_hidden_state"])
    assert_recorded(outputs.pooler_output, RECORDED["clip"]["pooled"])
    assert_recorded(outputs.hidden_states[-2], RECORDED["clip"]["hidden_states[-2]"])


def test_clip_skip_norms_an_earlier_layer(sd, input_ids):
    assert_recorded(encode_ids(sd.text_encoders[0], input_ids, clip_skip=2), RECORDED["clip"][SKIPPED])


@pytest.mark.parametrize("clip_skip", [None, 2])
def test_two_chunks_become_one_sequence(sd, clip_skip):
    chunks = torch.tensor([[[49406, *range(1000, 1075), EOS], [49406, *range(2000, 2020), *[EOS] * 56]]])
    hidden = encode_ids(sd.text_encoders[0], chunks[0], clip_skip=clip_skip)[None]
    assert_recorded(join_chunks(hidden, chunks, pad_id=EOS), RECORDED["clip"][f"two chunks of 77 (max_token_length 150), clip_skip {clip_skip}"])


@pytest.mark.parametrize("case", [name for name in UNET_CASES if "t=" in name])
def test_the_unet_gives_the_recorded_noise(sd, input_ids, case):
    recorded = RECORDED["unet"][case]["output"]
    context = encode_ids(sd.text_encoders[0], input_ids, clip_skip=None)
    timestep = torch.tensor([int(case.rpartition("t=")[2])])
    assert_recorded(sd.unet(wave(0.05, tuple(recorded["shape"])), timestep, context).sample, recorded)


def test_the_unet_takes_long_texts(sd):
    recorded = RECORDED["unet"]["batch 2, 152-token context"]
    context = wave(0.1, (2, 152, 64), cosine=True)
    assert_recorded(sd.unet(wave(0.05, (2, 4, 16, 16)), torch.tensor(recorded["timesteps"]), context).sample, recorded["output"])


def test_the_vae_gives_the_recorded_posterior_and_picture(sd):
    mean, logvar = sd.image_moments(wave(0.01, (1, 3, 64, 96)))
    assert_recorded(mean, RECORDED["vae"]["mean"])
    assert_recorded(logvar, RECORDED["vae"]["logvar"])
    assert_recorded(mean * sd.vae_scale, RECORDED["vae"]["latents = 0.18215 * mean"])
    assert_recorded(sd.decode_latents(wave(0.05, (1, 4, 8, 8)) * sd.vae_scale), RECORDED["vae"]["decode of wave(0.05) (1,4,8,8)"])
