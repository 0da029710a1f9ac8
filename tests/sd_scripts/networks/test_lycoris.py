"""lycoris.kohya: presets against the package's own network, arguments that its kinds heed, tables told without it, files and what they keep."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lycoris.kohya
import pytest
import tiny_models
import torch
from lycoris.config import PRESET
from lycoris.logging import logger
from lycoris.modules import get_module, make_module
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.load import skeleton
from sd_scripts.library.families.ldm.targets import text_targets
from sd_scripts.library.families.sdxl import SDXL
from sd_scripts.library.weights_file import save_weights
from sd_scripts.networks.base import Adapter
from sd_scripts.networks.build import build, build_from, by_layer, merge_file
from sd_scripts.networks.norm import NormModule
from sd_scripts.params.check import check
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.lycoris_layers import heeds
from sd_scripts.params.lycoris_presets import ALGORITHMS, PRESETS, classes_of, read_preset
from sd_scripts.survey.header import Header
from sd_scripts.survey.targets import adapter_size, layer_at, pattern_problems
from tests.tiny_models import SD15, SD15_MICRO, SD21, SDXL_BASE, SDXL_TINY, Layout, single_file_shapes, wave

logger.setLevel(logging.ERROR)
ANIMA = "TimestepEmbedding"
"""A class that the package's presets name for another family; on this one its "full" then makes the time embedding's adapters twice, and stops."""


def config(*words: str, script: str = "train_network", **given: Any) -> Config:
    options = {"network_module": "lycoris.kohya", "network_dim": 4, "learning_rate": 1e-3, "network_args": words or None, **given}
    return make_config(command(script), {name: value for name, value in options.items() if value is not None})


def header(layout: Layout) -> Header:
    return Header({name: ("F16", shape) for name, shape in single_file_shapes(layout).items()}, {}, 0)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_models.load_sd(tiny_models.build_sd15_micro(tmp_path_factory.mktemp("sd") / "micro.safetensors"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_models.load_sdxl(tiny_models.build_sdxl_tiny(tmp_path_factory.mktemp("sdxl") / "tiny.safetensors"))


def every(family: Any) -> tuple[AdapterTarget, ...]:
    return (*family.targets(), *family.outer_targets())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_the_packages_say(family, name):
    theirs, ours = PRESET[name], PRESETS[name]
    known = {found for place in FAMILIES["sd"].places(header(SD15).tensors) for found in classes_of(layer_at(place))}
    assert ours.enable_conv == theirs["enable_conv"]
    for side in ("unet", "text_encoder"):
        wanted = known & set(theirs[f"{side}_target_module"]) - {"CLIPSdpaAttention"}  # the same layers as CLIPAttention
        assert set(getattr(ours, f"{side}_target_module")) == wanted
        assert list(getattr(ours, f"{side}_target_name")) == theirs[f"{side}_target_name"]
    assert dict(ours.name_algo_map) == theirs.get("name_algo_map", {})
    assert set(PRESETS) == set(PRESET) - {"ours"}


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "ia3"])
def test_a_preset_trains_what_the_packages_network_trains(family, monkeypatch, name, norms):
    preset = copy.deepcopy(PRESET[name])
    named = preset["unet_target_module"]
    preset["unet_target_module"] = ["Attention" if entry == "CrossAttention" else entry for entry in named if entry != ANIMA]  # as diffusers calls it
    monkeypatch.setitem(PRESET, "ours", preset)
    network = lycoris.kohya.create_network(1.0, 4, 1, None, family.text_encoders[0], family.unet, preset="ours", train_norm=norms)
    theirs = {module.lora_name.replace("lora_te_encoder", "lora_te_text_model_encoder") for module in network.loras}
    ours = build(config(f"preset={name}", f"train_norm={norms}"), every(family))
    assert set(ours.modules_by_name) == theirs


def test_preset_ia3_trains_keys_values_and_outputs(family, sdxl):
    """The package's own network finds none of them: it looks for these names at the beginning of a path."""
    for model in (family, sdxl):
        names = set(build(config("preset=ia3", "algo=ia3"), every(model)).modules_by_name)
        ends = ("_to_k", "_to_v", "_ff_net_2", "_k_proj", "_v_proj", "_mlp_fc2")
        assert names == {target.name for target in every(model) if target.name.endswith(ends)}
        modules = build(config("preset=ia3", "algo=ia3"), every(model)).modules_by_name
        assert {name for name, module in modules.items() if module.file_tensors()["on_input"]} == {
            name for name in names if name.endswith(("_ff_net_2", "_mlp_fc2"))
        }


