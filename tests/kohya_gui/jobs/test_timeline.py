"""What happened in a run and where its time went."""

from __future__ import annotations

from kohya_gui.jobs.timeline import LIMIT, Timeline


def folded(*events: tuple[float, str, dict[str, object]]) -> Timeline:
    """A timeline of events, each (t, kind, fields)."""
    timeline = Timeline()
    for t, kind, fields in events:
        timeline.add({"t": t, "kind": kind, **fields})
    return timeline


def phase(t: float, name: str) -> tuple[float, str, dict[str, object]]:
    return (t, "phase", {"phase": name, "done": 0, "total": 0})


def step(t: float, number: int) -> tuple[float, str, dict[str, object]]:
    return (t, "step", {"step": number})


def save(t: float, number: int, what: str = "weights") -> tuple[float, str, dict[str, object]]:
    return (t, "save", {"step": number, "path": f"/out/{number}", "what": what})


def test_time_goes_to_the_phase_that_was():
    timeline = folded(phase(0, "loading"), phase(5, "caching"), phase(8, "training"), step(10, 1), phase(12, "saving"), save(13, 1), step(15, 2))
    assert timeline.spent == {"loading": 5, "caching": 3, "training": 4, "saving": 3}


def test_the_time_between_two_attempts_is_nobodys():
    timeline = folded(phase(0, "loading"), step(5, 1), step(6, 2), phase(1000, "loading"), (1001, "resume", {"step": 1}), step(1002, 2))
    assert timeline.spent == {"loading": 5 + 2, "training": 1}
    assert [moment.kind for moment in timeline.moments] == ["begun", "trains", "begun", "resumed", "trains"]


def test_after_the_end_no_time_goes_by():
    timeline = folded(phase(0, "loading"), step(2, 1), (3, "done", {"step": 1, "reason": "finished", "exit_code": 0}), (90, "removed", {"path": "x"}))
    assert sum(timeline.spent.values()) == 3


def test_pictures_of_one_step_are_one_moment():
    drawn = [(t, "sample", {"step": 4}) for t in (1.0, 2.0, 3.0)]
    timeline = folded(*drawn, (4.0, "sample", {"step": 8}))
    assert [(moment.step, moment.count) for moment in timeline.moments] == [(4, 3), (8, 1)]


def test_what_is_said_of_each():
    timeline = folded(save(1, 5), save(2, 5, "state"), (3, "validation", {"step": 5, "loss": 0.12345}), (4, "error", {"step": 6, "text": "Out."}))
    assert [(moment.kind, moment.step, moment.text) for moment in timeline.moments] == [
        ("saved", 5, "/out/5"),
        ("state", 5, "/out/5"),
        ("validated", 5, "0.1235"),
        ("failed", 6, "Out."),
    ]


def test_a_long_run_keeps_its_latest_moments():
    timeline = folded(*(save(t, t) for t in range(LIMIT + 5)))
    assert len(timeline.moments) == LIMIT
    assert timeline.moments[-1].step == LIMIT + 4
