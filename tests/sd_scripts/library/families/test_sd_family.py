"""What the Stable Diffusion family does with pictures, captions and noise."""

import hashlib

import pytest
import torch
from torch import nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.diffusion.noise import add_noise, velocity
from sd_scripts.library.families.base import Conditions
from sd_scripts.library.families.ldm.text import encode_ids
from tests.tiny_models import build_sd2_tiny, build_sd15_micro, load_sd, wave

LONG = " ".join(["a red cat"] * 40)


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    return build_sd15_micro(tmp_path_factory.mktemp("models") / "micro.safetensors")


@pytest.fixture(scope="module")
def sd(micro):
    return load_sd(micro)


@pytest.fixture(scope="module")
def sd2(tmp_path_factory):
    return load_sd(build_sd2_tiny(tmp_path_factory.mktemp("models") / "sd2.safetensors"), max_token_length=150)


def draws(*indices, step=3):
    return Draws(seed=7, epoch=0, step=step, indices=indices)


def test_latents_are_a_scaled_sample_of_the_posterior(sd):
    images = wave(0.01, (1, 3, 64, 64))
    mean, logvar = sd.image_moments(images)
    noise = torch.randn(mean.shape[1:], generator=draws(0).items("vae")[0])
    torch.testing.assert_close(sd.sample_latents(mean, logvar, draws(0)), (mean + (logvar / 2).exp() * noise) * 0.18215)


def test_latents_do_not_depend_on_the_rest_of_the_batch(sd):
    images = wave(0.01, (2, 3, 64, 64))
    both = sd.sample_latents(*sd.image_moments(images), draws(4, 9))
    torch.testing.assert_close(both[1:], sd.sample_latents(*sd.image_moments(images[1:]), draws(9)))