@pytest.mark.parametrize("norms", [False, True])
def test_sdxl_has_the_same_layers_under_original_names(family, sdxl, norms):
    ends = {"conv_in": "input_blocks_0_0", "conv_out": "out_2", "time_embedding_linear_1": "time_embed_0", "time_embedding_linear_2": "time_embed_2"}
    names = set(build(config("preset=full", f"train_norm={norms}"), every(sdxl)).modules_by_name)
    assert {f"lora_unet_{name}" for name in ends.values()} <= names
    assert not any("label_emb" in name or name == "lora_unet_out_0" for name in names)  # the preset does not name them
    blocks = {target.name for target in sdxl.targets() if not target.is_text}
    assert blocks <= names
    inner = {target.name for target in sdxl.outer_targets() if target.kind == "norm" and not target.is_outer and not target.is_text}
    assert (inner <= names) == norms and (inner & names == set() or norms)


@pytest.mark.parametrize("layout", [SD15, SD21, SDXL_BASE], ids=["sd15", "sd21", "sdxl"])
def test_the_header_tells_of_the_same_outer_layers(layout):
    """Real size, no weights."""
    name = "sdxl" if layout is SDXL_BASE else "sd"
    shapes = single_file_shapes(layout)
    model = SDXL if name == "sdxl" else tiny_models.SD
    parts = skeleton(shapes, model.layout)
    loaded: Any = model.__new__(model)
    loaded.unet, loaded.text_encoders = parts.unet, parts.text_encoders
    places = FAMILIES[name].outer_places(header(layout).tensors)
    described = {(p.name, p.part, p.shape, p.block, p.needs_conv, p.bias, p.is_norm, p.is_outer, p.alias) for p in places}
    targets = {
        (t.name, t.part, tuple(t.module.weight.shape), t.block, t.conv, t.module.bias is not None, t.kind == "norm", t.is_outer, t.alias)
        for t in loaded.outer_targets()
    }
    assert described == targets and len(places) == len(targets) > 60
    assert not {place.name for place in places} & {place.name for place in FAMILIES[name].places(header(layout).tensors)}


SETTINGS = {
    "use_tucker": "True", "use_cp": "True", "use_scalar": "True", "dora_wd": "True", "wd_on_output": "False", "rs_lora": "True",
    "rank_dropout": "0.4", "rank_dropout_scale": "True", "factor": "2", "decompose_both": "True", "full_matrix": "True",
    "unbalanced_factorization": "True", "block_size": "1", "constraint": "0.0001", "rescaled": "True", "train_on_input": "True",
    "dropout": "0.5", "bypass_mode": "True", "module_dropout": "0.4", "loraplus_lr_ratio": "4", "loraplus_unet_lr_ratio": "4",
    "loraplus_text_encoder_lr_ratio": "4",
}  # fmt: skip
NEEDS = {"rank_dropout_scale": ("rank_dropout=0.4",), "wd_on_output": ("dora_wd=True",)}


