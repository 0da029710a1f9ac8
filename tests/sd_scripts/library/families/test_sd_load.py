"""Loading Stable Diffusion in every shape in which it comes, and refusing what it is not."""

import json
import shutil

import pytest
import torch
from diffusers.loaders import single_file_utils as reference
from safetensors.torch import load_file, save_file

from sd_scripts.errors import ConfigError, DataError, Diverged
from sd_scripts.library.families.ldm.convert import join
from sd_scripts.library.families.ldm.load import missing_files, single_file_tables, skeleton
from sd_scripts.library.families.sd import SD
from tests.tiny_models import (
    SD2_TINY,
    SD15,
    SD15_MICRO,
    SD15_TINY,
    SD21,
    build,
    build_diffusers_folder,
    build_sd15_micro,
    load_sd,
    single_file_shapes,
    single_file_tensors,
)

TEXT = "cond_stage_model.transformer.text_model."
OPEN_CLIP = "cond_stage_model.model."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def micro(folder):
    return build_sd15_micro(folder / "micro.safetensors")


@pytest.fixture(scope="module")
def micro_folder(folder):
    return build_diffusers_folder(folder / "micro", SD15_MICRO)


@pytest.fixture(scope="module")
def expected(micro):
    return weights_of(load_sd(micro))


def weights_of(sd):
    parts = {"unet": sd.unet, "vae": sd.vae, "text_encoder": sd.text_encoders[0]}
    return {f"{part}.{name}": weight for part, module in parts.items() for name, weight in module.state_dict().items()}


def assert_same(sd, expected):
    found = weights_of(sd)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def write(path, tensors, **metadata):
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata=metadata or None)
    return path


@pytest.mark.parametrize("layout", [SD15_TINY, SD15_MICRO], ids=["tiny", "micro"])
def test_the_unet_and_vae_are_what_diffusers_own_converter_makes(folder, layout):
    tensors = single_file_tensors(layout)
    sd = load_sd(build(layout, folder / f"{layout.text_width}.safetensors"))
    unet = reference.convert_ldm_unet_checkpoint(dict(tensors), config={"layers_per_block": layout.layers_per_block})
    vae = reference.convert_ldm_vae_checkpoint(dict(tensors), config=dict(sd.vae.config))
    assert sd.unet.state_dict().keys() == unet.keys()
    assert sd.vae.state_dict().keys() == vae.keys()
    assert all(torch.equal(weight, unet[name]) for name, weight in sd.unet.state_dict().items())
    assert all(torch.equal(weight, vae[name].view_as(weight)) for name, weight in sd.vae.state_dict().items())


def test_open_clip_weights_are_what_diffusers_own_converter_makes(folder):
    sd = load_sd(build(SD2_TINY, folder / "sd2.safetensors"))
    tensors = single_file_tensors(SD2_TINY)
    for index in range(3):
        layer = sd.text_encoders[0].encoder.layers[index]
        fused = torch.cat([layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight])
        assert torch.equal(fused, tensors[f"cond_stage_model.model.transformer.resblocks.{index}.attn.in_proj_weight"])
        assert torch.equal(layer.mlp.fc1.bias, tensors[f"cond_stage_model.model.transformer.resblocks.{index}.mlp.c_fc.bias"])
    assert sd.is_v2
    assert sd.text_encoders[0].config.hidden_act == "gelu"


@pytest.mark.parametrize("layout", [SD15, SD21], ids=["sd15", "sd21"])
def test_full_size_models_have_the_published_structure(layout):
    parts = skeleton(single_file_shapes(layout), SD.layout)
    assert sum(weight.numel() for weight in parts.unet.parameters()) == (865_910_724 if parts.text_parts[0].open_clip else 859_520_964)
    assert parts.text_encoders[0].config.num_hidden_layers == (23 if parts.text_parts[0].open_clip else 12)
    assert parts.unet.config.attention_head_dim == ((5, 10, 20, 20) if parts.text_parts[0].open_clip else 8)


@pytest.mark.parametrize("layout", [SD15_MICRO, SD2_TINY], ids=["sd15", "sd2"])
def test_the_tables_lead_back_to_the_single_file(folder, layout):
    sd = load_sd(build(layout, folder / "there.safetensors"))
    original, shapes = single_file_tensors(layout), single_file_shapes(layout)
    tables, modules = single_file_tables(skeleton(shapes, SD.layout)), {"unet": sd.unet, "vae": sd.vae, "text_encoder": sd.text_encoders[0]}
    back = {key: tensor for part, table in tables.items() for key, tensor in join(table, modules[part].state_dict()).items()}
    assert original.keys() - back.keys() <= {"cond_stage_model.model.text_projection", "cond_stage_model.model.logit_scale"}
    assert all(torch.equal(tensor, original[key]) for key, tensor in back.items())


