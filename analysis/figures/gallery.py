"""All figures of a report, in its order."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from analysis.figures.comparison.profiles import profile_figure
from analysis.figures.comparison.tuning_curves import tuning_curves
from analysis.figures.drawn import Drawn
from analysis.figures.emphasis import note_of
from analysis.figures.heat_map import heat_map, note_on_numbers, numbered
from analysis.figures.histograms import histogram_figure
from analysis.figures.maps import maps_figure
from analysis.figures.pareto import BITS, axis_of_bits, has_size, pareto_figure
from analysis.figures.pull_map import pull_map, pull_settings
from analysis.figures.sensitivity import sensitivity_figure
from analysis.figures.style import drawable_labels, freeze_layout, setting_name, settings_of
from analysis.figures.training.curves import (
    decay_figure,
    decay_rows,
    distance_curves,
    error_of,
    flip_curves,
    gap_curves,
    learning_curves,
    loss_curves,
)
from analysis.findings import Findings
from analysis.labels import names_of, renamed
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING
from analysis.tables.accuracy import section, section_over_rho0
from analysis.tables.across_settings import ACROSS, scale_note
from analysis.tables.tuning_cost import TUNING
from analysis.tables.verdicts import spans_tried

SETTINGS_A_PAGE = 4
"""Rows of panels that fit on a printed page."""
MOST_IN_TABLE = 3
"""Up to this number of configurations, the table of what tuning costs says all that curves do."""
TRAINING = "Course of training"
MAPS = "The proximal maps"
"""Sections of a report that have only figures."""

_MAPS = {
    "examples": "The quantizer L with horizontal shift ρ and vertical shift ϱ on {-1, 0, 1}, as in "
    "Figure 1 of the ProxConnect paper.",
    "maps": "The proximal map of each method during annealing, at its chosen ρ0. It is shown for "
    "the first setting that has the method. PQ and rPC apply theirs repeatedly to the same "
    "weight, so that small shifts add up. With a scale, w* and w are in the coordinates of the "
    "set, before the levels are placed.",
}


def all_figures(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    """The figures for which there are measurements, to be used within `style.for_print`.

    Args:
        measurements: the trials, and the optional tables.
        findings: result of `findings.analyse`.
    """
    names = drawable_labels(names_of(measurements.trials))
    measurements = replace(
        measurements,
        trials=renamed(measurements.trials, names),
        maps=renamed(measurements.maps, names),
    )
    findings = replace(
        findings,
        configurations=renamed(findings.configurations, names),
        selected=renamed(findings.selected, names),
        sensitivity=renamed(findings.sensitivity, names),
        tuning_cost=renamed(findings.tuning_cost, names),
        performance_profiles=renamed(findings.performance_profiles, names),
    )
    for figure in _drawn(measurements, findings):
        freeze_layout(figure.figure)
        note = note_of(figure.figure)
        yield replace(figure, caption=f"{figure.caption} {note}") if note else figure


def _drawn(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    trials, selected, metric = measurements.trials, findings.selected, findings.metric
    history, histograms = measurements.history, measurements.histograms
    methods = trials["method"].unique()
    if selected.empty:
        return
    pages = _pages(findings.configurations, selected)
    for suffix, table, _ in pages:
        if table["rho0"].isna().all():
            continue
        yield Drawn(
            f"sensitivity{suffix}",
            section_over_rho0(metric),
            f"Test {metric.label} over ρ0. Lines are means over seeds, and bands one standard "
            "deviation. Methods without ρ0 are dashed. Where good methods are close to each other, "
            "the axis is stretched from a dotted line on. " + spans_tried(findings),
            sensitivity_figure(table, methods, metric, margin=findings.margin),
        )
    maps = list(pull_settings(findings.configurations))
    for number, (key, setting) in enumerate(maps, start=1):
        yield Drawn(
            "pull" + (f"_{number}" if len(maps) > 1 else ""),
            section_over_rho0(metric),
            f"Test {metric.label} over θ and ρ0: {setting_name(key)}. Steps start from "
            f"(1 - θ) w* + θ w. A star marks cells in which some seeds have no {metric.label}. "
            "Beside each map is "
            "the range over ρ0 at each θ; lines end at its upper limit, by "
            + (
                "simultaneous 95 % intervals."
                if findings.decisions.empty
                else "the 95 % intervals of all looks together."
            ),
            pull_map(setting, findings.sensitivity, metric),
        )
    for suffix, _, page in pages:
        if (page["set"] != "").any():
            emphasis = numbered(page, metric)
            yield Drawn(
                f"heat_map{suffix}",
                section(metric),
                f"Mean test {metric.label} of each method at its chosen ρ0. A star marks cells in "
                f"which some seeds have no {metric.label}.{note_on_numbers(emphasis)}",
                heat_map(page, metric, emphasis),
            )
        if (by := axis_of_bits(page)) is not None:
            full = " Parameters that are not quantized have 32." if by == "network_bits" else ""
            yield Drawn(
                f"pareto{suffix}",
                section(metric),
                f"Test {metric.label} against {BITS[by]}, each method at its chosen ρ0.{full} "
                "Bars are one standard deviation, and the line is the Pareto front. Points of one "
                "size are shifted sideways so that they do not overlap. Much larger networks in "
                f"full precision are dashed lines.{_without_size(page, by)}",
                pareto_figure(page, methods, metric, by=by),
            )
    yield from _tuning(measurements, findings)
    if not findings.performance_profiles.empty:
        yield Drawn(
            "performance_profiles",
            ACROSS,
            "Performance profiles: the share of the runs of all tasks whose score is above a "
            f"number. Bands are 95 % intervals. {scale_note(findings)}",
            profile_figure(findings.performance_profiles, methods),
        )
    for suffix, _, page in pages:
        if history[metric.column_at("hard")].notna().any():
            yield Drawn(
                f"learning_curves{suffix}",
                TRAINING,
                f"Validation {metric.label} of the hard weights during training, each method at "
                "its chosen ρ0. Lines are means over seeds, and bands span the lowest to the "
                "highest seed. The dotted line marks hard quantization, after which only "
                "parameters in "
                "full precision are trained.",
                learning_curves(page, trials, history, metric),
            )
        if history["train_loss"].notna().any():
            yield Drawn(
                f"loss{suffix}",
                TRAINING,
                "Training loss, each method at its chosen ρ0. Lines are means over seeds, and "
                "bands span the lowest to the highest seed.",
                loss_curves(page, trials, history, metric),
            )
        if (history["quantization_gap"] > 0).any():
            yield Drawn(
                f"gap{suffix}",
                TRAINING,
                "Distance of the weights from the quantization set: root mean square of w − "
                "P_Q(w*). Lines are means over seeds, and bands span the lowest to the highest "
                "seed.",
                gap_curves(page, trials, history, metric),
            )
        if "latent_distance" in history and (history["latent_distance"] > 0).any():
            yield Drawn(
                f"distance{suffix}",
                TRAINING,
                "Mean distance of the hard weights w_b from the latent weights w_r. Where steps "
                "start from w, it is the distance over which the last step was rounded. Lines are "
                "means over seeds, and bands span the lowest to the highest seed.",
                distance_curves(page, trials, history, metric),
            )
            if decay_rows(page):
                yield Drawn(
                    f"weight_decay{suffix}",
                    TRAINING,
                    f"Effect of weight decay: the validation {error_of(metric).label} with each, "
                    "and the mean distance of the hard weights w_b from the latent weights w_r, as "
                    'in Figure 7 of "Training Quantized Nets". Lines are means over seeds, and '
                    "bands span the "
                    "lowest to the highest seed.",
                    decay_figure(page, trials, history, metric),
                )
        if "flip_rate" in history and (history["flip_rate"] > 0).any():
            yield Drawn(
                f"flips{suffix}",
                TRAINING,
                "Share of the quantized weights whose level after an epoch differs from that "
                "before it. Lines are means over seeds, and bands span the lowest to the highest "
                "seed.",
                flip_curves(page, trials, history, metric),
            )
    settings = settings_of(
        selected[selected["configuration_id"].isin(histograms["configuration_id"])]
    )
    for number, (key, page) in enumerate(settings, start=1):
        yield Drawn(
            "weights" + (f"_{number}" if len(settings) > 1 else ""),
            TRAINING,
            f"Distribution of the weights w = P(w*) during training: {setting_name(key)}. One "
            "trial of each method is shown, at its chosen ρ0.",
            histogram_figure(page, histograms),
        )
    for name, curves in measurements.maps.groupby("figure", sort=False):
        yield Drawn(str(name), MAPS, _MAPS.get(str(name), ""), maps_figure(curves))


def _without_size(page: pd.DataFrame, by: str) -> str:
    """A sentence on the networks that have no place on the axis of sizes; empty if all have one."""
    left_out = page[~has_size(page, by)]
    names = dict.fromkeys((left_out["method"] + " " + left_out["set"]).str.strip())
    return f" Left out, as no size above 0 is known: {', '.join(names)}." if names else ""


def _tuning(measurements: Measurements, findings: Findings) -> Iterator[Drawn]:
    """Curves over the number of tries, if a method has more of them than the table shows.

    They have a page of their own; the table has the numbers of more settings.
    """
    costs, metric = findings.tuning_cost, findings.metric
    if costs.empty:  # some seed of each configuration still runs or waits
        return
    is_one_page = len(settings_of(costs)) <= SETTINGS_A_PAGE
    if is_one_page and costs["configurations"].max() > MOST_IN_TABLE:
        yield Drawn(
            "tuning_cost",
            TUNING,
            f"Expected test {metric.label} of a method of which so many configurations are tried, "
            "drawn at random from its grid. Bands are 95 % intervals over seeds. A dashed line is "
            "a method with a single configuration.",
            tuning_curves(costs, measurements.trials["method"].unique(), metric),
        )


def _pages(
    configurations: pd.DataFrame, selected: pd.DataFrame
) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Suffix of a name, configurations and selected rows of the settings on each page."""
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