def toys() -> list[AdapterTarget]:
    """A linear layer of attention, one of a text encoder, and a 3x3 convolution."""
    torch.manual_seed(5)
    linear, text, conv = nn.Linear(48, 32), nn.Linear(48, 32), nn.Conv2d(48, 32, 3, padding=1)
    return [
        AdapterTarget("lora_te_text_model_encoder_layers_0_mlp_fc1", "text_encoder", text, "linear", False, None),
        AdapterTarget("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "unet", linear, "linear", False, 1),
        AdapterTarget("lora_unet_down_blocks_0_resnets_0_conv1", "unet", conv, "conv3x3", True, 1),
    ]


def seen(asked: Config) -> list[Any]:
    """Outputs of a training step for moved parameters, shapes in the file, alphas, and which parameters are faster."""
    targets = toys()
    torch.manual_seed(1)
    adapter = build(asked, targets)
    moved(adapter)
    adapter.apply()
    adapter.train()
    outputs = []
    for seed in range(12):
        torch.manual_seed(seed)
        for target in targets:
            inputs = wave(0.3, (2, 48, 5, 5) if target.conv else (3, 48))
            outputs.append(target.module(inputs).detach())
    adapter.remove()
    files = [(key, tuple(tensor.shape), tensor.item() if key.endswith("alpha") else 0.0) for key, tensor in adapter.file_tensors().items()]
    fast = [id(parameter) for module in adapter.modules_by_name.values() for parameter in module.plus_parameters()]
    return [outputs, files, bool(fast) and (asked.value("loraplus_lr_ratio") or asked.value("loraplus_unet_lr_ratio")
            or asked.value("loraplus_text_encoder_lr_ratio"))]  # fmt: skip


def moved(adapter: Adapter) -> Adapter:
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters()):
            parameter.add_(0.3 * wave(0.7 + number, tuple(parameter.shape)))
    return adapter


def differ(one: list[Any], other: list[Any]) -> bool:
    return one[1:] != other[1:] or any(not torch.allclose(left, right, rtol=1e-4, atol=1e-6) for left, right in zip(one[0], other[0], strict=True))


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_what_a_kind_heeds_changes_it_and_nothing_else_does(algo, bypass):
    start = (f"algo={algo}", "bypass_mode=True") if bypass and heeds(algo, "bypass_mode", bypass=True) else (f"algo={algo}",)
    told = {}
    for name, value in SETTINGS.items():
        before = (*start, *NEEDS.get(name, ()))
        if name == "bypass_mode":
            continue
        told[name] = differ(seen(config(*before, network_dim=2)), seen(config(*before, f"{name}={value}", network_dim=2)))
    assert told == {name: True if (known := heeds(algo, name, bypass=len(start) == 2)) is None else known for name in told}


def test_an_argument_that_a_kind_does_not_heed_is_told():
    ignored = [problem for problem in check(config("algo=boft", "dora_wd=True", "rank_dropout=0.1")) if "ignores it" in problem.message]
    assert {(problem.field, problem.severity) for problem in ignored} == {("dora_wd", "warning"), ("rank_dropout", "warning")}
    assert not any("ignores" in problem.message for problem in check(config("algo=loha", "dora_wd=True", "rank_dropout=0.1")))
    (told,) = [problem for problem in check(config("algo=glora", "rank_dropout=0.1")) if "ignores" in problem.message]
    assert "without bypass_mode" in told.message


SIZED = [
    *[(f"algo={algo}",) for algo in ALGORITHMS if algo != "boft"],
    ("algo=boft", "preset=attn-only"),
    ("algo=locon", "use_tucker=True", "dora_wd=True", "use_scalar=True", "train_norm=True"),
    ("algo=loha", "use_tucker=True", "dora_wd=True", "wd_on_output=False", "conv_dim=2"),
    ("algo=lokr", "factor=4", "decompose_both=True", "conv_dim=1"),
    ("algo=lokr", "unbalanced_factorization=True", "use_tucker=True", "conv_dim=1"),
    ("algo=lokr", "full_matrix=True", "dora_wd=True"),
    ("algo=ia3", "train_on_input=True"),
    ("algo=ia3", "preset=ia3"),
    ("algo=glora", "use_scalar=True"),
    ("algo=diag-oft", "rescaled=True"),
    ("algo=full", "train_norm=True"),
]


@pytest.mark.parametrize("layout", [SD15_MICRO, SDXL_TINY], ids=["sd", "sdxl"])
@pytest.mark.parametrize("words", SIZED, ids=" ".join)
def test_the_table_told_without_the_package_has_what_is_then_trained(family, sdxl, layout, words):
    script, model = ("train_network", family) if layout is SD15_MICRO else ("sdxl_train_network", sdxl)
    asked = config(*words, script=script, network_dim=8 if "algo=boft" in words else 2)
    size = adapter_size(asked, header(layout))
    assert size is not None
    built = build(asked, every(model)).modules_by_name
    assert size.unet_modules + size.text_encoder_modules == len(built)
    assert size.parameters == sum(parameter.numel() for module in built.values() for parameter in module.trained_parameters())
    assert sum(row.layers for row in size.rows) == len(built) and sum(row.parameters for row in size.rows) == size.parameters


