"""Every figure of a report, in its order."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from analysis.figures.curves import gap_curves, learning_curves
from analysis.figures.drawn import Drawn
from analysis.figures.heat_map import heat_map
from analysis.figures.histograms import histogram_figure
from analysis.figures.maps import maps_figure
from analysis.figures.pareto import BITS, axis_of_bits, pareto_figure
from analysis.figures.sensitivity import sensitivity_figure
from analysis.figures.style import drawn, setting_name, settings_of
from analysis.findings import Findings
from analysis.labels import names_of, renamed
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING
from analysis.tables.accuracy import ACCURACY, OVER_RHO0

SETTINGS_A_PAGE = 4
"""Rows of panels that can be printed without being made smaller."""
TRAINING = "While training"
MAPS = "The proximal maps"
"""Sections of a report that have figures only."""

_MAPS = {
    "examples": "L with horizontal shift ρ and vertical shift ϱ on {-1, 0, 1}, as in the "
    "ProxConnect paper's Figure 1.",
    "maps": "What each method's quantizer does with a weight while it is annealed, at its chosen "
    "ρ0, in the first setting that has it. PQ and rPC apply theirs to the same weight again and "
    "again, so that small shifts add up.",
}


def all_figures(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    """The figures for which there is something to show. To be used within `style.for_print`."""
    names = drawn(names_of(measurements.trials))
    measurements = replace(
        measurements,
        trials=renamed(measurements.trials, names),
        maps=renamed(measurements.maps, names),
    )
    findings = replace(
        findings,
        configurations=renamed(findings.configurations, names),
        selected=renamed(findings.selected, names),
    )
    for figure in _drawn(measurements, findings):
        figure.figure.draw_without_rendering()
        figure.figure.set_layout_engine("none")  # it is laid out now; each file would do it again
        yield figure


def _drawn(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    trials, selected = measurements.trials, findings.selected
    history, histograms = measurements.history, measurements.histograms
    if selected.empty:
        return
    pages = _pages(findings.configurations, selected)
    for suffix, table, _ in pages:
        yield Drawn(
            f"sensitivity{suffix}",
            OVER_RHO0,
            "Lines: mean test accuracy over seeds; bands: one standard deviation; dashed: methods "
            "without ρ0.",
            sensitivity_figure(table, trials["method"]),
        )
    for suffix, _, page in pages:
        if (page["set"] != "").any():
            yield Drawn(
                f"heat_map{suffix}",
                ACCURACY,
                "Mean test accuracy, each method at its chosen ρ0; *: fewer seeds than there are.",
                heat_map(page),
            )
        if (by := axis_of_bits(page)) is not None:
            full = " (those that are not quantized have 32)" if by == "network_bits" else ""
            yield Drawn(
                f"pareto{suffix}",
                ACCURACY,
                f"Accuracy against {BITS[by]}{full}, each method at its chosen ρ0; bars: one "
                "standard deviation; the line joins what nothing with as few bits beats. Methods "
                "of equal bits are drawn a little beside one another.",
                pareto_figure(page, trials["method"], by=by),
            )
    for suffix, _, page in pages:
        if history["validation_accuracy_hard"].notna().any():
            yield Drawn(
                f"learning_curves{suffix}",
                TRAINING,
                "Accuracy of the hard-quantized weights on validation images, each method at its "
                "chosen ρ0; bands: from the lowest to the highest seed; dotted: hard quantization, "
                "after which only batch normalization and biases are trained.",
                learning_curves(page, trials, history),
            )
        if (history["quantization_gap"] > 0).any():
            yield Drawn(
                f"gap{suffix}",
                TRAINING,
                "How far the weights are from the quantization set.",
                gap_curves(page, trials, history),
            )
    settings = settings_of(
        selected[selected["configuration_id"].isin(histograms["configuration_id"])]
    )
    for number, (key, page) in enumerate(settings, start=1):
        yield Drawn(
            "weights" + (f"_{number}" if len(settings) > 1 else ""),
            TRAINING,
            "The weights w = P(w*) on their way to the quantization set, one trial a method at its "
            f"chosen ρ0: {setting_name(key)}.",
            histogram_figure(page, histograms),
        )
    for name, maps in measurements.maps.groupby("figure", sort=False):
        yield Drawn(str(name), MAPS, _MAPS.get(str(name), ""), maps_figure(maps))


def _pages(
    configurations: pd.DataFrame, selected: pd.DataFrame
) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Ending of a name, configurations and selected ones, of so many settings as fit a page."""
    keys = list(dict.fromkeys(selected[[*SETTING]].itertuples(index=False, name=None)))
    pages = []
    for start in range(0, len(keys), SETTINGS_A_PAGE):
        wanted = set(keys[start : start + SETTINGS_A_PAGE])
        suffix = f"_{start // SETTINGS_A_PAGE + 1}" if len(keys) > SETTINGS_A_PAGE else ""
        parts = [
            table[[key in wanted for key in table[[*SETTING]].itertuples(index=False, name=None)]]
            for table in (configurations, selected)
        ]
        pages.append((suffix, parts[0], parts[1]))
    return pages
