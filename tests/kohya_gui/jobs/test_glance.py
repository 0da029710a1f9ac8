"""What the list of runs reads of each."""

from __future__ import annotations

from kohya_gui.jobs.glance import PLACES, Glance, glance
from kohya_gui.jobs.runs import create_run
from tests.kohya_gui.small_runs import append_event, append_sample, append_steps, write_run


def test_step_loss_and_the_newest_picture_of_the_first_prompt(tmp_path):
    run = write_run(tmp_path, samples={10: 2, 20: 2})
    seen = glance(run)
    assert (seen.step, seen.total, seen.avg_loss, seen.sample_step) == (20, 40, 0.2, 20)
    assert seen.sample.endswith("cat_000020_00.png")
    assert [step for step, _ in seen.points] == list(range(1, 21))


def test_a_long_run_is_looked_at_in_a_few_places(tmp_path):
    run = write_run(tmp_path, steps=3000, total=3000)
    steps = [step for step, _ in glance(run).points]
    assert PLACES - 2 <= len(steps) <= PLACES
    assert steps == sorted(set(steps))
    assert glance(run).step == 3000


def test_steps_that_were_done_again_count_once(tmp_path):
    run = write_run(tmp_path)
    append_event(run, "resume", step=5, epoch=1, path="state")
    append_steps(run, 5, 8, 40)
    assert [step for step, _ in glance(run).points] == list(range(1, 9))
    assert glance(run).step == 8


def test_what_is_new_is_seen(tmp_path):
    run = write_run(tmp_path)
    assert glance(run).sample_step == 10
    append_sample(run, "cat", 30)
    assert glance(run).sample_step == 30


def test_a_run_that_wrote_nothing_or_half_a_line(tmp_path):
    run = create_run(tmp_path, argv=["true"])
    assert glance(run) == Glance()
    (run / "events.jsonl").write_text("")
    assert glance(run) == Glance()
    (run / "events.jsonl").write_text('{"t": 1, "kind": "step", "st')
    assert glance(run) == Glance()
