"""Textual inversion from the command line to the file: what learns, what is saved, who reads it, and what is refused."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import tiny_models
import tiny_runs
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_runs import events, report_to, train
from torch import Tensor

from sd_scripts.library.families.clip import word_ids
from sd_scripts.library.methods.words import WordVectors
from sd_scripts.library.weights_file import read_weights

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("script", ["train_textual_inversion", "sdxl_train_textual_inversion"])
WORD = {"token_string": "sks-Cat", "init_word": "cat", "num_vectors_per_token": 3, "save_model_as": "safetensors", "caption_prefix": "sks-cat,"}
WIDTHS = {"train_textual_inversion": {"emb_params": 32}, "sdxl_train_textual_inversion": {"clip_l": 32, "clip_g": 48}}


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def saved(root: Path, name: str = "cat.safetensors") -> dict[str, Tensor]:
    return read_weights(root / "out" / name)[0]


def run(root: Path, script: str = "train_textual_inversion", **given: object) -> int:
    return train(root, script, **{**WORD, "learning_rate": 1e-2, **given})


def webui(tensors: Mapping[str, Tensor]) -> list[tuple[int, ...]]:
    """Shapes as A1111 reads an embedding file: both keys of SDXL, else the one tensor that there is."""
    if {"clip_l", "clip_g"} <= tensors.keys():
        return [tuple(tensors[key].shape) for key in ("clip_g", "clip_l")]
    (vectors,) = tensors.values()
    return [tuple((vectors if vectors.ndim > 1 else vectors.unsqueeze(0)).shape)]


@BOTH
def test_the_vectors_learn_and_are_saved_by_kohyas_keys(tmp_path, run_dir, script):
    assert run(tmp_path, script) == 0
    family = (
        tiny_models.load_sdxl(tiny_runs.sdxl_model(tmp_path)) if script.startswith("sdxl") else tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    )
    (cat,) = word_ids("cat")
    tensors = saved(tmp_path)
    assert sorted(tensors) == sorted(WIDTHS[script])
    for encoder, vectors in zip(family.text_encoders, (tensors[key] for key in WIDTHS[script]), strict=True):
        table = encoder.get_input_embeddings().weight  # type: ignore[operator]
        assert vectors.shape == (3, table.shape[1])
        moved = (vectors - table[cat]).abs().amax(dim=1)
        assert (moved > 1e-3).all() and (moved < 0.1).all(), "each vector starts as the word and is moved by three steps"
    assert len(webui(tensors)) == len(tensors)
    (event,) = events(run_dir, "save")
    assert event["final"] and event["tensors"] == len(tensors)
    with safe_open(tmp_path / "out" / "cat.safetensors", "pt") as file:
        assert file.metadata()["modelspec.architecture"].endswith("/textual-inversion")
    assert "learns the word sks-cat" in str(events(run_dir, "plan"))


def test_only_the_word_is_changed():
    table = torch.nn.Embedding(5, 4)
    layer = WordVectors(table.requires_grad_(False), torch.arange(8.0).view(2, 4))
    given = layer(torch.tensor([[0, 6], [5, 4]]))
    assert torch.equal(given, torch.stack([torch.stack([table.weight[0], layer.vectors[1]]), torch.stack([layer.vectors[0], table.weight[4]])]))
    given[0].sum().backward()
    assert torch.equal(layer.vectors.grad, torch.tensor([[0.0] * 4, [1.0] * 4])) and table.weight.grad is None  # type: ignore[arg-type]


def test_the_word_is_found_where_it_stands_alone():
    defined = {"sks-cat": (49408, 49409)}
    assert word_ids("a (SKS-cat), sks-cats", defined) == [*word_ids("a ("), 49408, 49409, *word_ids("), sks-cats")]


@pytest.mark.parametrize("ending", ["pt", "ckpt", "safetensors"])
def test_training_goes_on_from_a_file(tmp_path, run_dir, ending):
    assert run(tmp_path, save_model_as=ending, max_train_steps=1) == 0
    first = saved(tmp_path, f"cat.{ending}")["emb_params"]
    assert run(tmp_path, weights=tmp_path / "out" / f"cat.{ending}", output_name="next", max_train_steps=1, learning_rate=1e-6, init_word=None) == 0
    assert torch.allclose(saved(tmp_path, "next.safetensors")["emb_params"], first, atol=1e-5)


def test_training_of_both_encoders_goes_on_from_a_file(tmp_path, run_dir):
    script = "sdxl_train_textual_inversion"
    assert run(tmp_path, script, max_train_steps=1) == 0
    first, file = saved(tmp_path), tmp_path / "out" / "cat.safetensors"
    assert run(tmp_path, script, weights=file, output_name="next", max_train_steps=1, learning_rate=1e-6, init_word=None) == 0
    following = saved(tmp_path, "next.safetensors")
    assert following.keys() == first.keys() and all(torch.allclose(following[key], first[key], atol=1e-5) for key in first)


@pytest.mark.parametrize("layout", ["web UI", "diffusers"])
def test_other_programs_files_are_read(tmp_path, run_dir, layout):
    vectors = torch.linspace(-1, 1, 3 * 32).view(3, 32)
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "x", "step": 3} if layout == "web UI" else {"<x>": vectors}
    torch.save(content, tmp_path / "old.pt")
    assert run(tmp_path, weights=tmp_path / "old.pt", max_train_steps=1, learning_rate=1e-6, init_word=None) == 0
    assert torch.allclose(saved(tmp_path)["emb_params"], vectors, atol=1e-5)


@BOTH
def test_stop_and_resume_equals_no_stop(tmp_path, run_dir, script):
    assert run(tmp_path, script, output_name="whole", max_train_steps=4) == 0
    assert run(tmp_path, script, output_name="half", max_train_steps=4, save_every_n_steps=2, save_state=True) == 0
    state = tmp_path / "out" / "half-step00000002-state"
    assert run(tmp_path, script, output_name="rest", max_train_steps=4, resume=state) == 0
    whole, rest = saved(tmp_path, "whole.safetensors"), saved(tmp_path, "rest.safetensors")
    assert all(torch.equal(whole[key], rest[key]) for key in whole)


def test_sentences_take_the_place_of_captions(tmp_path, run_dir):
    files = []
    for name, given in {"captions": {}, "object": {"use_object_template": True}, "style": {"use_style_template": True}}.items():
        assert run(tmp_path, output_name=name, **given) == 0
        files.append(saved(tmp_path, f"{name}.safetensors")["emb_params"])
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(files, 2))


def test_a_prompt_with_the_word_is_drawn(tmp_path, run_dir):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a photo of (sks-cat:1.2) --w 64 --h 64 --s 2 --d 1\n", encoding="utf-8")
    pictures = []
    for name, rate in (("slow", 1e-9), ("fast", 0.5)):
        assert run(tmp_path, output_name=name, learning_rate=rate, sample_prompts=prompts, sample_every_n_steps=3) == 0
        (picture,) = (tmp_path / "out" / "sample").glob(f"{name}_*.png")
        pictures.append(picture.read_bytes())
    assert pictures[0] != pictures[1]


def test_diffusers_reads_the_file_and_encodes_alike(tmp_path, run_dir):
    assert run(tmp_path) == 0
    folder = tmp_path / "folder"
    family = tiny_models.load_sd(tiny_runs.micro_model(tmp_path))
    family.write_folder(folder, None, ending=".safetensors")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.load_textual_inversion(tmp_path / "out" / "cat.safetensors", token="sks-cat")
    ids = pipeline.tokenizer(
        pipeline.maybe_convert_prompt("a photo of sks-cat", pipeline.tokenizer), padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    theirs = pipeline.text_encoder(ids).last_hidden_state
    encoder = family.text_encoders[0]
    part = WordVectors(encoder.get_input_embeddings(), saved(tmp_path)["emb_params"])  # type: ignore[operator]
    encoder.set_input_embeddings(part)  # type: ignore[operator]
    family.define_word("sks-cat", range(49408, 49411))
    assert torch.allclose(family.encode_text(["a photo of sks-cat"]).prompt_embeds, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token_string": None}, "token_string: No word is given"),
        ({"token_string": "sks cat"}, "sks cat holds a space"),
        ({"token_string": "a,b"}, "holds ,"),
        ({"caption_prefix": None}, "No caption has the word sks-cat"),
        ({"init_word": "supercalifragilistic"}, "takes 5 vectors"),
        ({"use_object_template": True, "use_style_template": True}, "use_object_template is on too"),
        ({"learning_rate": 0}, "learning_rate"),
    ],
)
def test_what_cannot_work_is_said(tmp_path, run_dir, capsys, given, words):
    assert run(tmp_path, **given) == 2
    told = capsys.readouterr()
    assert words in told.err + told.out


def test_a_file_of_another_model_is_refused(tmp_path, run_dir, capsys):
    save_file({"clip_l": torch.zeros(3, 32), "clip_g": torch.zeros(3, 48)}, tmp_path / "xl.safetensors")
    assert run(tmp_path, weights=tmp_path / "xl.safetensors") != 0
    save_file({"emb_params": torch.zeros(2, 32)}, tmp_path / "two.safetensors")
    assert run(tmp_path, weights=tmp_path / "two.safetensors") == 2
    told = capsys.readouterr().err
    assert "vectors of 32 and 48 numbers" in told and "Set num_vectors_per_token to 2" in told


PIVOTAL = {"network_module": "networks.lora", "network_dim": 4, "save_model_as": "safetensors", "embedding_lr": 1e-2, "learning_rate": 1e-3}


@pytest.mark.parametrize("script", ["train_network", "sdxl_train_network"])
def test_a_word_is_learnt_along_with_an_adapter_and_goes_on_exactly(tmp_path, run_dir, script):
    given = {**WORD, **PIVOTAL, "network_train_unet_only": True, "bundle_embedding": True}
    assert train(tmp_path, script, output_name="whole", **given) == 0
    beside, adapter = saved(tmp_path, "whole_sks-cat.safetensors"), saved(tmp_path, "whole.safetensors")
    assert sorted(beside) == sorted(WIDTHS[f"{'sdxl_' if script.startswith('sdxl') else ''}train_textual_inversion"])
    bundled = {key: tensor for key, tensor in adapter.items() if key.startswith("bundle_emb.sks-Cat.")}
    ends = {"string_to_param.*": "emb_params", "clip_l": "clip_l", "clip_g": "clip_g"}
    assert {ends[key.split(".", 2)[2]] for key in bundled} == set(beside)
    assert all(torch.equal(tensor, beside[ends[key.split(".", 2)[2]]]) for key, tensor in bundled.items())
    assert any(key.startswith("lora_unet") for key in adapter) and not any(key.startswith("lora_te") for key in adapter)
    told = {event["path"].rsplit("/", 1)[-1]: event["what"] for event in events(run_dir, "save")}
    assert told == {"whole.safetensors": "weights", "whole_sks-cat.safetensors": "embedding"}
    with safe_open(tmp_path / "out" / "whole_sks-cat.safetensors", "pt") as file:
        assert file.metadata()["modelspec.architecture"].endswith("/textual-inversion")
    assert train(tmp_path, script, output_name="half", save_every_n_steps=2, save_state=True, **given) == 0
    assert train(tmp_path, script, output_name="rest", resume=tmp_path / "out" / "half-step00000002-state", **given) == 0
    for name in ("safetensors", "sks-cat"):
        one, other = ((f"{stem}.safetensors" if name == "safetensors" else f"{stem}_sks-cat.safetensors") for stem in ("whole", "rest"))
        assert all(torch.equal(tensor, saved(tmp_path, other)[key]) for key, tensor in saved(tmp_path, one).items())
    assert train(tmp_path, script, output_name="whole", **given) == 2, "what is there is not overwritten"


def test_training_goes_on_from_a_bundle(tmp_path, run_dir):
    given = {**WORD, **PIVOTAL, "bundle_embedding": True, "max_train_steps": 1}
    assert train(tmp_path, "train_network", output_name="first", **given) == 0
    more = {**given, "learning_rate": 1e-9, "embedding_lr": 1e-9, "network_weights": tmp_path / "out" / "first.safetensors"}
    assert train(tmp_path, "train_network", output_name="next", **more) == 0
    first, following = saved(tmp_path, "first.safetensors"), saved(tmp_path, "next.safetensors")
    assert first.keys() == following.keys()
    assert all(torch.allclose(tensor, following[key], atol=1e-6) for key, tensor in first.items())


def test_old_files_of_words_go_with_those_of_their_adapters(tmp_path, run_dir):
    given = {**WORD, **PIVOTAL, "save_every_n_steps": 1, "save_last_n_steps": 1, "max_train_steps": 4}
    assert train(tmp_path, "train_network", output_name="many", **given) == 0
    left = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())
    weights = [name for name in left if "sks" not in name]
    assert [name.replace("_sks-cat", "") for name in left if "sks" in name] == weights and len(weights) < 5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token_string": None}, "init_word: It has no effect without token_string"),
        ({"token_string": "v1.5", "caption_prefix": "v1.5,", "bundle_embedding": True}, "v1.5 holds a dot"),
    ],
)
def test_words_beside_an_adapter_are_checked(tmp_path, run_dir, capsys, given, words):
    train(tmp_path, "train_network", **{**WORD, **PIVOTAL, "max_train_steps": 1, **given})
    told = capsys.readouterr()
    assert words in told.err + told.out


@BOTH
def test_it_is_a_program(tmp_path, script):
    model = tiny_runs.sdxl_model(tmp_path) if script.startswith("sdxl") else tiny_runs.micro_model(tmp_path)
    given = {"network_module": None, "network_dim": None, "pretrained_model_name_or_path": model, "max_train_steps": 1, **WORD}
    done = subprocess.run(
        [sys.executable, f"sd_scripts/{script}.py", *tiny_runs.options(tmp_path, **given)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert saved(tmp_path).keys() == WIDTHS[script].keys()
