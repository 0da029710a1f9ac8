"""Reading a run's files while they grow, and what is made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.jobs.adoption import spawn_supervisor
from kohya_gui.jobs.curve import Curve
from kohya_gui.jobs.monitor import RunView, Views
from kohya_gui.jobs.runs import create_run
from kohya_gui.jobs.tail import read_events, read_log
from sd_scripts.params.events import event_line
from tests.kohya_gui.jobs.small_programs import OBEYS, PROGRAM, ask_to_stop, in_state, wait_until


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path, argv=[sys.executable])


def step(number: int, *, total: int = 1000, t: float | None = None, loss: float = 0.1) -> str:
    line = event_line(
        "step", step=number, total=total, epoch=1, epochs=2, loss=loss, avg_loss=loss, lr={"unet": 1e-4}, it_s=2.0, eta_s=1.0, memory={"rss_bytes": 5}
    )
    return line if t is None else json.dumps({**json.loads(line), "t": t}) + "\n"


def write(run: Path, *lines: str) -> None:
    with (run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(lines)


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind": "plan", "n": 1}\n{"kind": "st')
    events, offset = read_events(path, 0)
    assert [event["kind"] for event in events] == ["plan"]
    with path.open("ab") as file:
        file.write(b'ep"}\n')
    assert [event["kind"] for event in read_events(path, offset)[0]] == ["step"]


def test_what_is_no_event_is_passed_over(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'\x00\xff{\n[]\n{"t": 1}\n{"kind": 3}\n\n{"kind": "done"}\n')
    assert [event["kind"] for event in read_events(path, 0)[0]] == ["done"]


def test_a_file_that_is_not_there_yet_has_nothing(tmp_path):
    assert read_events(tmp_path / "events.jsonl", 0) == ([], 0)
    assert read_log(tmp_path / "log.txt", 0) == ("", 0)


def test_a_log_that_became_shorter_is_read_anew(tmp_path):
    (tmp_path / "log.txt").write_text("new")
    _, offset = read_log(tmp_path / "log.txt", 4000)
    assert read_log(tmp_path / "log.txt", offset)[0] == "new"


@given(text=st.text(), limit=st.integers(1, 7))
def test_a_log_read_in_pieces_is_the_whole_log(text, limit, tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass") if text.isprintable() else text.encode("utf-8", "replace"))
    pieces, offset, before = [], 0, -1
    while offset != before:
        before = offset
        piece, offset = read_log(path, offset, limit=max(limit, 4))
        pieces.append(piece)
    assert "".join(pieces) == path.read_bytes().decode("utf-8", "replace")


def test_a_view_tells_where_the_run_is(run):
    write(run, event_line("phase", phase="caching", done=3, total=9), event_line("plan", plan={"total_steps": 1000, "epochs": 2}))
    view = RunView(run).refresh()
    assert (view.phase, view.phase_done, view.phase_total, view.total) == ("caching", 3, 9, 1000)
    write(run, step(10, loss=0.25))
    view.refresh()
    assert (view.phase, view.step, view.loss, view.fraction, view.lr) == ("training", 10, 0.25, 0.01, {"unet": 1e-4})


def test_files_that_were_pruned_are_no_longer_shown(run):
    save = {"what": "weights", "step": 5, "epoch": 1, "bytes": 8, "tensors": 1, "sha256": "x", "finite": True, "final": False}
    write(
        run,
        event_line("save", path="/o/a.safetensors", **save),
        event_line("save", path="/o/b.safetensors", **save),
        event_line("removed", path="/o/a.safetensors"),
    )
    assert list(RunView(run).refresh().saves) == ["/o/b.safetensors"]


def test_the_pace_leaves_out_time_spent_on_pictures(run):
    write(run, *(step(n, t=1000.0 + n) for n in range(1, 10)))
    write(run, event_line("phase", phase="sampling", done=0, total=1), *(step(n, t=5000.0 + n) for n in range(10, 20)))
    view = RunView(run).refresh()
    view.status = type(view.status)("running")
    assert view.eta_s == pytest.approx(1000 - 19)


def test_no_time_is_told_before_it_is_known(run):
    write(run, step(1, t=1.0), step(2, t=2.0))
    assert RunView(run).refresh().eta_s is None


def test_resuming_takes_back_what_will_be_done_again(run):
    write(run, *(step(n) for n in range(1, 11)), event_line("resume", step=6, epoch=1, path="/o/s"), step(7))
    assert [point.step for point in RunView(run).refresh().curve.points] == [1, 2, 3, 4, 5, 6, 7]


def test_an_event_of_another_shape_is_a_warning_not_a_crash(run):
    write(run, '{"t": 1, "kind": "step", "step": "many"}\n', step(2))
    view = RunView(run).refresh()
    assert (len(view.warnings), view.step) == (1, 2)


def test_a_poll_reads_only_what_is_new(run):
    write(run, *(step(n, total=10_000) for n in range(1, 10_001)))
    view = RunView(run).refresh()
    before, line = view.offset, step(10_000, total=10_000)
    write(run, line)
    events, offset = read_events(run / "events.jsonl", before)
    assert (len(events), offset - before, len(view.curve.points) <= 800) == (1, len(line), True)


def test_all_who_look_share_one_view(run):
    views = Views(fresh_s=60)
    assert views.of(run) is views.of(run)


def test_looking_at_a_run_that_lost_its_supervisor_gives_it_another(run):
    record = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**record, "argv": [sys.executable, "-c", PROGRAM + OBEYS]}))
    supervisor = spawn_supervisor(run).supervisor
    in_state(run, "running")
    process = psutil.Process(supervisor.pid)
    process.kill()
    process.wait()
    views = Views(fresh_s=0)
    wait_until(lambda: not views.of(run).status.unsupervised and views.of(run).status.supervisor != supervisor, "another supervisor")
    ask_to_stop(run)
    in_state(run, "stopped")


@given(losses=st.lists(st.floats(0, 10), min_size=1, max_size=400), limit=st.sampled_from([2, 8, 40]))
def test_a_curve_keeps_the_mean_the_order_and_the_bound(losses, limit):
    curve = Curve(limit)
    for number, loss in enumerate(losses, 1):
        curve.add(number, loss, loss, {})
    points = curve.points
    assert len(points) <= limit
    assert [point.step for point in points] == sorted(point.step for point in points)
    assert points[-1].step == len(losses)
    assert sum(point.loss * point.count for point in points) == pytest.approx(sum(losses), abs=1e-6)
