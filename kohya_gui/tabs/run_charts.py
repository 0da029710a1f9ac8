"""Curves of a run as pictures and as numbers."""

from __future__ import annotations

from kohya_gui.chart import Frame, Series, legend, line_chart, thinned
from kohya_gui.jobs.monitor import RunView
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.run_parts import group_words, loss_words
from kohya_gui.text import count, number, say

CHART_POINTS = 240
RATE_POINTS = 80
TABLE_ROWS = 12
VALIDATION = "validation"
"""Class of the line of the validation loss."""


def charts(view: RunView) -> Markup:
    """Loss, raw, smoothed and of validation, with the learning rates below; saves and samples are marked."""
    points = view.curve.points
    raw = thinned([(point.step, point.loss) for point in points], CHART_POINTS)
    smooth = thinned([(point.step, point.avg_loss) for point in points], CHART_POINTS)
    measured = thinned([(found.step, found.loss) for found in view.validations], CHART_POINTS)
    series = [Series(say("loss"), raw, "raw"), Series(say("average"), smooth, "smooth"), Series(say("validation"), measured, VALIDATION, dots=True)]
    end = float(view.total or view.step) or None
    marks = [(save.step, say("saved at step {step}", step=count(save.step))) for save in view.saves.values() if save.what == "weights"]
    drawn = sorted({sample.step for sample in view.samples if sample.step})
    ticks = [(step, say("samples drawn at step {step}", step=count(step))) for step in drawn]
    frame = Frame(x_max=end, marks=[mark for mark in marks if mark[0] < view.total], ticks=ticks)
    keys = legend(series, [*([("saved", say("saved"))] if frame.marks else ()), *([("drawn", say("samples"))] if ticks else ())])
    return join(
        tag("div", tag("h2", say("Loss")), keys, class_="card-head"),
        line_chart(series, frame, title=_loss_words(view)),
        _lowest(view),
        _rates(view, end),
    )


def curve_table(view: RunView) -> Markup:
    """The curves as numbers."""
    points = view.curve.points
    stride = max(1, len(points) // TABLE_ROWS)
    rows = [
        tag(
            "tr",
            tag("td", count(point.step)),
            tag("td", number(point.loss, 4)),
            tag("td", number(point.avg_loss, 4)),
            tag("td", loss_words(_validation_at(view, point.step, stride))),
            tag("td", " / ".join(number(rate) for rate in point.lr.values())),
        )
        for point in points[stride - 1 :: stride]
    ]
    heads = [tag("th", word, scope="col") for word in (say("Step"), say("Loss"), say("Average"), say("Validation"), say("Learning rate"))]
    if not rows:
        return tag("p", say("Nothing measured yet."), class_="soft")
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="rows num")


def _validation_at(view: RunView, step: int, stride: int) -> float | None:
    """The newest measurement that belongs to a row of the table."""
    return next((found.loss for found in reversed(view.validations) if step - stride < found.step <= step), None)


def _rates(view: RunView, end: float | None) -> Markup | None:
    points = view.curve.points
    if not points:
        return None
    rates = [
        Series(group_words(group), thinned([(point.step, point.lr.get(group, 0.0)) for point in points], RATE_POINTS), f"rate-{index % 4}")
        for index, group in enumerate(points[-1].lr)
    ]
    chart = line_chart(rates, Frame(height=110, x_max=end, from_zero=True), title=say("Learning rate by step"))
    return join(tag("div", tag("h3", say("Learning rate")), legend(rates), class_="card-head"), chart)


def _lowest(view: RunView) -> Markup | None:
    """Where the model did best on pictures that it does not learn from."""
    if len(view.validations) < 2:
        return None
    best = min(view.validations, key=lambda found: found.loss)
    return tag("p", say("Lowest validation loss: {loss} at step {step}.", loss=loss_words(best.loss), step=count(best.step)), class_="small soft num")


def _loss_words(view: RunView) -> str:
    return say(
        "Loss by step: {loss} at step {step}, {average} on average", loss=number(view.loss), step=count(view.step), average=number(view.avg_loss)
    )
