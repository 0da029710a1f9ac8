"""The command line: every verb, its exit code, and what it prints for people and for machines."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.follow import JsonLines, Terminal, duration, exit_code, follow, progress_line
from kohya_gui.jobs.adoption import ROOT, spawn_supervisor
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.runs import create_run, list_runs, read_run
from kohya_gui.jobs.states import Status
from kohya_gui.jobs.tree import living
from kohya_gui.verbs import VERBS, main
from kohya_gui.verbs_config import read_any
from kohya_gui.verbs_demo import demo_config
from kohya_gui.verbs_train import follow_and_stop
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.config_file import dumps, read_config
from tests.kohya_gui.jobs.small_programs import FOREVER, OBEYS, PROGRAM, in_state, wait_until
from tests.tiny_models import build_sd15_micro

LORA = command("train_network")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model and pictures, under a name that breaks careless commands."""
    folder = tmp_path_factory.mktemp("verbs") / 'it\'s a "Füße" 猫'
    pictures = folder / "pictures" / "4_cat"
    pictures.mkdir(parents=True)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 64), colour).save(pictures / f"{name}.png")
    build_sd15_micro(folder / "micro.safetensors")
    return folder


def write_config(folder: Path, out: Path, **given: object) -> Path:
    values = {
        "pretrained_model_name_or_path": str(folder / "micro.safetensors"),
        "train_data_dir": str(folder / "pictures"),
        "output_dir": str(out / "out"),
        "output_name": "cat",
        "resolution": "64",
        "network_module": "networks.lora",
        "network_dim": 4,
        "learning_rate": 1e-3,
        "max_train_steps": 4,
        "max_data_loader_n_workers": 0,
        "save_state": True,
        **given,
    }
    path = out / "cat.toml"
    path.write_text(dumps(make_config(LORA, values)), encoding="utf-8")
    return path


