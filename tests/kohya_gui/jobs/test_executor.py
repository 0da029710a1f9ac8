"""Starting, stopping and resuming, with small programs in the place of the launcher."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kohya_gui.jobs.devices import Machine
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.preflight import Refused
from kohya_gui.jobs.prompts import STUDIO_PROMPTS
from kohya_gui.jobs.runs import create_run, list_runs, read_status
from sd_scripts.errors import RunError
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.config_file import read_config
from sd_scripts.survey.checks import Report
from tests.kohya_gui.jobs.small_programs import FOREVER, OBEYS, PROGRAM, in_state

LORA = command("train_network")
PAUSES = """
tell('phase', phase='training', done=0, total=0)
while not (run / 'control' / 'pause').exists(): time.sleep(0.01)
(run / 'state').mkdir()
tell('save', path=str(run / 'state'), what='state', step=3, epoch=1, bytes=0, tensors=None, sha256=None, finite=True, final=False)
tell('done', exit_code=3, reason='paused', step=3)
"""
TELLS = "(run / 'seen').write_text(repr((sorted((run / 'prompts.txt').parent.glob('prompts.*'))[0].read_text(), os.environ.get('WANDB_API_KEY'))))"
DONE = "\ntell('done', exit_code=0, reason='done', step=1)"


class Small(CommandExecutor):
    """Launches a small program. `survey` is not under test here: requests are taken as sound."""

    program = OBEYS

    def command(self, config: Config, *, config_path: Path | None = None) -> list[str]:
        return [sys.executable, "-c", PROGRAM + self.program]


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    nothing = Report(blueprint=None, scan=None, plan=None, model=None, adapter=None, problems=[])
    monkeypatch.setattr("kohya_gui.jobs.preflight.survey", lambda config, processes: nothing)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return Small(tmp_path / "runs", on_machine=Machine("cpu"))


def config(tmp_path: Path, *, studio: dict[str, object] | None = None, **given: object) -> Config:
    return make_config(LORA, {"output_dir": str(tmp_path / "out"), "output_name": "cat", **given}, studio)


def test_a_start_makes_a_run_that_a_stop_ends(executor, tmp_path):
    run = executor.start(config(tmp_path))
    in_state(run, "running")
    executor.stop(run)
    in_state(run, "stopped")


def test_a_second_start_is_refused_with_the_runs_name_and_leaves_nothing(executor, tmp_path):
    run = executor.start(config(tmp_path))
    with pytest.raises(RunError, match=run.name):
        executor.start(config(tmp_path, output_name="dog"))
    assert [summary.path for summary in list_runs(executor.runs_dir)] == [run]
    executor.stop(run, hard=True)
    in_state(run, "stopped")


def test_of_many_starts_at_the_same_moment_one_wins(executor, tmp_path):
    barrier = threading.Barrier(4)

    def start(number: int) -> Path | str:
        barrier.wait()
        try:
            return Small(executor.runs_dir, on_machine=Machine("cpu")).start(config(tmp_path, output_name=f"cat{number}"))
        except RunError as refused:
            return str(refused)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(start, range(4)))
    won = [result for result in results if isinstance(result, Path)]
    assert len(won) == 1
    assert all(won[0].name in result for result in results if isinstance(result, str))
    executor.stop(won[0], hard=True)
    in_state(won[0], "stopped")


def test_what_preflight_refuses_makes_no_folder(executor, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat.safetensors").touch()
    with pytest.raises(Refused, match="exists already") as refused:
        executor.start(config(tmp_path))
    assert (refused.value.exit_code, refused.value.field, list_runs(executor.runs_dir)) == (2, "output_name", [])


def test_prompts_lie_in_both_places_before_the_trainer_runs(executor, tmp_path):
    executor.program = TELLS + DONE
    prompts = {STUDIO_PROMPTS: "ein Bär\n猫 --w 64"}
    run = executor.start(config(tmp_path, studio=prompts, no_metadata=True))
    in_state(run, "failed", "finished")
    assert "ein Bär\\n猫 --w 64\\n" in (run / "seen").read_text("utf-8")
    assert (tmp_path / "out" / "sample" / "prompt.txt").read_text("utf-8") == "ein Bär\n猫 --w 64\n"
    assert read_config(run / "config.toml", LORA).value("sample_prompts") == str(run / "prompts.txt")


def test_a_secret_reaches_the_trainer_and_no_file_of_the_run(executor, tmp_path):
    executor.program = "(run / 'prompts.txt').touch();" + TELLS.replace("'seen'", "'../seen'") + DONE
    run = executor.start(config(tmp_path, wandb_api_key="s3cr3t"))
    in_state(run, "failed", "finished")
    assert "s3cr3t" in (executor.runs_dir / "seen").read_text()
    assert not [path for path in run.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]


def test_a_paused_run_goes_on_in_its_own_folder_from_its_state(executor, tmp_path):
    executor.program = PAUSES
    run = executor.start(config(tmp_path))
    in_state(run, "running")
    executor.request(run, "pause")
    in_state(run, "paused")
    assert executor.resume(run) == run
    assert read_config(run / "config.toml", LORA).value("resume") == str(run / "state")
    assert read_status(run).attempt == 2
    executor.stop(run, hard=True)
    in_state(run, "stopped")


def test_without_a_saved_state_there_is_nothing_to_resume(executor, tmp_path):
    run = executor.start(config(tmp_path))
    in_state(run, "running")
    executor.stop(run)
    in_state(run, "stopped")
    with pytest.raises(RunError, match="no saved state"):
        executor.resume(run)


def test_what_has_ended_cannot_be_stopped_again(executor, tmp_path):
    executor.program = "sys.exit(0)"
    run = executor.start(config(tmp_path))
    in_state(run, "failed")
    with pytest.raises(RunError, match="nothing to stop"):
        executor.stop(run)


def test_a_waiting_run_is_taken_back(executor, tmp_path):
    run = create_run(executor.runs_dir, argv=[sys.executable])
    assert executor.stop(run).state == "stopped"


def test_a_soft_stop_can_become_a_hard_one(executor, tmp_path):
    executor.program = FOREVER
    run = executor.start(config(tmp_path))
    in_state(run, "running")
    executor.stop(run)
    in_state(run, "stopping")
    executor.stop(run, hard=True)
    in_state(run, "stopped")


def test_relative_paths_count_from_the_executors_folder(executor, tmp_path):
    elsewhere = Small(executor.runs_dir, cwd=tmp_path, on_machine=Machine("cpu"))
    run = elsewhere.start(make_config(LORA, {"output_dir": "out", "output_name": "cat"}))
    assert read_config(run / "config.toml", LORA).value("output_dir") == str(tmp_path / "out")
    elsewhere.stop(run, hard=True)
    in_state(run, "stopped")
