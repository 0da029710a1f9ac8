"""What a run tells: whole lines of JSON, kohya's average, an error's reason for every process."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tiny_runs import events

from sd_scripts.errors import ConfigError, OutOfMemory
from sd_scripts.library.training.report import Axis, LossAverage, Report, StepFacts


class Points:
    """Collects what would be drawn."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}

    def draw(self, points: Mapping[str, float], *, step: int, epoch: int, by: Axis) -> None:
        self.points |= {(tag, epoch if by == "epoch" else step): value for tag, value in points.items()}

    def close(self) -> None:
        self.points["closed", 0] = 1.0


def facts(step: int, loss: float = 0.5) -> StepFacts:
    """A step's facts with one group."""
    return StepFacts(step, 1, loss, {"unet": 1e-4}, {"rss_bytes": 1}, {"norm/avg_key_norm": 0.25})


def begun(report: Report, *, start_step: int = 0, curves: Points | None = None, average: LossAverage | None = None) -> Report:
    """A report of a run of ten steps."""
    report.draw_in(curves)
    report.begin(start_step=start_step, total=10, epochs=1, average=average or LossAverage(10))
    return report


def test_the_average_is_that_of_the_last_epoch():
    average = LossAverage(3)
    assert [average.add(loss) for loss in (3.0, 1.0, 2.0, 6.0)] == [3.0, 2.0, 2.0, 3.0]


def test_the_average_goes_on_where_it_was():
    assert LossAverage(3, (3.0, 1.0)).add(2.0) == 2.0


def test_events_are_appended_as_whole_lines(tmp_path):
    for step in (1, 2):
        report = begun(Report(tmp_path), start_step=step - 1)
        report.took_step(facts(step))
        report.close()
    assert [(event["step"], event["total"], event["lr"]) for event in events(tmp_path, "step")] == [(1, 10, {"unet": 1e-4}), (2, 10, {"unet": 1e-4})]


def test_only_the_main_process_writes_events(tmp_path):
    report = begun(Report(tmp_path, main=False))
    report.took_step(facts(1))
    report.close()
    assert not (tmp_path / "events.jsonl").exists()


def test_every_failing_process_leaves_its_reason(tmp_path):
    report = Report(tmp_path, main=False)
    report.failed(OutOfMemory("Out of memory.", fix="Switch cache_latents on."), rank=3, exit_code=4)
    reason = json.loads((tmp_path / "error-3.json").read_text("utf-8"))
    assert (reason["code"], reason["text"], reason["fix"], reason["exit_code"]) == ("memory", "Out of memory.", "Switch cache_latents on.", 4)


def test_the_last_event_of_a_failure_names_the_option(tmp_path):
    report = Report(tmp_path)
    report.failed(ConfigError("seed", "It is odd.", fix="Take another."), rank=0, exit_code=2)
    report.close()
    assert events(tmp_path, "error")[-1]["text"] == "--seed: It is odd."


def test_curves_have_kohyas_tags(tmp_path):
    points = Points()
    report = begun(Report(None), curves=points)
    report.took_step(facts(1, 0.2))
    report.took_step(facts(2, 0.4))
    report.ended_epoch(1)
    report.close()
    assert points.points["loss/current", 2] == 0.4 and points.points["loss/average", 2] == pytest.approx(0.3)
    assert points.points["lr/unet", 1] == 1e-4 and points.points["norm/avg_key_norm", 1] == 0.25
    assert points.points["loss/epoch_average", 1] == pytest.approx(0.3) and ("closed", 0) in points.points


def test_the_progress_line_has_kohyas_form(capsys):
    report = begun(Report(None))
    report.took_step(facts(1, 0.0983))
    report.close()
    last = capsys.readouterr().err.strip().splitlines()[-1].rpartition("\r")[2]
    assert last.startswith("steps:  10%|") and "1/10 [" in last and last.endswith("avr_loss=0.0983]")