def answer(words: list[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, object]:
    code = main([str(word) for word in words])
    return code, json.loads(capsys.readouterr().out)


def test_check_accepts_a_sound_config_and_prints_the_steps(folder, tmp_path, capsys):
    assert main(["check", str(write_config(folder, tmp_path)), "--runs_dir", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "2 images × 4 repeats = 8" in printed
    assert printed.endswith("ok\n")


def test_check_refuses_with_2_and_names_the_option(folder, tmp_path, capsys):
    path = write_config(folder, tmp_path, train_data_dir=str(tmp_path / "absent"))
    code, said = answer(["check", path, "--json", "--runs_dir", tmp_path], capsys)
    assert (code, said["ok"]) == (2, False)
    assert "train_data_dir" in [problem["field"] for problem in said["problems"]]


def test_an_unknown_key_is_one_sentence_with_the_nearest_name(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("learnig_rate = 1e-4\n")
    assert main(["check", str(tmp_path / "c.toml")]) == 2
    told = capsys.readouterr().err
    assert told == "error: --learnig_rate: train_network has no such option. Did you mean --learning_rate?\n"


def test_an_error_for_machines_is_json(tmp_path, capsys):
    code, said = answer(["check", tmp_path / "absent.toml", "--json"], capsys)
    assert (code, said["error"]["field"], said["error"]["exit_code"]) == (2, "config_file", 2)


def test_command_prints_words_that_a_shell_reads_back(folder, tmp_path, capsys):
    path = write_config(folder, tmp_path)
    assert main(["command", str(path)]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert words[-2:] == ["--config_file", str(path)]


def test_runs_are_listed(tmp_path, capsys):
    run = create_run(tmp_path / "runs", argv=["x"])
    code, said = answer(["runs", "--json", "--runs_dir", tmp_path / "runs"], capsys)
    assert (code, [row["id"] for row in said], said[0]["state"]) == (0, [run.name], "queued")


def test_import_writes_a_config_and_accounts_for_every_key(tmp_path, capsys):
    (tmp_path / "gui.json").write_text(json.dumps({"learning_rate": 0.0003, "no_such_key": 7, "LoRA_type": "Standard"}))
    code, said = answer(["import", tmp_path / "gui.json", "--to", tmp_path / "out.toml", "--json"], capsys)
    assert code == 0
    assert {"learning_rate", "no_such_key", "LoRA_type"} <= {row["key"] for row in said["rows"]}
    assert read_config(tmp_path / "out.toml", LORA).value("learning_rate") == 0.0003


def test_import_overwrites_nothing(tmp_path, capsys):
    (tmp_path / "gui.json").write_text("{}")
    (tmp_path / "out.toml").write_text("mine")
    assert main(["import", str(tmp_path / "gui.json"), "--to", str(tmp_path / "out.toml")]) == 2
    assert (tmp_path / "out.toml").read_text() == "mine"


def test_a_dataset_that_comes_along_is_written_beside_the_config(tmp_path, capsys):
    source = ROOT / "tests" / "fixtures" / "configs" / "rivals" / "ai-toolkit_train_lora_flux_24gb.yaml"
    code, said = answer(["import", source, "--to", tmp_path / "out.toml", "--json"], capsys)
    assert (code, said["dataset"]) == (0, str(tmp_path / "out-dataset.toml"))
    assert read_any(tmp_path / "out.toml", None).value("dataset_config") == said["dataset"]
    assert tomllib.loads(Path(said["dataset"]).read_text("utf-8"))["datasets"]


def test_what_is_exported_is_read_back_the_same(folder, tmp_path, capsys):
    path = write_config(folder, tmp_path)
    before = read_config(path, LORA).given
    for name in ("kohya.json", "kohya.toml"):
        code, said = answer(["export", path, "--to", tmp_path / name, "--json"], capsys)
        assert (code, said["to"]) == (0, [str(tmp_path / name)])
        again = read_any(tmp_path / name, "train_network")
        assert {key: again.value(key) for key in before} == dict(before)


def test_prompts_of_the_form_go_into_a_file_beside_an_exported_toml(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(dumps(make_config(LORA, {"sample_every_n_steps": 5}, {"prompts": "a cat\na dog"})), "utf-8")
    code, said = answer(["export", tmp_path / "mine.toml", "--to", tmp_path / "out.toml", "--json"], capsys)
    assert (code, said["to"]) == (0, [str(tmp_path / "out.toml"), str(tmp_path / "out-prompts.txt")])
    assert (tmp_path / "out-prompts.txt").read_text("utf-8") == "a cat\na dog\n"


@pytest.mark.parametrize(("name", "words"), [("out.yaml", "neither ending"), ("mine.toml", "exists already")])
def test_an_export_that_cannot_be_is_refused(tmp_path, capsys, name, words):
    (tmp_path / "mine.toml").write_text(dumps(make_config(LORA, {"seed": 5})), "utf-8")
    assert main(["export", str(tmp_path / "mine.toml"), "--to", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err


def test_settings_that_are_named_must_be_there(tmp_path, capsys):
    assert main(["runs", "--config", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_help_tells_the_exit_codes(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert "4  out of memory" in capsys.readouterr().out


def test_a_mistyped_verb_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trian", "x.toml"])
    assert ended.value.code == 2
    assert "Did you mean train?" in capsys.readouterr().err


def test_looking_verbs_do_not_load_the_page_or_torch(tmp_path):
    program = "import sys; from kohya_gui.verbs import main; main(['runs']); print([name for name in ('gradio', 'torch') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status("finished", exit_code=0), 0),
        (Status("stopped", exit_code=3), 3),
        (Status("paused", exit_code=3), 3),
        (Status("failed", exit_code=4), 4),
        (Status("failed", exit_code=-9), 1),
        (Status("interrupted"), 1),
    ],
)
def test_the_runs_end_is_the_programs_exit_code(status, code):
    assert exit_code(status) == code


@pytest.mark.parametrize(("seconds", "words"), [(7.4, "7 s"), (89, "89 s"), (540, "9 min"), (11_100, "3 h 05 min")])
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words


def test_the_progress_line_says_where_the_run_is(tmp_path):
    view = RunView(create_run(tmp_path, argv=["x"]))
    view.phase, view.step, view.total, view.epoch, view.epochs, view.avg_loss, view.it_s = "training", 620, 1000, 7, 10, 0.0841, 1.42
    assert progress_line(view) == "training 620/1,000 (62%) · epoch 7/10 · loss 0.0841 · 1.42 it/s · measuring…"


def test_following_passes_on_every_event_and_the_outcome(tmp_path, capsys):
    run = create_run(
        tmp_path,
        argv=[sys.executable, "-c", PROGRAM + "tell('warning', code='x', text='Look out.', fix=''); tell('done', exit_code=0, reason='ok', step=1)"],
    )
    spawn_supervisor(run)
    follow(run, JsonLines())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ([line.get("kind") for line in lines[:-1]], lines[-1]["state"], lines[-1]["exit_code"]) == (["warning", "done"], "finished", 0)


@pytest.mark.parametrize(("program", "presses"), [(OBEYS, 1), (FOREVER, 2)])
def test_ctrl_c_stops_softly_and_a_second_one_at_once(tmp_path, program, presses):
    run = create_run(tmp_path, argv=[sys.executable, "-c", PROGRAM + program])
    spawn_supervisor(run)
    in_state(run, "running")
    show = Presser(presses)
    view = follow_and_stop(CommandExecutor(tmp_path), run, show)
    assert (view.status.state, exit_code(view.status), show.presses) == ("stopped", 3, 0)


class Presser(Terminal):
    """Presses Ctrl-C, once at each look, as long as it has presses left."""

    def __init__(self, presses: int) -> None:
        super().__init__()
        self.presses = presses

    def update(self, view: RunView) -> None:
        """Press, then show."""
        if self.presses:
            self.presses -= 1
            os.kill(os.getpid(), signal.SIGINT)
        super().update(view)


class PressedWhileWriting(io.StringIO):
    """A stream in whose first write Ctrl-C is pressed."""

    def write(self, text: str) -> int:
        """Press, then write."""
        if not self.tell():
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def test_a_stop_that_was_asked_for_already_is_hard_at_the_next_ctrl_c(tmp_path):
    run = create_run(tmp_path, argv=[sys.executable, "-c", PROGRAM + FOREVER])
    spawn_supervisor(run)
    in_state(run, "running")
    CommandExecutor(tmp_path).stop(run)
    assert follow_and_stop(CommandExecutor(tmp_path), run, Presser(1), asked=True).status.state == "stopped"


def test_ctrl_c_cuts_no_line_and_loses_no_event(tmp_path):
    program = (
        "[tell('warning', code=str(n), text='Look out.', fix='') for n in range(5)]; wait_for_stop(); tell('done', exit_code=3, reason='x', step=1)"
    )
    run = create_run(tmp_path, argv=[sys.executable, "-c", PROGRAM + program])
    spawn_supervisor(run)
    in_state(run, "running")
    stream = PressedWhileWriting()
    follow_and_stop(CommandExecutor(tmp_path), run, JsonLines(stream))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("code") for line in lines[:5]] == ["0", "1", "2", "3", "4"]
    assert lines[-1]["state"] == "stopped"


@pytest.mark.slow
def test_train_stops_on_ctrl_c_and_resumes_to_the_end(folder, tmp_path):
    runs, path = tmp_path / "runs", write_config(folder, tmp_path, max_train_steps=2000)
    words = [sys.executable, "-m", "kohya_gui", "train", "--runs_dir", str(runs), "--json"]
    train = subprocess.Popen([*words, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    told = (json.loads(line) for line in train.stdout)
    assert any(event.get("kind") == "step" for event in told)
    train.send_signal(signal.SIGINT)
    outcome = list(told)[-1]
    assert (train.wait(), outcome["state"]) == (3, "stopped")
    run = list_runs(runs)[0].path
    config = run / "config.toml"
    config.write_text(config.read_text("utf-8").replace("max_train_steps = 2000", f"max_train_steps = {RunView(run).refresh().step + 2}"), "utf-8")
    done = subprocess.run([*words, "--resume", run.name], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(json.loads(done.stdout.splitlines()[-1])["files"][-1]).name == "cat.safetensors"
    wait_until(lambda: not living(read_run(run)["id"]), "the processes to be gone")


def test_the_demo_writes_into_a_folder_of_its_own_from_wherever_it_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = demo_config()
    assert Path(config.value("output_dir")).parent == ROOT / "outputs"
    assert Path(config.value("train_data_dir")) == ROOT / "demo" / "dataset"


def start_page(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "kohya_gui", "--headless", "--runs_dir", str(tmp_path / "runs"), *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def test_without_a_verb_the_page_is_served_until_ctrl_c(tmp_path):
    (tmp_path / "settings.toml").write_text("[server]\nmade_up = 1\n", "utf-8")
    page = start_page(tmp_path, "--noverify", "--requirements", "my.txt", "--config", str(tmp_path / "settings.toml"))
    address = page.stdout.readline().removeprefix("Open ").strip()
    with urllib.request.urlopen(address) as answer:
        assert answer.status == 200
    page.send_signal(signal.SIGINT)
    told = page.communicate()[1].splitlines()
    assert page.returncode == 0
    assert told == [
        "note: --noverify has no effect: the installation is checked by setup.py alone.",
        "note: --requirements has no effect: setup.py installs what requirements.txt pins.",
        "note: server.made_up in the settings file has no effect: it is not known here.",
    ]


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        page = start_page(tmp_path, "--server_port", str(port))
        told = page.communicate()[1]
    assert page.returncode == 1
    assert told.startswith(f"error: Port {port} on 127.0.0.1 cannot be used: ")
    assert len(told.splitlines()) == 1
