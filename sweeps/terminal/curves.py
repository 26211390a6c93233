"""Learning curves of a trial as text for a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotext

from quantlab.training.records import measured
from quantlab.update_rules import Point

_ROWS = 12
_MOST_TICKS = 6


def curves(epochs: Sequence[Mapping[str, Any]], metric: str, *, width: int) -> list[str]:
    """Draw the metric on validation images and the training loss over the epochs.

    Args:
        epochs: the history of a trial, see `sweeps.storage.records.values_of`.
        metric: name of the metric, such as ``accuracy``.
        width: columns of the terminal.

    Returns:
        A text of several lines for each of both that was measured in two epochs or more.
    """
    names = {point: f"validation_{measured(metric, point)}" for point in Point}
    lines = {
        point.name.lower(): _points(epochs, names[point]) for point in (Point.PROXIMAL, Point.HARD)
    }
    if lines["proximal"] == lines["hard"]:
        lines = {"": lines["hard"]}
    drawn = [
        _drawn(f"validation {metric.replace('_', ' ')}", lines, width),
        _drawn("training loss", {"": _points(epochs, "train_loss")}, width),
    ]
    return [text for text in drawn if text]


def main_metric_of(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Return the main metric of a history: accuracy, or else the first one; empty without one."""
    ending = f"_{Point.HARD.name.lower()}"
    names = [
        name.removeprefix("validation_").removesuffix(ending)
        for epoch in epochs[:1]
        for name in epoch
        if name.startswith("validation_") and name.endswith(ending)
    ]
    return "accuracy" if "accuracy" in names else next(iter(names), "")


def _points(epochs: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [
        (epoch["epoch"], epoch[name])
        for epoch in epochs
        if isinstance(epoch.get(name), int | float) and math.isfinite(epoch[name])
    ]


def _drawn(title: str, lines: Mapping[str, list[tuple[int, float]]], width: int) -> str:
    lines = {label: points for label, points in lines.items() if len(points) > 1}
    if not lines:
        return ""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, _ROWS)
    plotext.title(f"{title} by epoch")
    for (label, points), marker in zip(lines.items(), ("braille", "x"), strict=False):
        xs, ys = zip(*points, strict=True)
        plotext.plot(xs, ys, label=label or None, marker=marker)
    first = min(points[0][0] for points in lines.values())
    last = max(points[-1][0] for points in lines.values())
    step = max(1, math.ceil((last - first) / (_MOST_TICKS - 1)))
    plotext.xticks([*range(first, last - step // 2, step), last])
    text: str = plotext.uncolorize(plotext.build())
    return "\n".join(line.rstrip() for line in text.splitlines())