@pytest.mark.parametrize("suffix", [".ckpt", ".pt"])
def test_pickles_load_like_safetensors(folder, expected, suffix):
    assert_same(load_sd(build_sd15_micro(folder / f"micro{suffix}")), expected)


def test_a_diffusers_folder_loads_like_the_single_file(micro_folder, expected):
    assert_same(load_sd(micro_folder), expected)


def test_a_folder_of_2x_is_written_as_a_single_file_of_2x(folder):
    original = single_file_tensors(SD2_TINY)
    single = load_sd(build(SD2_TINY, folder / "two.safetensors"))
    for name, module in single.parts.modules.items():
        module.save_pretrained(folder / "two" / name)
    from_folder = load_sd(folder / "two")
    assert from_folder.is_v2
    assert_same(from_folder, weights_of(single))
    written, unused = from_folder.checkpoint_tensors(None), {f"{OPEN_CLIP}logit_scale", f"{OPEN_CLIP}text_projection"}
    assert written.keys() == original.keys()
    assert {key for key, tensor in written.items() if not torch.equal(tensor, original[key])} == unused  # no folder of 2.x holds these


def test_captions_are_encoded_alike_from_a_folder_and_from_a_file(micro, micro_folder):
    single, from_folder = (load_sd(path).encode_text(["a red cat"]).prompt_embeds for path in (micro, micro_folder))
    torch.testing.assert_close(single, from_folder)


def test_a_folder_with_fp16_files_alone_loads(folder, expected):
    loaded = weights_of(load_sd(build_diffusers_folder(folder / "fp16", SD15_MICRO, variant="fp16")))
    assert loaded.keys() == expected.keys()


def test_old_text_encoder_names_load(folder, expected):
    tensors = {key.replace(TEXT, "cond_stage_model.transformer."): tensor for key, tensor in single_file_tensors(SD15_MICRO).items()}
    assert_same(load_sd(write(folder / "old.safetensors", tensors)), expected)


def test_what_old_files_carry_besides_weights_does_no_harm(folder, expected):
    extra = {"alphas_cumprod": torch.ones(1000), f"{TEXT}embeddings.position_ids": torch.arange(77)[None], "model_ema.decay": torch.tensor(0.9)}
    assert_same(load_sd(write(folder / "extra.safetensors", {**single_file_tensors(SD15_MICRO), **extra})), expected)


def test_weights_are_frozen_converted_and_the_vae_may_stay_float32(micro):
    sd = load_sd(micro, weight_dtype=torch.float16, no_half_vae=True)
    assert (sd.unet.dtype, sd.text_encoders[0].dtype, sd.vae.dtype) == (torch.float16, torch.float16, torch.float32)
    assert not any(weight.requires_grad for part in (sd.unet, sd.vae, sd.text_encoders[0]) for weight in part.parameters())
    assert not (sd.unet.training or sd.vae.training or sd.text_encoders[0].training)


def test_loaded_weights_do_not_depend_on_the_file(folder, expected):
    path = build_sd15_micro(folder / "gone.safetensors")
    sd = load_sd(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_same(sd, expected)


def other_vae():
    return {key: tensor + 1 for key, tensor in single_file_tensors(SD15_MICRO).items() if key.startswith("first_stage_model.")}


@pytest.fixture(scope="module")
def vae_folder(folder):
    tensors = {**single_file_tensors(SD15_MICRO), **other_vae()}
    whole = write(folder / "whole.safetensors", tensors)
    sd = load_sd(whole)
    sd.vae.save_pretrained(folder / "vae_folder")
    return folder / "vae_folder"


@pytest.mark.parametrize("form", ["whole file", "bare file", "folder", "model folder", "diffusers file", "old diffusers file"])
def test_another_vae_replaces_the_models(folder, micro, vae_folder, form, tmp_path):
    bare = {key.removeprefix("first_stage_model."): tensor for key, tensor in other_vae().items()}
    diffusers_names = load_file(vae_folder / "diffusion_pytorch_model.safetensors")
    renamed = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    old_names = {}
    for key, tensor in diffusers_names.items():
        for new, old in renamed.items():
            key = key.replace(f"attentions.0.{new}", f"attentions.0.{old}")
        old_names[key] = tensor
    shutil.copytree(vae_folder, tmp_path / "model" / "vae")
    paths = {
        "whole file": folder / "whole.safetensors",
        "bare file": write(tmp_path / "bare.safetensors", bare),
        "folder": vae_folder,
        "model folder": tmp_path / "model",
        "diffusers file": vae_folder / "diffusion_pytorch_model.safetensors",
        "old diffusers file": write(tmp_path / "old.safetensors", old_names),
    }
    sd = load_sd(micro, vae=str(paths[form]))
    assert all(torch.equal(weight, diffusers_names[name]) for name, weight in sd.vae.state_dict().items())
    assert sd.describe()["ss_vae_name"] == paths[form].name


def test_a_model_of_another_family_is_refused_with_its_script(folder):
    tensors = single_file_tensors(SD2_TINY)
    tensors["model.diffusion_model.label_emb.0.0.weight"] = torch.zeros(4, 4)
    sdxl = {key.replace("cond_stage_model.model.", "conditioner.embedders.1.model."): tensor for key, tensor in tensors.items()}
    with pytest.raises(ConfigError, match=r"SDXL.*sdxl_train_network\.py") as caught:
        load_sd(write(folder / "sdxl.safetensors", sdxl))
    assert caught.value.field == "pretrained_model_name_or_path"


def test_a_lora_is_no_model(folder):
    with pytest.raises(ConfigError, match="no whole Stable Diffusion"):
        load_sd(write(folder / "lora.safetensors", {"lora_te_x.lora_down.weight": torch.zeros(4, 4)}))


def test_a_text_encoder_is_no_vae(folder, micro):
    with pytest.raises(ConfigError, match="no VAE") as caught:
        load_sd(micro, vae=str(write(folder / "lora.safetensors", {"lora_te_x.lora_down.weight": torch.zeros(4, 4)})))
    assert caught.value.field == "vae"


def test_an_editing_model_is_refused(folder):
    tensors = single_file_tensors(SD15_MICRO)
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, 8, 3, 3)
    with pytest.raises(ConfigError, match="8 input channels"):
        load_sd(write(folder / "editing.safetensors", tensors))


