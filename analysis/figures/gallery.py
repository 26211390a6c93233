"""Every figure of a report, in its order."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure

from analysis.accuracy_tables import ACCURACY, OVER_RHO0
from analysis.figures.curves import gap_curves, learning_curves
from analysis.figures.heat_map import heat_map
from analysis.figures.histograms import histogram_figure
from analysis.figures.maps import maps_figure
from analysis.figures.pareto import pareto_figure
from analysis.figures.sensitivity import sensitivity_figure
from analysis.findings import Findings
from analysis.schema import Measurements

TRAINING = "While training"
MAPS = "The proximal maps"
"""Sections of a report that have figures only."""

_MAPS = {
    "examples": "L with horizontal shift ρ and vertical shift ϱ on {-1, 0, 1}, as in the "
    "ProxConnect paper's Figure 1.",
    "maps": "What each method's quantizer does with a weight while it is annealed, at its chosen "
    "ρ0. PQ and rPC apply theirs to the same weight again and again, so that small shifts add up.",
}


@dataclass(frozen=True)
class Drawn:
    """A figure and where it goes."""

    name: str
    """Of its files."""
    section: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The figure as an SVG file; the same trials give the same text."""
        text = io.StringIO()
        self.figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()


def all_figures(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    """The figures for which there is something to show. To be used within `style.for_print`."""
    for drawn in _drawn(measurements, findings):
        drawn.figure.draw_without_rendering()
        drawn.figure.set_layout_engine("none")  # it is laid out now; each file would do it again
        yield drawn


def _drawn(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    trials, selected = measurements.trials, findings.selected
    if selected.empty:
        return
    yield Drawn(
        "sensitivity",
        OVER_RHO0,
        "Lines: mean test accuracy over seeds; bands: one standard deviation; dashed: methods "
        "without ρ0.",
        sensitivity_figure(findings.configurations),
    )
    if (selected["set"] != "").any():
        yield Drawn(
            "heat_map",
            ACCURACY,
            "Mean test accuracy, each method at its chosen ρ0.",
            heat_map(selected),
        )
    if "bits" in selected:
        yield Drawn(
            "pareto",
            ACCURACY,
            "Accuracy against the bits of a weight, each method at its chosen ρ0; bars: one "
            "standard deviation; the line joins what nothing with as few bits beats.",
            pareto_figure(selected),
        )
    if measurements.history["validation_accuracy_hard"].notna().any():
        yield Drawn(
            "learning_curves",
            TRAINING,
            "Accuracy of the hard-quantized weights on validation images, each method at its "
            "chosen ρ0; bands: from the lowest to the highest seed; dotted: hard quantization, "
            "after which only batch normalization and biases are trained.",
            learning_curves(selected, trials, measurements.history),
        )
    if (measurements.history["quantization_gap"] > 0).any():
        yield Drawn(
            "gap",
            TRAINING,
            "How far the weights are from the quantization set.",
            gap_curves(selected, trials, measurements.history),
        )
    if len(measurements.histograms):
        yield Drawn(
            "weights",
            TRAINING,
            "The weights w = P(w*) on their way to the quantization set, one trial a method at its "
            "chosen ρ0.",
            histogram_figure(selected, measurements.histograms),
        )
    for name, maps in measurements.maps.groupby("figure", sort=False):
        yield Drawn(str(name), MAPS, _MAPS.get(str(name), ""), maps_figure(maps))
