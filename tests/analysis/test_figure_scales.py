"""Figures in which values lie close together or far apart, and figures on a dark page."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis.figures.drawn import Drawn
from analysis.figures.heat_map import heat_map
from analysis.figures.pareto import pareto_figure
from analysis.figures.sensitivity import sensitivity_figure, stretched_scale
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from tests.analysis.frames import grid, trials

CLOSE = {"PC": (0.98, 0.975, 0.97), "PQ": (0.96, 0.5, 0.1)}


def of(heights: dict[str, tuple[float, float, float]]) -> pd.DataFrame:
    return configurations(grid(lambda method, levels, place, seed: heights[method][place]))


def heights_of(axes: Axes, *values: float) -> list[float]:
    """Where values are on the vertical axis of a panel, from 0 at the bottom to 1 at the top."""
    points = axes.transData.transform([(1e-2, value) for value in values])
    return [float(y) for _, y in axes.transAxes.inverted().transform(points)]


def test_a_point_is_visible_where_methods_differ_by_it() -> None:
    axes = sensitivity_figure(of(CLOSE)).axes[0]
    assert "stretched above 90" in axes.get_ylabel()
    bottom, bend, below, above = heights_of(axes, 10, 90, 97, 98)
    assert above - below > 0.06  # of a hundred points, on a linear axis, it would be 0.01
    assert 0 < bottom < 0.1
    assert bend == pytest.approx(0.4, abs=0.05)
    assert {90, 96, 98} <= set(axes.get_yticks())
    assert list(axes.lines[0].get_ydata()) == pytest.approx([96, 50, 10])


def test_a_scale_is_linear_if_no_methods_are_close_or_none_is_far() -> None:
    apart = {"PC": (0.98, 0.5, 0.3), "PQ": (0.4, 0.2, 0.1)}
    alike = {"PC": (0.98, 0.975, 0.97), "PQ": (0.96, 0.95, 0.94)}
    for heights in (apart, alike):
        axes = sensitivity_figure(of(heights)).axes[0]
        assert axes.get_yscale() == "linear"
        assert "stretched" not in axes.get_ylabel()


@pytest.mark.parametrize("better_is_up", [True, False])
def test_the_scale_and_its_inverse(better_is_up: bool) -> None:
    sign = 1 if better_is_up else -1
    panels = [sign * np.array([98.0, 97.0, 8.0]), sign * np.array([97.5, 97.4, 60.0])]
    scale = stretched_scale(panels, 6.0, better_is_up=better_is_up)
    assert scale is not None
    assert scale.bend == sign * 90
    assert (scale.low, scale.high) == ((8, 98) if better_is_up else (-98, -8))
    values = sign * np.linspace(0, 100, 33)
    assert scale.backward(scale.forward(values)) == pytest.approx(values)
    steps = np.diff(scale.forward(sign * np.array([97.0, 98.0, 60.0, 61.0])))[[0, 2]]
    assert steps == pytest.approx([sign * scale.stretch, sign])
    assert stretched_scale([np.array([])], 6.0, better_is_up=better_is_up) is None


def test_a_network_in_full_precision_does_not_push_the_others_together() -> None:
    rows = [
        (method, levels, None, seed, accuracy)
        for method, levels, accuracy in (
            ("FP", "", 0.98),
            ("BC", "binary", 0.9),
            ("BC", "ternary", 0.92),
        )
        for seed in (0, 1)
    ]
    sizes = {"": 60_000.0, "binary": 5_156.0, "ternary": 6_240.0}
    table = select(configurations(trials(rows)))
    table = table.assign(file_bytes=table["set"].map(sizes))
    (axes,) = pareto_figure(table, by="file_bytes").axes
    assert [bar[0].get_xdata()[0] for bar in axes.containers] == [5156, 6240]
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["5,156\nbinary", "6,240\nternary"]
    (line,) = [line for line in axes.lines if line.get_label() == "FP: 60,000 bytes"]
    assert line.get_ydata()[0] == pytest.approx(98)
    assert axes.get_xlim()[1] < 10_000
    (axes,) = pareto_figure(
        table.assign(file_bytes=1000 * table["file_bytes"]), by="file_bytes"
    ).axes
    assert axes.get_xlabel() == "kilobytes of the exported file"
    assert axes.get_xticklabels()[0].get_text() == "5,156\nbinary"


def test_a_figure_in_a_page_has_the_colours_of_its_theme() -> None:
    both = {"PC": (0.98, 0.975, 0.97), "PQ": (0.1, 0.1, 0.1)}
    figure = heat_map(select(of(both)))
    drawn = Drawn("name", "Section", "Caption.", figure)
    assert "#ffffff" in drawn.svg
    inline = drawn.inline_svg
    assert inline.startswith("<svg")
    assert "#000000" not in inline
    assert "var(--ink)" in inline
    # Backgrounds follow the page, and text on coloured cells does not.
    assert len(re.findall(r"<path [^>]*fill: var\(--paper\)", inline)) >= 2
    assert not re.search(r"<path [^>]*fill: #ffffff", inline)
    assert re.search(r"<g style=\"fill: #ffffff\"", inline)
    assert re.search(r"<g style=\"fill: #111111\"", inline)