def test_boft_at_a_rank_that_cannot_split_is_refused_before_anything_loads():
    (problem,) = pattern_problems(config("algo=boft", network_dim=8), header(SD15))
    assert problem.severity == "error" and "cannot split the 320 outputs" not in problem.fix
    least = int(problem.fix.split()[4])
    assert not list(pattern_problems(config("algo=boft", network_dim=least), header(SD15)))


def preset_file(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["unet_target_modul = []"], "presets have no 'unet_target_modul'. Did you mean unet_target_module"),
        (["enable_conv = 1"], "enable_conv is 1. It takes true or false"),
        (['unet_target_name = "conv_in"'], "unet_target_name is 'conv_in'. It takes a list of names"),
        (["[name_algo_map.to_q]", "dimm = 3"], "name_algo_map.to_q has 'dimm', which is no setting of an adapter. Did you mean dim"),
        (["[module_algo_map.Attention]", 'algo = "lohaa"'], "module_algo_map.Attention has algo 'lohaa'. There are: lora, locon"),
        (["[name_algo_map.to_q]", 'dim = "3"'], "name_algo_map.to_q has dim = '3'. It takes a whole number"),
        (['unet_target_name = ["(["]'], "which is no pattern"),
        (["target_module = []"], "presets have no 'target_module'"),
        (["enable_conv ="], "is no preset and cannot be read as one"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_presets_file_is_named(tmp_path, lines, words):
    path = preset_file(tmp_path / "mine.toml", *lines)
    (problem,) = [problem for problem in check(config(f"preset={path}")) if problem.field == "preset"]
    assert problem.severity == "error" and words in f"{problem.message} {problem.fix}"


def test_names_in_a_presets_file_that_no_layer_has_are_told(tmp_path):
    path = preset_file(tmp_path / "mine.toml", 'unet_target_name = ["conv_in", "conv_inn"]', 'text_encoder_target_module = ["GemmaMLP"]')
    (problem,) = pattern_problems(config(f"preset={path}"), header(SD15))
    assert problem.severity == "warning" and "(2): unet_target_name: conv_inn, text_encoder_target_module: GemmaMLP." in problem.message
    for name in PRESETS:
        assert not list(pattern_problems(config(f"preset={name}"), header(SD15)))


def test_a_presets_file_is_full_where_it_is_silent_and_gives_layers_their_own(tmp_path, family):
    lines = [
        "enable_conv = false", "use_fnmatch = true", 'exclude_name = ["*attn2*"]', "[module_algo_map.FeedForward]", 'algo = "loha"', "dim = 2",
        "[module_algo_map.Transformer2DModel]", 'algo = "lokr"', "factor = 2", "[name_algo_map.'*_to_v']", 'algo = "ia3"',
        "[name_algo_map.conv_out]", "dim = 1",
    ]  # fmt: skip
    modules = build(config(f"preset={preset_file(tmp_path / 'mine.toml', *lines)}"), every(family)).modules_by_name
    kinds = {name: getattr(getattr(module, "inner", None), "name", "") for name, module in modules.items()}
    assert not any("attn2" in name for name in modules)
    assert {kind for name, kind in kinds.items() if "_ff_net_" in name} == {"loha"}
    assert {kind for name, kind in kinds.items() if name.endswith("attn1_to_v")} == {"ia3"}
    assert {kind for name, kind in kinds.items() if "attn1_to_q" in name or "_proj_in" in name} == {"kron"}
    assert {kind for name, kind in kinds.items() if "_te_" in name or "time_embedding" in name} == {"locon"}
    assert modules["lora_unet_conv_out"].rank == 1 and "lora_unet_conv_in" not in modules
    assert {module.rank for name, module in modules.items() if "_ff_net_" in name} == {2}


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.LayerNorm(8)], ids=["group", "layer"])
def test_a_norms_change_is_that_of_its_weight_and_bias_and_the_packages(norm):
    target = AdapterTarget("lora_unet_down_blocks_0_resnets_0_norm1", "unet", norm.requires_grad_(False), "norm", True, 1)
    inputs = wave(0.3, (2, 8, 8))
    module, plain = NormModule(target, 1, 1.0), norm(inputs)
    module.attach()
    assert torch.equal(norm(inputs), plain)
    moved(Adapter([module]))
    given = norm(inputs)
    gradients = torch.autograd.grad(given.square().sum(), list(module.parameters()))
    module.detach()
    leaves = [(norm.weight + module.w_norm).detach().requires_grad_(), (norm.bias + module.b_norm).detach().requires_grad_()]
    other = copy.deepcopy(norm)
    expected = torch.func.functional_call(other, {"weight": leaves[0], "bias": leaves[1]}, (inputs,))
    torch.testing.assert_close(given, expected)
    for one, two in zip(gradients, torch.autograd.grad(expected.square().sum(), leaves), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    file = {f"{target.name}.{key}": tensor.detach().clone() for key, tensor in module.file_tensors().items()}
    theirs = make_module(*get_module(file, target.name), target.name, norm)
    theirs.apply_to()
    torch.testing.assert_close(norm(inputs), expected.detach(), rtol=1e-4, atol=1e-5)
    theirs.restore()
    merge_file([target], file, 1.0)
    torch.testing.assert_close(norm(inputs), expected.detach(), rtol=1e-4, atol=1e-5)


FROM_FILE = [(f"algo={algo}",) for algo in ALGORITHMS] + [
    ("algo=locon", "use_tucker=True", "dora_wd=True", "conv_dim=3"),
    ("algo=locon", "rs_lora=True", "use_scalar=True", "dora_wd=True", "wd_on_output=False"), ("algo=loha", "use_tucker=True", "rs_lora=True"),
    ("algo=lokr", "factor=4", "decompose_both=True"), ("algo=lokr", "full_matrix=True", "rs_lora=True"),
    ("algo=lokr", "unbalanced_factorization=True", "factor=3"), ("algo=glora", "rs_lora=True"), ("algo=diag-oft", "rescaled=True", "constraint=0.01"),
    ("algo=boft", "constraint=0.01"), ("algo=ia3", "train_on_input=True"), ("algo=dylora", "block_size=2"),
]  # fmt: skip


def answers(targets: Sequence[AdapterTarget]) -> list[Tensor]:
    with torch.no_grad():
        return [target.module(wave(0.3, (2, 48, 5, 5) if target.conv else (3, 48))) for target in targets]


@pytest.mark.parametrize("words", FROM_FILE, ids=" ".join)
def test_ranks_come_from_a_file_and_its_effect_stays(words):
    first, second = toys(), toys()
    source = moved(build(config(*words, network_dim=4, network_alpha=2), first))
    source.apply()
    source.eval()
    file = {key: tensor.detach().clone() for key, tensor in source.file_tensors().items()}
    algo = (words[0],)
    adapter = build_from(config(*algo, network_dim=1, network_alpha=1, dim_from_weights=True, network_weights="a"), second, file)
    report = adapter.load(file)
    assert report == type(report)((), ())
    adapter.apply()
    adapter.eval()
    for one, other in zip(answers(first), answers(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    again = adapter.file_tensors()
    assert again.keys() == file.keys()
    for key, tensor in file.items():
        torch.testing.assert_close(again[key].detach(), tensor, rtol=1e-4, atol=1e-5)


def test_a_file_of_another_kind_gives_no_ranks():
    file = {key: tensor.detach() for key, tensor in build(config("algo=loha"), toys()).file_tensors().items()}
    with pytest.raises(ConfigError, match=r"is no lokr: alpha, hada_w1_a.*Set algo to the kind of that file"):
        build_from(config("algo=lokr", dim_from_weights=True, network_weights="a"), toys(), file)


@pytest.mark.parametrize("algo", ["locon", "loha", "lokr", "glora"])
@pytest.mark.parametrize("dora", [False, True])
def test_a_file_with_another_alpha_keeps_its_effect(algo, dora):
    words = (f"algo={algo}", "dora_wd=True") if dora and algo != "glora" else (f"algo={algo}",)
    first, second = toys(), toys()
    source = moved(build(config(*words, network_dim=2, network_alpha=3), first))
    adapter = build(config(*words, network_dim=2, network_alpha=1), second)
    report = adapter.load({key: tensor.detach().clone() for key, tensor in source.file_tensors().items()})
    assert report.rescaled
    source.apply(), adapter.apply()
    source.eval(), adapter.eval()
    for one, other in zip(answers(first), answers(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert {float(tensor) for key, tensor in adapter.file_tensors().items() if key.endswith("alpha")} == {1.0}


@pytest.mark.parametrize("algo", ["locon", "loha", "lokr", "glora", "ia3", "full", "dylora"])
def test_norms_of_changes_are_limited(algo):
    adapter = moved(build(config(f"algo={algo}"), toys()))
    before = {name: module.change().norm().item() for name, module in adapter.modules_by_name.items()}
    for name, module in adapter.modules_by_name.items():
        assert module.norm().item() == pytest.approx(before[name], rel=1e-3)
    limit = min(before.values()) / 2
    scaled, mean, largest = adapter.scale_norms(limit)
    assert scaled == len(before) and mean == pytest.approx(limit) == pytest.approx(largest)
    assert all(module.change().norm().item() == pytest.approx(limit, rel=1e-3) for module in adapter.modules_by_name.values())


@pytest.mark.parametrize("algo", ["diag-oft", "boft"])
def test_what_turns_weights_has_no_norm_to_limit(algo):
    (problem,) = [problem for problem in check(config(f"algo={algo}", scale_weight_norms=1)) if problem.field == "scale_weight_norms"]
    assert problem.severity == "error"


@pytest.mark.parametrize("words", [("algo=glora", "rs_lora=True"), ("algo=lokr", "rs_lora=True", "full_matrix=True"), ("algo=loha", "rs_lora=True")])
def test_a_rank_stabilised_file_has_the_strength_it_was_trained_with_for_other_programs(words):
    targets = toys()
    adapter = moved(build(config(*words), targets))
    file = {key: tensor.detach().clone() for key, tensor in adapter.file_tensors().items()}
    adapter.apply()
    adapter.eval()
    ours = answers(targets)
    adapter.remove()
    with torch.no_grad():
        for target in targets:
            theirs = make_module(*get_module(file, target.name), target.name, target.module)
            theirs.apply_to()
    for one, other in zip(ours, answers(targets), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_more_or_turned_around_in_a_file_is_refused():
    file = {key: tensor.detach() for key, tensor in build(config("algo=locon", "dora_wd=True"), toys()).file_tensors().items()}
    with pytest.raises(ValueError, match="dora_scale has no place in this adapter"):
        build(config("algo=locon"), toys()).load(file)
    square = nn.Linear(6, 6)
    target = AdapterTarget("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "unet", square, "linear", False, 1)
    file = build(config("algo=ia3", "train_on_input=True"), [target]).file_tensors()
    with pytest.raises(ValueError, match="on_input is another than train_on_input says"):
        build(config("algo=ia3"), [target]).load(file)


def test_the_seed_of_the_run_is_that_of_the_start():
    starts = [build(config("algo=dylora", seed=seed), toys()).file_tensors() for seed in (1, 1, 2)]
    down = [next(tensor for key, tensor in start.items() if "lora_down" in key) for start in starts]
    assert torch.equal(down[0], down[1]) and not torch.equal(down[0], down[2])


def test_files_are_as_large_as_told(tmp_path, family):
    for words in (("algo=full",), ("algo=lokr", "factor=4"), ("algo=locon",)):
        asked = config(*words)
        size = adapter_size(asked, header(SD15_MICRO))
        tensors = {key: tensor.detach().contiguous() for key, tensor in build(asked, every(family)).file_tensors().items()}
        path = save_weights(tmp_path / f"{words[0]}.safetensors", tensors, {"x": "y" * 6000}).path
        assert size is not None
        assert math.isclose(size.file_bytes, path.stat().st_size, rel_tol=0.1)


def test_a_preset_is_read_anew_after_it_was_mended(tmp_path):
    path = preset_file(tmp_path / "mine.toml", "enable_conv = false")
    assert not read_preset(path).enable_conv
    preset_file(tmp_path / "mine.toml", "enable_conv = true")
    assert read_preset(path).enable_conv
    assert by_layer({"a.b.c": torch.ones(1)}).keys() == {"a"}
    assert text_targets is not None