def test_autocast_does_not_reach_the_vae(sd):
    images = wave(0.01, (1, 3, 64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sd.image_moments(images)[0]
    assert torch.equal(inside, sd.image_moments(images)[0])


def test_an_epsilon_model_learns_the_noise(sd):
    latents = wave(0.1, (2, 4, 8, 8))
    noised = sd.add_noise(latents, draws(0, 1))
    torch.testing.assert_close(noised.noisy_latents, add_noise(latents, noised.target, noised.timesteps, sd.schedule.alphas_cumprod))
    assert noised.weights.tolist() == [1.0, 1.0]


def test_a_v_model_learns_the_velocity(micro, sd):
    latents = wave(0.1, (2, 4, 8, 8))
    noise = sd.add_noise(latents, draws(0, 1)).target
    noised = load_sd(micro, v_parameterization=True).add_noise(latents, draws(0, 1))
    torch.testing.assert_close(noised.target, velocity(latents, noise, noised.timesteps, sd.schedule.alphas_cumprod))


def test_input_perturbation_leaves_the_target_alone(micro, sd):
    latents = wave(0.1, (2, 4, 8, 8))
    plain, perturbed = sd.add_noise(latents, draws(0, 1)), load_sd(micro, ip_noise_gamma=0.1).add_noise(latents, draws(0, 1))
    assert torch.equal(plain.target, perturbed.target)
    assert not torch.equal(plain.noisy_latents, perturbed.noisy_latents)


def test_noise_offset_reaches_the_target(micro, sd):
    latents = wave(0.1, (1, 4, 8, 8))
    shift = load_sd(micro, noise_offset=0.5).add_noise(latents, draws(0)).target - sd.add_noise(latents, draws(0)).target
    assert shift.std(dim=(2, 3)).max() < 1e-6
    assert shift.abs().min() > 0


def test_timesteps_stay_in_the_configured_range(micro):
    noised = load_sd(micro, min_timestep=200, max_timestep=210).add_noise(torch.zeros(50, 4, 8, 8), draws(*range(50)))
    assert set(noised.timesteps.tolist()) <= set(range(200, 210))


def test_min_snr_weighs_the_samples(micro):
    noised = load_sd(micro, min_snr_gamma=5.0, min_timestep=0, max_timestep=1).add_noise(torch.zeros(1, 4, 8, 8), draws(0))
    assert noised.weights.item() == pytest.approx(5 * (1 - 0.99915) / 0.99915, rel=1e-4)


def test_with_zero_terminal_snr_the_last_step_is_pure_noise(micro):
    family = load_sd(micro, zero_terminal_snr=True, v_parameterization=True, min_timestep=999, max_timestep=1000)
    latents = wave(0.1, (1, 4, 8, 8))
    noised = family.add_noise(latents, draws(0))
    torch.testing.assert_close(noised.target, -latents)


def test_a_prediction_is_float32_and_has_the_latents_shape(micro):
    family = load_sd(micro, weight_dtype=torch.bfloat16)
    noised = family.add_noise(wave(0.1, (2, 4, 8, 16)), draws(0, 1))
    model_pred = family.predict(noised, family.encode_text(["a cat", ""]), Conditions.whole((64, 64), rows=2, device=torch.device("cpu")))
    assert (model_pred.dtype, model_pred.shape) == (torch.float32, (2, 4, 8, 16))


@pytest.mark.parametrize(
    ("given", "tokens"), [({}, 77), ({"max_token_length": 150}, 152), ({"max_token_length": 225}, 227), ({"no_token_padding": True}, 6)]
)
def test_captions_have_the_configured_length(micro, given, tokens):
    assert load_sd(micro, **given).encode_text(["a photo of cats", ""]).prompt_embeds.shape == (2, tokens, 32)


def test_without_padding_a_lone_caption_is_encoded_as_with_it(micro, sd):
    short = load_sd(micro, no_token_padding=True).encode_text(["a photo"]).prompt_embeds
    torch.testing.assert_close(short, sd.encode_text(["a photo"]).prompt_embeds[:, :4])


def test_clip_skip_one_is_the_last_layer(micro, sd):
    assert torch.equal(load_sd(micro, clip_skip=1).encode_text(["a"]).prompt_embeds, sd.encode_text(["a"]).prompt_embeds)


def test_clip_skip_beyond_the_layers_is_refused(micro):
    with pytest.raises(ConfigError, match="3 is more than the text encoder's 2 layers"):
        load_sd(micro, clip_skip=3).encode_text(["a"])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_layers_that_clip_skip_uses_and_no_others(micro, checkpointing):
    encoder = load_sd(micro, clip_skip=2).text_encoders[0].requires_grad_(True)
    if checkpointing:
        encoder.gradient_checkpointing_enable()
        encoder.train()
    encode_ids(encoder, torch.tensor([[49406, 320, 49407]]), clip_skip=2).square().sum().backward()
    used = [any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in layer.parameters()) for layer in encoder.encoder.layers]
    assert used == [True, False]


def test_prompts_get_as_many_chunks_as_they_need(sd):
    assert sd.encode_prompts(["", "a cat"]).prompt_embeds.shape[1] == 77
    assert sd.encode_prompts(["", LONG]).prompt_embeds.shape[1] == 152
    assert sd.encode_prompts([LONG * 3]).prompt_embeds.shape[1] == 227


def test_prompts_without_emphasis_are_encoded_like_captions(sd2):
    assert torch.equal(sd2.encode_prompts(["a cat", ""]).prompt_embeds, sd2.encode_text(["a cat", ""]).prompt_embeds)


def test_emphasis_scales_the_words_embedding_and_keeps_the_mean(sd):
    plain, strong = (sd.encode_prompts([prompt]).prompt_embeds[0] for prompt in ("a cat", "a (cat:2)"))
    torch.testing.assert_close(strong.mean(), plain.mean())
    ratio = (strong / plain).mean(dim=1)
    torch.testing.assert_close(ratio[2] / ratio[1], torch.tensor(2.0))


@pytest.mark.parametrize("tokens", [None, 150])
def test_weighted_captions_scale_the_words_and_restore_no_mean(micro, tokens):
    """kohya: each hidden state times its word's weight, in the sequence that the chunks are joined to."""
    family = load_sd(micro, weighted_captions=True, max_token_length=tokens)
    captions = ["a (cat:2) [dog]", "a " * 80 + "(cat:1.5)"]
    plain = load_sd(micro, max_token_length=tokens).encode_text(["a cat dog", "a " * 80 + "cat"]).prompt_embeds
    ratio = (family.encode_text(captions).prompt_embeds / plain).mean(dim=-1)
    expected = torch.ones(2, 77 if tokens is None else 152)
    expected[0, 2], expected[0, 3] = 2.0, 1 / 1.1
    if tokens:
        expected[1, 81] = 1.5
    torch.testing.assert_close(ratio, expected)


def test_brackets_are_words_without_weighted_captions(sd):
    assert not torch.equal(sd.encode_text(["a (cat)"]).prompt_embeds, sd.encode_text(["a cat"]).prompt_embeds)


def test_text_targets_come_first_and_all_are_modules_of_the_model(sd):
    targets = sd.targets()
    own = {id(module) for part in (sd.unet, sd.text_encoders[0]) for module in part.modules()}
    assert [target.part for target in targets] == sorted((target.part for target in targets), key=["text_encoder", "unet"].index)
    assert all(id(target.module) in own and isinstance(target.module, nn.Linear | nn.Conv2d) for target in targets)


def test_the_description_names_and_hashes_the_file(sd, micro):
    described = dict(sd.describe())
    assert described == {
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "micro.safetensors",
        "ss_sd_model_hash": hashlib.sha256(micro.read_bytes()[0x100000:0x110000]).hexdigest()[:8],
        "ss_new_sd_model_hash": hashlib.sha256(micro.read_bytes()).hexdigest(),
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "diffusers",
        "modelspec.prediction_type": "epsilon",
    }


def test_version_2_is_described_as_such(sd2):
    described = sd2.describe()
    assert (described["ss_v2"], described["ss_base_model_version"]) == ("True", "sd_v2")
    assert described["modelspec.architecture"] == "stable-diffusion-v2-512"
