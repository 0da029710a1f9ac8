"""The caching tools write what the training then finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tiny_runs

from sd_scripts.tools import cache_latents, cache_text_encoder_outputs
from sd_scripts.tools.caching import run

ROOT = Path(__file__).parents[3]


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*.npz"))}


def cached(root: Path, *more: str, **given: object) -> int:
    """Run the tool in this process, with a training's options."""
    tiny_runs.fresh_process()
    return run(cache_latents.fill, "cache_latents_to_disk", [*tiny_runs.options(root, **given), *more])


def test_the_tool_makes_what_the_training_uses(tmp_path, monkeypatch, capsys):
    assert cached(tmp_path) == 0
    made = files(tmp_path)
    assert len(made) == len(tiny_runs.SIZES) and all(path.name.endswith("_sd.npz") for path in made)
    assert "5 encoded, 0 there already" in capsys.readouterr().err
    run_dir = tiny_runs.report_to(tmp_path / "run", monkeypatch)
    assert tiny_runs.train(tmp_path, cache_latents_to_disk=True) == 0
    assert files(tmp_path) == made
    assert not tiny_runs.events(run_dir, "warning")


def test_an_interrupted_run_goes_on(tmp_path, capsys):
    cached(tmp_path)
    made = files(tmp_path)
    gone = next(iter(made))
    gone.unlink()
    assert cached(tmp_path, "--skip_existing") == 0
    assert "1 encoded, 4 there already" in capsys.readouterr().err
    assert files(tmp_path) == made, "a picture's latents follow from its content alone"


def test_a_problem_of_the_training_alone_does_not_matter(tmp_path):
    assert cached(tmp_path, network_module=None, output_dir=None) == 0


def test_a_problem_of_the_pictures_is_told(tmp_path, capsys):
    assert cached(tmp_path, train_data_dir=tmp_path / "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err
    assert cached(tmp_path, "--script", "train_everything") == 2
    assert "train_everything" in capsys.readouterr().err


def test_a_family_without_caption_files_says_so(tmp_path, capsys):
    tiny_runs.fresh_process()
    code = run(cache_text_encoder_outputs.fill, "cache_latents", tiny_runs.options(tmp_path))
    assert code == 2 and "no caption files" in capsys.readouterr().err


def test_it_is_a_program_for_several_processes(tmp_path):
    """Two resolutions of each picture, shared by two processes: all are made, and all are counted."""
    pictures = tiny_runs.draw_pictures(tmp_path / "pictures")
    datasets = "".join(f"[[datasets]]\nresolution = {side}\n[[datasets.subsets]]\nimage_dir = '{pictures}'\n" for side in (64, 128))
    (tmp_path / "dataset.toml").write_text(datasets, "utf-8")
    options = tiny_runs.options(tmp_path, train_data_dir=None, dataset_config=tmp_path / "dataset.toml")
    port = ["--main_process_port", tiny_runs.free_port()]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", *port]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1", "-m", "sd_scripts.tools.cache_latents"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*launcher, *options], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=240, check=False)
    assert done.returncode == 0 and "10 pictures: 10 encoded, 0 there already" in done.stderr, done.stderr
    assert len(files(tmp_path)) == 10
