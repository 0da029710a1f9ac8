"""What a user is told when a training of a whole model, or a tool that fills a cache, cannot go on: one sentence, and nothing half written."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny_models
import tiny_runs
from safetensors.torch import save_file
from tiny_runs import events, report_to, train

from sd_scripts.params.commands import command
from sd_scripts.tools import cache_latents, cache_text_encoder_outputs
from sd_scripts.tools.caching import run

BOTH = pytest.mark.parametrize("script", ["train_db", "sdxl_train"])
KINDS = pytest.mark.parametrize("kind", ["safetensors", "ckpt", "diffusers", "diffusers_safetensors"])


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk does to a large one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def with_models(root: Path) -> Path:
    """Both small models in `root`, since nothing large can be written later. Returns `root`."""
    tiny_runs.micro_model(root)
    tiny_runs.sdxl_model(root)
    return root


def left(root: Path) -> list[str]:
    """What lies in the output folder."""
    return sorted(path.name for path in (root / "out").rglob("*"))


@BOTH
@KINDS
def test_a_full_disk_at_the_end_is_told_and_leaves_nothing_behind(tmp_path, run_dir, script, kind):
    with_models(tmp_path)
    with largest_file(60_000):
        assert train(tmp_path, script, save_model_as=kind, max_train_steps=1) == 1
    told = events(run_dir)[-1]
    assert (told["kind"], told["code"], told["exit_code"]) == ("error", "run", 1)
    assert "cat" in told["text"] and "output_dir" in told["fix"]
    assert "Traceback" not in told["text"] and "\n" not in told["text"]
    assert left(tmp_path) == []


def test_a_full_disk_at_a_state_keeps_the_model_that_was_saved_before_it(tmp_path, run_dir):
    model = with_models(tmp_path) / "micro.safetensors"
    with largest_file(model.stat().st_size + 1_000_000):  # the optimizer's numbers take twice the model
        assert train(tmp_path, "train_db", save_state_on_train_end=True, max_train_steps=1) == 1
    told = events(run_dir)[-1]
    assert told["code"] == "run" and "state" in told["text"] and "output_dir" in told["fix"]
    assert left(tmp_path) == ["cat.safetensors"]


@BOTH
def test_an_output_folder_that_cannot_be_one_is_named(tmp_path, run_dir, script):
    (tmp_path / "out").write_text("a file of this name")
    assert train(tmp_path, script, max_train_steps=1) in (1, 2)
    told = events(run_dir)[-1]
    assert told["kind"] == "error" and str(tmp_path / "out") in told["text"] and told["fix"]
    assert (tmp_path / "out").read_text() == "a file of this name"


@pytest.mark.parametrize(
    ("script", "wanted"),
    [("train_db", "sdxl_train"), ("fine_tune", "sdxl_train"), ("train_textual_inversion", "sdxl_train_textual_inversion"),
     ("sdxl_train", "fine_tune"), ("sdxl_train_textual_inversion", "train_textual_inversion")],
)  # fmt: skip
def test_a_model_of_the_other_family_is_refused_with_the_script_for_it(tmp_path, run_dir, script, wanted):
    model = (tiny_runs.micro_model if script.startswith("sdxl") else tiny_runs.sdxl_model)(tmp_path)
    given = {"token_string": "sks", "init_word": "cat", "caption_prefix": "sks "}
    known = {name: value for name, value in given.items() if name in command(script).by_name}
    assert train(tmp_path, script, pretrained_model_name_or_path=model, **known) == 2
    told = events(run_dir)[-1]
    assert told["text"].startswith("--pretrained_model_name_or_path: This is a ") and told["fix"] == f"Use {wanted} for it."
    assert not (tmp_path / "out").exists()


@BOTH
@pytest.mark.parametrize(("part", "word"), [("first_stage_model.", "VAE"), ("lora", "LoRA"), ("model.diffusion_model.", "text encoder")])
def test_a_part_of_a_model_is_no_model(tmp_path, run_dir, script, part, word):
    layout = tiny_models.SDXL_TINY if script == "sdxl_train" else tiny_models.SD15_MICRO
    if part == "lora":
        assert train(tmp_path, "sdxl_train_network" if script == "sdxl_train" else "train_network", output_name="part", max_train_steps=1) == 0
        path = tmp_path / "out" / "part.safetensors"
    else:
        path = tmp_path / "part.safetensors"
        save_file({name: tensor for name, tensor in tiny_models.single_file_tensors(layout).items() if name.startswith(part)}, path)
    assert train(tmp_path, script, pretrained_model_name_or_path=path) == 2
    told = events(run_dir)[-1]
    assert told["text"].startswith("--pretrained_model_name_or_path: ") and word in told["text"] and told["fix"]


def cached(root: Path, *more: str, **given: object) -> int:
    """Fill a cache of latents."""
    tiny_runs.fresh_process()
    return run(cache_latents.fill, "cache_latents_to_disk", [*tiny_runs.options(root, **given), *more])


def one_error(said: str) -> str:
    """The only error that was told, one line. Fails where there is another, or a traceback."""
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "error: " in line]
    return line[line.index("error: ") :]


def test_a_full_disk_while_caching_is_told_with_the_folder_and_ways_out(tmp_path, capsys):
    with_models(tmp_path)
    tiny_runs.draw_pictures(tmp_path / "pictures" / "2_cat")
    with largest_file(500):
        assert cached(tmp_path) == 1
    told = one_error(capsys.readouterr().err)
    assert str(tmp_path / "pictures" / "2_cat") in told and "Free space" in told and "cache_latents" in told
    assert not list((tmp_path / "pictures").rglob("*.npz*"))


def test_captions_that_cannot_be_cached_are_told_alike(tmp_path, capsys):
    with_models(tmp_path)
    tiny_runs.draw_pictures(tmp_path / "pictures" / "2_cat")
    tiny_runs.fresh_process()
    words = tiny_runs.options(tmp_path, pretrained_model_name_or_path=tmp_path / "sdxl.safetensors", network_train_unet_only=True)
    with largest_file(500):
        assert run(cache_text_encoder_outputs.fill, "cache_text_encoder_outputs_to_disk", [*words, "--cache_text_encoder_outputs"]) == 1
    told = one_error(capsys.readouterr().err)
    assert str(tmp_path / "pictures" / "2_cat") in told and "cache_text_encoder_outputs" in told
    assert not list((tmp_path / "pictures").rglob("*.npz*"))


def test_a_tool_refuses_a_model_of_another_family_than_its_trainings(tmp_path, capsys):
    with_models(tmp_path)
    assert cached(tmp_path, "--script", "sdxl_train", network_module=None, network_dim=None) == 2
    assert "This is a Stable Diffusion 1.x model; sdxl_train is for SDXL. Use fine_tune for it." in one_error(capsys.readouterr().err)
