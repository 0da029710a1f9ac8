"""Every kind of adapter from the command line to the file: it learns, is saved by its keys, goes on exactly, and other programs read it."""

from __future__ import annotations

import pytest
import tiny_models
import tiny_runs
import torch
from diffusers import StableDiffusionPipeline
from lycoris.modules import get_module, make_module
from safetensors.torch import save_file
from tiny_runs import report_to, train
from torch import Tensor

from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.library.weights_file import read_weights
from sd_scripts.networks.build import by_layer, merge_file, shape_in_file
from sd_scripts.networks.lycoris import module_class, probed
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

KINDS = {
    "lora_fa": ("networks.lora_fa", (), {"lora_down.weight", "lora_up.weight", "alpha"}),
    "dylora": ("networks.dylora", ("unit=2", "conv_dim=2"), {"lora_down.weight", "lora_up.weight", "alpha"}),
    "loha": ("networks.loha", ("conv_dim=2", "use_tucker=True"), {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "alpha"}),
    "lokr": ("networks.lokr", ("factor=4",), {"lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_w2", "alpha"}),
    "oft": ("networks.oft", ("enable_all_linear=True",), {"oft_blocks", "alpha"}),
    "dora": ("networks.lora", ("dora_wd=True",), {"lora_down.weight", "lora_up.weight", "alpha", "dora_scale"}),
    "rslora": ("networks.lora", ("rs_lora=True",), {"lora_down.weight", "lora_up.weight", "alpha"}),
    "pissa": ("networks.lora", ("pissa=True",), {"lora_down.weight", "lora_up.weight", "alpha"}),
    "tlora": ("networks.lora", ("tlora_min_rank=1",), {"lora_down.weight", "lora_up.weight", "alpha"}),
    **{
        f"lycoris {algo}": ("lycoris.kohya", (f"algo={algo}", *more), ends)
        for algo, more, ends in (
            ("locon", ("preset=attn-mlp",), {"lora_up.weight", "lora_down.weight", "alpha"}),
            ("lora", ("preset=full", "train_norm=True", "conv_dim=1"), {"lora_up.weight", "lora_down.weight", "alpha", "w_norm", "b_norm"}),
            ("loha", ("preset=attn-only",), {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"}),
            ("lokr", ("preset=attn-only", "factor=4"), {"lokr_w1", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "alpha"}),
            ("ia3", ("preset=ia3",), {"weight", "on_input"}),
            ("dylora", ("preset=attn-only", "block_size=2"), {"lora_up.weight", "lora_down.weight", "alpha"}),
            ("glora", ("preset=attn-only",), {"a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha"}),
            ("full", ("preset=attn-only",), {"diff", "diff_b"}),
            ("diag-oft", ("preset=attn-only",), {"oft_blocks", "alpha"}),
            ("boft", ("preset=attn-only",), {"oft_blocks", "alpha"}),
        )
    },
}


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def saved(root, name: str) -> dict[str, Tensor]:
    return read_weights(root / "out" / f"{name}.safetensors")[0]


def options(kind: str) -> dict[str, object]:
    module, words, _ = KINDS[kind]
    alpha = 1e-1 if module == "networks.oft" else 1
    return {"network_module": module, "network_args": words or None, "network_dim": 2, "network_alpha": alpha, "learning_rate": 1e-2}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_learns_is_saved_and_goes_on_exactly(tmp_path, run_dir, kind):
    given = {**options(kind), "max_train_steps": 3, "network_train_unet_only": kind != "lora_fa" and "oft" not in kind}
    assert train(tmp_path, output_name="whole", **given) == 0
    assert train(tmp_path, output_name="half", save_every_n_steps=2, save_state=True, **given) == 0
    assert train(tmp_path, output_name="rest", resume=tmp_path / "out" / "half-step00000002-state", **given) == 0
    whole, rest = saved(tmp_path, "whole"), saved(tmp_path, "rest")
    assert whole.keys() == rest.keys() and all(torch.equal(whole[key], rest[key]) for key in whole)
    assert {key.partition(".")[2] for key in whole} <= KINDS[kind][2]
    early = saved(tmp_path, "half-step00000002")
    assert any(not torch.equal(early[key], whole[key]) for key in whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_learns_on_sdxl_and_goes_on_from_its_file(tmp_path, run_dir, kind):
    given = {**options(kind), "train_batch_size": 1, "network_train_unet_only": kind != "lora_fa" and "oft" not in kind}
    assert train(tmp_path, "sdxl_train_network", output_name="first", max_train_steps=2, **given) == 0
    first = saved(tmp_path, "first")
    parts = {key.split("_")[1] for key in first}
    assert parts == ({"unet"} if given["network_train_unet_only"] or kind == "oft" else {"unet", "te1", "te2"})
    assert {key.partition(".")[2] for key in first} <= KINDS[kind][2]
    path = tmp_path / "out" / "first.safetensors"
    assert train(tmp_path, "sdxl_train_network", output_name="next", network_weights=path, max_train_steps=1, **given) == 0
    following = saved(tmp_path, "next")
    assert following.keys() == first.keys()
    assert any(not torch.equal(first[key], following[key]) for key in first)
    assert all(tensor.isfinite().all() for tensor in following.values())


@pytest.mark.parametrize("kind", KINDS)
def test_merged_first_it_changes_the_model_as_trained(tmp_path, run_dir, kind):
    """The file through `base_weights` against the adapter itself: the same prediction."""
    given = {**options(kind), "max_train_steps": 3, "network_train_unet_only": True}
    assert train(tmp_path, output_name="first", **given) == 0
    path = str(tmp_path / "out" / "first.safetensors")
    model = str(tiny_runs.micro_model(tmp_path))
    start = {"pretrained_model_name_or_path": model, "learning_rate": 1e-3, "seed": 1, "network_train_unet_only": True}
    own = {key: value for key, value in options(kind).items() if value is not None and key != "learning_rate"}
    weights = []
    for asked in ({"network_module": "networks.lora", "base_weights": (path,)}, {**own, "network_weights": path}):
        config = make_config(command("train_network"), {**start, **asked})
        family = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
        method = Adapter(config, family)
        method.prepare()
        if "network_weights" in asked:
            method.adapter.merge()
        weights.append({name: value.clone() for name, value in family.unet.state_dict().items()})
    plain = tiny_models.load_sd(tiny_runs.micro_model(tmp_path)).unet.state_dict()
    moved = 0
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=1e-4)
        moved += not torch.equal(value, plain[name])
    assert moved >= 8


def test_patterns_choose_layers_ranks_and_rates(tmp_path, run_dir):
    words = ("include_patterns=*attn2*,_ff_net_2$", "exclude_patterns=.*", "network_reg_dims=*attn2*=3", "network_reg_lrs=_ff_=1e-5")
    assert train(tmp_path, output_name="some", network_args=words, network_train_unet_only=True, max_train_steps=1) == 0
    tensors = saved(tmp_path, "some")
    names = {key.partition(".")[0] for key in tensors}
    assert names and all("attn2" in name or name.endswith("_ff_net_2") for name in names)
    ranks = {("attn2" in key, tensor.shape[0]) for key, tensor in tensors.items() if key.endswith("lora_down.weight")}
    assert ranks == {(True, 3), (False, 4)}
    (step,) = tiny_runs.events(run_dir, "step")
    assert step["lr"]["reg_lr_0"] == pytest.approx(1e-5) and step["lr"]["unet"] == pytest.approx(1e-3)


def test_text_layers_with_a_rate_of_their_own_stop_with_their_encoder(tmp_path, run_dir):
    words = ("network_reg_lrs=*=1e-3", "loraplus_unet_lr_ratio=16")
    given = {"network_args": words, "save_every_n_steps": 1, "stop_text_encoder_training": 1, "max_train_steps": 3}
    assert train(tmp_path, output_name="stop", **given) == 0
    first, last = saved(tmp_path, "stop-step00000001"), saved(tmp_path, "stop")
    changed = {key.startswith("lora_te") for key in last if not torch.equal(first[key], last[key])}
    assert changed == {False}
    steps = tiny_runs.events(run_dir, "step")
    assert steps[0]["lr"] == {"textencoder reg_lr_0": pytest.approx(1e-3), "reg_lr_0": pytest.approx(1e-3), "reg_lr_0 plus": pytest.approx(1.6e-2)}


def test_a_file_that_holds_more_than_the_adapter_is_refused_and_one_that_holds_less_goes_on(tmp_path, run_dir, capsys):
    start = {"network_train_unet_only": True, "max_train_steps": 1}
    assert train(tmp_path, output_name="dora", network_args=("dora_wd=True",), **start) == 0
    assert train(tmp_path, output_name="no", network_weights=tmp_path / "out" / "dora.safetensors", **start) == 2
    assert "dora_scale has no place in this adapter: switch dora_wd on" in capsys.readouterr().err
    assert train(tmp_path, output_name="lora", **{**start, "max_train_steps": 3}) == 0
    plain = tmp_path / "out" / "lora.safetensors"
    assert train(tmp_path, output_name="more", network_weights=plain, network_args=("dora_wd=True",), **{**start, "learning_rate": 1e-9}) == 0
    weights = []
    for path in (plain, tmp_path / "out" / "more.safetensors"):
        family = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
        merge_file(family.targets(), read_weights(path)[0], 1.0)
        weights.append(family.unet.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=1e-5)


def test_a_tucker_lora_is_merged_by_lycoris(tmp_path):
    family = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    target = next(target for target in family.targets() if target.kind == "conv3x3")
    inner = module_class("locon")(target.name, target.module, 1.0, 2, 1.0, use_tucker=True)
    with torch.no_grad():
        inner.lora_up.weight.normal_(0, 0.3)
    file = {f"{target.name}.{key}": tensor.detach().clone() for key, tensor in inner.state_dict().items()}
    assert f"{target.name}.lora_mid.weight" in file
    inner.org_forward = target.module.forward
    expected = probed(inner, target.module)
    merge_file([target], file, 1.0)
    torch.testing.assert_close(target.module.weight, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("algo", ["locon", "loha", "lokr"])
def test_dora_by_inputs_is_merged_as_lycoris_trains_it(tmp_path, algo):
    family = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    target = next(target for target in family.targets() if target.name.endswith("_ff_net_0_proj"))
    torch.manual_seed(3)
    inner = module_class(algo)(target.name, target.module, 1.0, 2, 1.0, weight_decompose=True, wd_on_out=False)
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    file = {f"{target.name}.{key}": tensor.detach().clone() for key, tensor in inner.state_dict().items()}
    assert file[f"{target.name}.dora_scale"].shape == (1, target.module.weight.shape[1])
    inner.org_forward = target.module.forward
    expected, plain = probed(inner, target.module), target.module.weight.clone()
    merge_file([target], file, 1.0)
    torch.testing.assert_close(target.module.weight, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(expected, plain, atol=1e-2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"network_args": ("exclude_patterns=*attn9*",)}, "*attn9* fits no layer"),
        ({"network_args": ("ranks=3",)}, "networks.lora has no argument 'ranks'"),
        ({"network_args": ("unit=2",)}, "networks.lora has no such argument"),
        ({"network_args": ("conv_dim=many",)}, "conv_dim"),
        ({"network_module": "networks.loha", "network_args": ("use_tucker=perhaps",)}, "use_tucker"),
        ({"network_module": "networks.dylora", "network_args": ("unit=3",)}, "The rank 4 is no multiple of 3"),
        ({"network_module": "networks.oft", "network_dim": 7, "network_alpha": 1e-3}, "cannot be split into 7 blocks"),
        ({"network_args": ("include_patterns=([",)}, "is no pattern"),
        ({"network_args": ("network_reg_dims=attn",)}, "not of the form pattern=number"),
        ({"network_args": ("dora_wd=True",), "scale_weight_norms": 1}, "It has no meaning with dora_wd"),
        (
            {"network_module": "lycoris.kohya", "network_args": ("preset=nowhere.toml",)},
            "nowhere.toml is no preset of the package, and there is no such file",
        ),
        ({"network_module": "lycoris.kohya", "network_args": ("preset=fulll",)}, "Did you mean full?"),
        ({"network_module": "lycoris.kohya", "network_args": ("algo=tlora",)}, "Use network_module networks.lora with tlora_min_rank=1"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, run_dir, capsys, given, words):
    assert train(tmp_path, max_train_steps=1, **given) == (0 if "fits no layer" in words else 2)
    told = capsys.readouterr()
    assert words in told.err + told.out


def test_a_preset_file_chooses_layers_and_their_settings(tmp_path, run_dir):
    preset = tmp_path / "mine.toml"
    lines = ["enable_conv = false", 'unet_target_module = ["CrossAttention"]', "text_encoder_target_module = []", "[name_algo_map.to_q]", "dim = 3"]
    preset.write_text("\n".join(lines), encoding="utf-8")
    given = {"network_module": "lycoris.kohya", "network_args": (f"preset={preset}",), "max_train_steps": 1}
    assert train(tmp_path, output_name="mine", **given) == 0
    ranks = {(key.partition(".")[0].endswith("_to_q"), tensor.shape[0]) for key, tensor in saved(tmp_path, "mine").items() if "lora_down" in key}
    assert ranks == {(True, 3), (False, 4)}


@pytest.mark.parametrize("style", ["diffusers", "peft"])
def test_training_goes_on_from_another_programs_file(tmp_path, run_dir, style):
    assert train(tmp_path, output_name="first", network_train_unet_only=True, max_train_steps=3) == 0
    first = saved(tmp_path, "first")
    family = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    paths = {id(module): path for path, module in family.unet.named_modules()}
    root = "unet." if style == "diffusers" else "base_model.model."
    ends = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    theirs = {}
    for target in family.targets():
        for end, name in ends.items():
            if f"{target.name}.{end}" in first:
                factor = 0.25 if end == "lora_up.weight" else 1.0  # these programs divide by no alpha of ours
                theirs[f"{root}{paths[id(target.module)]}.{name}"] = factor * first[f"{target.name}.{end}"]
    save_file(theirs, tmp_path / "theirs.safetensors")
    given = {"network_weights": tmp_path / "theirs.safetensors", "network_train_unet_only": True, "learning_rate": 1e-9, "max_train_steps": 1}
    assert train(tmp_path, output_name="next", **given) == 0
    for key, tensor in saved(tmp_path, "next").items():
        torch.testing.assert_close(tensor, first[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["rslora", "pissa", "lora_fa", "dylora"])
def test_diffusers_draws_with_the_file_as_we_do(tmp_path, run_dir, kind):
    """The U-Net with the file loaded by diffusers against ours with the file merged, on the same input."""
    given = {**options(kind), "network_args": tuple(word for word in KINDS[kind][1] if not word.startswith(("conv", "use_tucker"))) or None}
    assert train(tmp_path, output_name="cat", network_train_unet_only=True, max_train_steps=3, **given) == 0
    folder = tmp_path / "folder"
    tiny_models.load_sd(tiny_runs.micro_model(tmp_path)).write_folder(folder, None, ending=".safetensors")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.load_lora_weights(tmp_path / "out" / "cat.safetensors")
    asked = {"pretrained_model_name_or_path": str(tiny_runs.micro_model(tmp_path)), "network_module": "networks.lora", "learning_rate": 1e-3}
    ours = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    method = Adapter(make_config(command("train_network"), {**asked, "base_weights": (str(tmp_path / "out" / "cat.safetensors"),)}), ours)
    method._merge_base_weights(ours.targets())
    latents, hidden = tiny_models.wave(0.05, (1, 4, 8, 8)), tiny_models.wave(0.03, (1, 77, ours.unet.config["cross_attention_dim"]))
    plain = tiny_models.load_sd(tiny_runs.micro_model(tmp_path)).unet
    with torch.no_grad():
        drawn = [unet(latents, torch.tensor([500]), hidden).sample for unet in (pipeline.unet, ours.unet, plain)]
    torch.testing.assert_close(drawn[0], drawn[1], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(drawn[1], drawn[2], atol=1e-4)


@pytest.mark.parametrize("kind", ["dora", "loha", "lokr"])
def test_lycoris_reads_the_file_as_we_do(tmp_path, run_dir, kind):
    """Each layer's output with the package's module for our file against ours. diffusers has no reader for these."""
    given = {**options(kind), "network_args": tuple(word for word in KINDS[kind][1] if not word.startswith("use_tucker"))}
    assert train(tmp_path, output_name="cat", network_train_unet_only=True, max_train_steps=3, **given) == 0
    tensors = saved(tmp_path, "cat")
    parts, family = by_layer(tensors), tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    compared = 0
    for target in family.targets():
        found = parts.get(target.name)
        if not found:
            continue
        shape = shape_in_file(target, found)
        assert shape is not None
        module = shape.make(target, shape.rank, shape.alpha).eval()
        module.load_file(found)
        kind_of_file, parameters = get_module(tensors, target.name)
        theirs = make_module(kind_of_file, parameters, target.name, target.module)
        torch.testing.assert_close(probed(theirs, target.module), target.module.weight + module.change(), rtol=1e-4, atol=1e-5)  # type: ignore[operator]
        compared += 1
    assert compared > 8