def test_a_missing_weight_is_named(folder):
    tensors = single_file_tensors(SD15_MICRO)
    del tensors["model.diffusion_model.out.2.bias"]
    with pytest.raises(DataError, match=r"1 of \d+ weights are missing.*out\.2\.bias"):
        load_sd(write(folder / "hole.safetensors", tensors))


def test_nan_in_a_weight_is_named(folder):
    tensors = single_file_tensors(SD15_MICRO)
    tensors["model.diffusion_model.out.2.bias"] = torch.tensor([0.0, float("nan"), 0.0, 0.0])
    with pytest.raises(Diverged, match=r"out\.2\.bias holds NaN"):
        load_sd(write(folder / "nan.safetensors", tensors))


def test_a_weight_too_large_for_half_precision_is_named(folder):
    tensors = single_file_tensors(SD15_MICRO)
    tensors["first_stage_model.decoder.conv_out.bias"] = torch.tensor([0.0, 1e6, 0.0])
    path = write(folder / "large.safetensors", tensors)
    with pytest.raises(Diverged, match=r"conv_out\.bias does not fit into torch\.float16.*no_half_vae"):
        load_sd(path, weight_dtype=torch.float16)
    assert load_sd(path, weight_dtype=torch.float16, no_half_vae=True).vae.dtype == torch.float32


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_truncated_file_is_refused(folder, suffix, tmp_path):
    whole = build_sd15_micro(tmp_path / f"whole{suffix}").read_bytes()
    (tmp_path / f"half{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="half"):
        load_sd(tmp_path / f"half{suffix}")


def test_a_missing_file_is_refused_with_its_option(tmp_path):
    with pytest.raises(ConfigError, match="There is no file or folder") as caught:
        load_sd(tmp_path / "none.safetensors")
    assert caught.value.field == "pretrained_model_name_or_path"


def test_an_incomplete_folder_says_what_is_missing(micro_folder, tmp_path):
    shutil.copytree(micro_folder, tmp_path / "model")
    (tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert missing_files(tmp_path / "model", SD.layout) == ["vae/diffusion_pytorch_model.safetensors"]
    with pytest.raises(ConfigError, match=r"lacks vae/diffusion_pytorch_model\.safetensors"):
        load_sd(tmp_path / "model")


def test_epsilon_is_assumed_where_nothing_says_otherwise(micro):
    assert load_sd(micro).prediction == "epsilon"


def test_the_files_own_word_on_prediction_counts_and_the_users_more(folder):
    path = write(folder / "v.safetensors", single_file_tensors(SD15_MICRO), **{"modelspec.prediction_type": "v"})
    assert load_sd(path).prediction == "v"
    assert load_sd(path, v_parameterization=False).prediction == "epsilon"
    with pytest.raises(ConfigError, match="noise-prediction"):
        load_sd(path, v_pred_like_loss=0.5)


def test_a_folders_scheduler_tells_the_prediction(micro_folder, tmp_path):
    shutil.copytree(micro_folder, tmp_path / "model")
    (tmp_path / "model" / "scheduler").mkdir()
    (tmp_path / "model" / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": "v_prediction"}))
    assert load_sd(tmp_path / "model").prediction == "v"
