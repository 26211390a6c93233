"""The numbers that figures show are those of their tables, and can be read."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from analysis.figures.front import front_figure
from analysis.figures.heat_map import heat_map
from analysis.figures.histograms import histogram_figure
from analysis.figures.pareto import pareto_figure
from analysis.figures.pull_map import pull_map, pull_settings
from analysis.figures.sensitivity import sensitivity_figure
from analysis.figures.training.curves import flip_curves, learning_curves
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from analysis.statistics.sensitivity import sensitivity
from tests.analysis.frames import EXAMPLE, Row, trials
from tests.analysis.test_figures import history_of, with_theta


def lightness(colour: object) -> float:
    return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))  # type: ignore[arg-type]


def assert_cells(axes: Axes, lowest: float, highest: float) -> None:
    """The texts are the values, the colours span the given values, and texts differ from them."""
    (image,) = axes.images
    values = np.ma.filled(image.get_array(), np.nan)  # type: ignore[arg-type]
    assert image.get_clim() == pytest.approx((lowest, highest))
    texts = [text for text in axes.texts if text.get_transform() == axes.transData]
    assert len(texts) >= np.isfinite(values).sum()
    for text in texts:
        x, y = map(int, text.get_position())
        value = values[y, x]
        if np.isnan(value):
            assert text.get_text() == "–"
            assert text.get_color() == "black"
            continue
        assert float(text.get_text().rstrip("*")) == pytest.approx(value, abs=0.051)
        cell = image.cmap(image.norm(value))
        assert abs(lightness(text.get_color()) - lightness(cell[:3])) > 0.3


def test_cells_of_the_heat_map() -> None:
    rows: list[Row] = [
        (method, name, 0.1, seed, accuracy + 0.01 * seed)
        for method, name, accuracy in (
            ("PC", "binary", 0.9), ("PQ", "binary", 0.5), ("PC", "ternary", 0.2)
        )
        for seed in (0, 1)
    ]  # fmt: skip
    small = trials(rows)
    large = trials(rows, model="ResNet20").assign(test_accuracy=small["test_accuracy"] / 2)
    large[["trial_id", "configuration_id"]] += "r"
    for frame, lowest, settings in ((small, 20.5, 1), (pd.concat([small, large]), 10.25, 2)):
        figure = heat_map(select(configurations(frame)))
        *cells, bar = figure.axes
        assert len(cells) == settings
        for axes in cells:
            assert_cells(axes, lowest, 90.5)
            assert [label.get_text() for label in axes.get_xticklabels()] == ["binary", "ternary"]
        assert bar.get_ylabel() == "test accuracy (%)"
        assert figure.get_figheight() > 0.26 * 2


def test_cells_of_the_map_over_theta() -> None:
    table = configurations(with_theta({"0": [0.8, 0.9], "0.5": [0.3, 0.7], "1": [0.5, 0.9]}))
    ((_, setting),) = pull_settings(table)
    figure = pull_map(setting, sensitivity(table))
    assert_cells(figure.axes[0], 30, 90)
    assert figure.axes[-1].get_ylabel() == "test accuracy (%)"
    # A theta with a single rho0 has no range.
    fewer = table[(table["axis.theta"] != "1") | (table["rho0"] == 1)]
    assert not list(pull_settings(fewer))


def test_lines_and_bands_over_rho0() -> None:
    rows: list[Row] = [("PC", "binary", rho0, seed, 0.97 + 0.02 * seed) for rho0 in (1e-3, 1e3)
                       for seed in (0, 1)]  # fmt: skip
    rows += [("PC", "binary", 0.0, seed, 0.5 + 0.1 * seed) for seed in (0, 1)]
    rows += [("FP", "", None, 0, 0.95)]
    (axes,) = sensitivity_figure(configurations(trials(rows))).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["FP"].get_ydata()) == [95, 95]
    assert list(lines["PC"].get_ydata()) == pytest.approx([55, 98, 98])
    assert axes.get_xscale() == "symlog"
    assert axes.xaxis.get_transform().linthresh == 1e-3  # type: ignore[attr-defined]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]  # type: ignore[index]
    spread = 100 * 0.1 / np.sqrt(2)
    assert heights.min() == pytest.approx(55 - spread)
    assert heights.max() == pytest.approx(98 + 100 * 0.02 / np.sqrt(2))
    wide: list[Row] = [
        ("PC", "binary", rho0, seed, 0.01 + 0.99 * seed) for rho0 in (1, 2) for seed in (0, 1)
    ]
    beyond = trials(wide)
    (axes,) = sensitivity_figure(configurations(beyond)).axes
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]  # type: ignore[index]
    assert (heights.min(), heights.max()) == (0, 100)


def test_points_and_bars_of_the_pareto_figure() -> None:
    table = select(configurations(trials(EXAMPLE)))
    (axes,) = pareto_figure(table.assign(bits=1.0)).axes
    bars = {bar.get_label(): bar for bar in axes.containers}
    assert bars["PC"][0].get_ydata()[0] == pytest.approx(94)  # type: ignore[index]
    (segments,) = bars["PC"][2]  # type: ignore[index]
    low, high = segments.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((94 - np.sqrt(2), 94 + np.sqrt(2)))
    (segments,) = bars["PQ"][2]  # type: ignore[index]  # a single seed
    assert np.ptp(segments.get_segments()[0][:, 1]) == 0


def test_bands_of_curves_span_the_seeds() -> None:
    frame = trials(EXAMPLE)
    history = history_of(frame)
    is_first = history["trial_id"].isin(frame.loc[frame["seed"] == 0, "trial_id"])
    history["validation_accuracy_hard"] = np.where(is_first, 0.4, 0.6)
    history["flip_rate"] = np.where(is_first, 0.01, 0.03)
    selected = select(configurations(frame))
    for draw, mean, ends in (
        (learning_curves, 50, (40, 60)),
        (flip_curves, 2, (1, 3)),
    ):
        (axes,) = draw(selected, frame, history).axes
        line = {line.get_label(): line for line in axes.lines}["PC"]
        assert list(line.get_ydata()) == pytest.approx([mean] * 3)
        heights = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]  # type: ignore[index]
        assert (max(map(np.max, heights)), min(map(np.min, heights))) == pytest.approx(ends[::-1])


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_front_of_two_objectives(direction: str) -> None:
    """The step from a point to the next has the value that is reached at the cost."""
    table = pd.DataFrame(
        {
            "label": ["", "L", "", "", ""],
            "on_front": [True, True, False, False, True],
            "objective.test accuracy": [0.6, 0.9, 0.1, np.nan, 0.8],
            "objective.bits": [1.0, 3.0, 2.0, 1.0, 2.0],
        }
    )
    accuracy = replace(ACCURACY, name="test accuracy", label="test accuracy")
    bits = Metric("bits", "bits", higher_is_better=direction == "maximize")
    loss = Metric("loss", "loss", higher_is_better=False)
    figure = front_figure(table, [accuracy, bits])
    whole, around = figure.axes
    lines = {line.get_label(): line for line in whole.lines}
    assert list(lines["others"].get_ydata()) == pytest.approx([60, 90, 10, 80])
    assert list(lines["Pareto front"].get_xdata()) == [1, 2, 3]
    assert list(lines["Pareto front"].get_ydata()) == pytest.approx([60, 80, 90])
    assert list(lines["L"].get_ydata()) == pytest.approx([90])
    (step,) = (line for line in whole.lines if line.get_drawstyle() != "default")
    assert step.get_drawstyle() == ("steps-post" if direction == "minimize" else "steps-pre")
    assert around.get_ylim() == pytest.approx((60 - 15, 90 + 15))
    assert (whole.get_ylabel(), whole.get_xlabel()) == ("test accuracy (%)", "bits")
    point = front_figure(table[:1], [accuracy, bits]).axes[1]
    assert point.get_ylim() == pytest.approx((60 - 0.6, 60 + 0.6))
    losses = table.rename(columns={"objective.test accuracy": "objective.loss"})
    losses["objective.loss"] = 0.0
    flat = front_figure(losses, [loss, bits])
    assert flat.axes[1].get_ylim() == (-1, 1)
    assert flat.axes[0].get_ylabel() == "loss"


def test_shades_of_histograms_are_the_fractions() -> None:
    selected = select(configurations(trials(EXAMPLE)))
    chosen = selected.loc[selected["method"] == "PC", "configuration_id"].iloc[0]
    fractions = {1: [0.25, 0.0, 0.75], 2: [0.5, 0.25, 0.25]}
    histograms = pd.concat(
        pd.DataFrame(
            {
                "configuration_id": chosen,
                "trial_id": "t4",
                "epoch": epoch,
                "weight": [-1.0, 0.0, 1.0],
                "fraction": values,
            }
        )
        for epoch, values in fractions.items()
    )
    axes, bar = histogram_figure(selected, histograms).axes
    (mesh,) = axes.collections
    expected = [[0.25, 0.5], [1e-4, 0.25], [0.75, 0.25]]  # from the lowest weight up
    np.testing.assert_allclose(np.asarray(mesh.get_array()), expected)
    assert mesh.get_clim() == (1e-4, 1)
    assert bar.get_ylabel() == "fraction of the weights"
    (axes, _) = histogram_figure(selected, histograms[histograms["epoch"] == 2]).axes
    (mesh,) = axes.collections
    edges = mesh.get_coordinates()[0, :, 0]  # type: ignore[attr-defined]
    assert (edges[0], edges[-1]) == (1.5, 2.5)
    np.testing.assert_allclose(np.asarray(mesh.get_array())[:, 0], [0.5, 0.25, 0.25])
