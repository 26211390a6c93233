"""Metrics of either direction: the report of -m, lower is better, is that of m up to the sign."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.columns import history_columns, trials_columns
from analysis.figures.gallery import all_figures
from analysis.figures.style import for_print
from analysis.findings import Findings, analyse
from analysis.metric import ACCURACY, Metric
from analysis.published import NotAccuracyError
from analysis.reading import read_trials
from analysis.report import write_report
from analysis.schema import Measurements, SchemaError
from analysis.statistics.aggregate import configurations, highest
from analysis.statistics.sensitivity import sensitivity
from analysis.tables.findings import all_tables
from analysis.tables.table import Table
from tests.analysis.frames import grid, trials

GAIN = Metric("gain", "gain", higher_is_better=True, least=0.0)
COST = Metric("gain", "gain", higher_is_better=False, most=0.0)
"""The same metric with the other sign."""
BITS = Metric("bits", "cross-entropy", higher_is_better=False, unit="bits", digits=3, least=0.0)
METHODS, SETS = ("FP", "BC", "PQ", "PC"), ("binary", "ternary")


def made(
    seed: int, sign: int, methods: Sequence[str] = METHODS, sets: Sequence[str] = SETS
) -> Measurements:
    """A random grid with all that a report shows, and its negative."""
    rng = np.random.default_rng(seed)
    rows = []
    for method, theta in product(methods, ("0", "1")):
        for levels in ("",) if method == "FP" else sets:
            level = 40 * rng.random()
            for rho0 in (None,) if method in ("FP", "BC") else (0.01, 0.1, 1.0):
                mean = level + rng.choice([0.0, 0.5, 5.0]) * rng.random()
                noise = rng.choice([0.01, 0.5])
                rows += [
                    (method, levels, rho0, run, abs(mean + noise * rng.standard_normal()), theta)
                    for run in range(3)
                ]
    frame = trials([row[:5] for row in rows], file_bytes=1000, chance=sign * 5.0)
    frame["axis.theta"] = [row[5] for row in rows]
    frame["configuration_id"] += frame["axis.theta"]
    frame["file_bytes"] += 7 * frame["method"].map(METHODS.index)
    frame["test_gain"] = sign * frame["test_accuracy"]
    frame["validation_gain"] = sign * (frame["test_accuracy"] + 0.1 * rng.random(len(frame)))
    lost = rng.random(len(frame)) < 0.03
    frame.loc[lost, "state"] = "DIVERGED"
    frame.loc[lost, ["test_gain", "validation_gain"]] = np.nan
    frame = frame.drop(columns=["test_accuracy", "validation_accuracy"])
    epochs = frame[["trial_id", "test_gain"]].merge(pd.DataFrame({"epoch": [1, 2]}), how="cross")
    history = epochs.assign(stage="quantize", validation_gain_hard=epochs["test_gain"])
    history = history.reindex(columns=list(history_columns(GAIN)), fill_value=0.5)
    metric = GAIN if sign > 0 else COST
    return Measurements(frame, history=history, metric=metric)


WORDS = {
    "highest": "best", "lowest": "best", "above": "beyond", "below": "beyond",
    "drop": "loss", "rise": "loss",
}  # fmt: skip


def unsigned(text: str) -> str:
    """The text without signs of numbers, and with one word for either direction."""
    text = re.sub(r"(?<![a-zA-Z0-9.])[-+](?=\d)", "", text)
    return re.sub("|".join(WORDS), lambda word: WORDS[word[0]], text)


def assert_same_tables(gains: Findings, costs: Findings) -> None:
    """Tables of numbers are equal up to the sign; ends of intervals change places."""
    swapped = {"test_t_low": "test_t_high", "low": "high"}
    swapped |= {"test_bootstrap_low": "test_bootstrap_high", "single_low": "single_high"}
    swapped |= {high: low for low, high in swapped.items()}
    signed = {*swapped, "test_mean", "validation_mean", "best", "worst", "chance", "slope"}
    signed |= {"best_of_test", "left_out", "difference", "single", "guess", "full_precision"}
    seen = set()
    for (name, first), (_, second) in zip(gains.tables(), costs.tables(), strict=True):
        for column in first.columns:
            other = second[swapped.get(column, column)]
            if not pd.api.types.is_numeric_dtype(first[column]):
                assert first[column].map(unsigned_cell).equals(other.map(unsigned_cell)), column
                continue
            sign = -1 if column in signed else 1
            seen |= {column} & signed
            np.testing.assert_allclose(
                first[column].to_numpy(float), sign * other.to_numpy(float), rtol=1e-9, atol=1e-9,
                err_msg=f"{name}: {column}",
            )  # fmt: skip
    assert seen == signed


def unsigned_cell(cell: object) -> object:
    return unsigned(cell) if isinstance(cell, str) else cell


def test_guessing_is_as_good_as_chance_says_or_else_as_one_of_the_classes() -> None:
    table = pd.DataFrame({"chance": [0.3, np.nan], "classes": [10.0, 4.0]})
    for guessing in (ACCURACY.scores_of_guessing, ACCURACY.values_of_guessing):
        assert guessing(table).tolist() == [0.3, 0.25]
        assert guessing(table[["classes"]]).tolist() == [0.1, 0.25]
    error = replace(ACCURACY, higher_is_better=False)
    scores = table.assign(chance=-table["chance"])
    assert error.scores_of_guessing(scores).tolist() == [-0.3, -0.25]
    assert error.values_of_guessing(table).tolist() == [0.3, 0.25]
    assert COST.scores_of_guessing(scores).isna().tolist() == [False, True]
    assert COST.scores_of_guessing(table[["classes"]]) is None


@pytest.mark.parametrize("seed", range(2))
def test_the_other_sign_and_direction_give_the_same_report(seed: int) -> None:
    gains, costs = (analyse(made(seed, sign)) for sign in (1, -1))
    assert_same_tables(gains, costs)
    importance = made(seed, 1).importance
    for first, second in zip(
        all_tables(gains, importance), all_tables(costs, importance), strict=True
    ):
        if first.name in ("optimism", "comparisons"):  # numbers: see above
            continue
        if first.name == "configurations":
            first, second = (
                replace(table, body=table.body.drop(columns=["t", "bootstrap"]))
                for table in (first, second)
            )
        assert written(first) == written(second), first.name


def written(table: Table) -> list[str]:
    """Caption, headers and cells."""
    cells = [*table.body.columns, *table.body.to_numpy().flatten()]
    return [unsigned(table.caption), *(unsigned(str(cell)) for cell in cells)]


def test_both_signs_have_the_same_figures() -> None:
    measured = [made(1, sign, ("FP", "PC"), ("binary",)) for sign in (1, -1)]
    with for_print():
        gains, costs = (list(all_figures(own, analyse(own))) for own in measured)
    names = [figure.name for figure in gains]
    assert names == [figure.name for figure in costs]
    assert {"sensitivity", "heat_map", "pareto", "learning_curves", "pull", "loss"} <= set(names)
    highest_gain = measured[0].trials["test_gain"].max()
    for figure in gains:
        if figure.name in ("sensitivity", "learning_curves", "pareto"):  # in the metric's units
            lines = [line for axes in figure.figure.axes for line in axes.get_lines()]
            heights = [np.max(np.asarray(line.get_ydata(), dtype=float)) for line in lines]
            assert 0.3 * highest_gain < max(heights) <= highest_gain
    for first, second in zip(gains, costs, strict=True):
        assert unsigned(first.caption) == unsigned(second.caption)
        sign = 1 if first.name in ("loss", "gap") else -1
        assert_mirrored(first.figure, second.figure, sign)


def assert_mirrored(first: Figure, second: Figure, sign: int) -> None:
    for one, other in zip(first.axes, second.axes, strict=True):
        assert one.get_ylabel() == other.get_ylabel()
        own = 1 if one.get_title() == "range" else sign
        for line, mirrored in zip(one.get_lines(), other.get_lines(), strict=True):
            (x, y), (x_of_other, y_of_other) = (
                np.asarray(item.get_data(), dtype=float) for item in (line, mirrored)
            )
            assert np.allclose(x, x_of_other)
            assert np.allclose(y, own * y_of_other)
        for image, mirrored in zip(one.images, other.images, strict=True):
            colours = [np.asarray(item.to_rgba(item.get_array())) for item in (image, mirrored)]
            assert np.allclose(*colours, atol=0.02)
            assert [unsigned(text.get_text()) for text in one.texts] == [
                unsigned(text.get_text()) for text in other.texts
            ]
            assert [text.get_color() for text in one.texts] == [
                text.get_color() for text in other.texts
            ]


def of_bits(values: dict[float, list[float]], **changes: object) -> pd.DataFrame:
    """Trials of PC with these bits at each rho0."""
    rows = [
        ("PC", "binary", rho0, run, value)
        for rho0, own in values.items()
        for run, value in enumerate(own)
    ]
    frame = trials([(*row[:4], 0.5) for row in rows], **changes)
    bits = [row[4] for row in rows]
    return frame.drop(columns=["test_accuracy", "validation_accuracy"]).assign(
        test_bits=bits, validation_bits=bits
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({0.1: [2.00, 2.01, 2.02], 1.0: [2.01, 2.02, 2.03]}, "stable"),
        ({0.1: [2.00, 2.01, 2.02], 1.0: [2.20, 2.21, 2.22]}, "sensitive"),
        ({0.1: [2.00, 2.01, 2.02], 1.0: [2.01, 2.02, 2.65]}, "sensitive"),  # one collapses
        ({0.1: [2.00, 2.01, 2.02], 1.0: [2.01, 2.02, 2.55]}, "noise"),
        ({0.1: [7.95, 7.96, 7.97], 1.0: [7.96, 7.97, 7.98]}, "fails"),
        ({0.1: [7.95, 7.96, 7.97], 1.0: [7.0, 7.01, 7.02]}, "sensitive"),
    ],
)
def test_verdicts_on_bits(values: dict[float, list[float]], verdict: str) -> None:
    """The margin is 3 % of the best mean, a collapse 30 %; guessing of bytes has 8 bits."""
    findings = analyse(Measurements(of_bits(values, chance=8.0), metric=BITS))
    assert findings.sensitivity["verdict"].tolist() == [verdict]
    (row,) = findings.verdicts.to_dict("records")
    best = min(np.mean(own) for own in values.values())
    if verdict == "fails":
        text = (
            f"the lowest mean test cross-entropy is {best:.2f} bits, and guessing gives 8.00 bits"
        )
        assert row["reason"] == f"No ρ0 that was tried works: {text}."
    else:
        assert row["reason"].startswith("Test cross-entropy changes by up to ")
    assert findings.selected["test_mean"].tolist() == [pytest.approx(best)]


def test_an_upper_limit_is_cut_at_the_span_of_the_metric() -> None:
    frame = of_bits({0.1: [1.0, 5.0], 1.0: [2.0, 9.0]})
    for most, is_cut in ((None, False), (10.0, True)):
        metric = replace(BITS, most=most)
        (upper,) = analyse(Measurements(frame, metric=metric)).sensitivity["range_upper"]
        assert (upper == 10.0) == is_cut
        assert upper >= 10.0


def test_a_whole_report_of_bits(tmp_path: Path) -> None:
    values = {0.1: [2.0, 2.1], 1.0: [2.5, 2.6]}
    frame = of_bits(values, chance=8.0, test_perplexity=4.0)
    further = (Metric("perplexity", "perplexity", higher_is_better=False, digits=2),)
    given = Measurements(frame, metric=BITS, further=further)
    with pytest.raises(NotAccuracyError, match=r"are accuracies; .* by their cross-entropy cannot"):
        analyse(given, paper="proxconnect")
    formats = ("markdown", "latex", "csv", "parquet", "html")
    write_report(given, tmp_path, title="Bits", facts={}, formats=formats)
    text = (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    for part in (
        "Test cross-entropy (bits) over ρ0: PC, end-to-end, Digits.",
        "Bold marks the lowest mean of a row",
        "| **2.050 (0.071)** |",
        "The margin is 3 % of the lowest mean test cross-entropy over ρ0.",
        "no mean cross-entropy is clearly below chance",
        "Regret of each ρ0, in bits of test cross-entropy.",
        'trials.groupby(["dataset", "model", "regime", "method", "set", "rho0"], dropna=False)'
        '["test_bits"].agg(["mean", "std"])',
    ):
        assert part in text
        assert part in text or part in page
    assert "accuracy" not in text + page + (tmp_path / "latex" / "report.tex").read_text()
    assert '<th class="number">validation bits</th><th class="number">test bits</th>' in page
    assert '<th class="number">test perplexity</th>' in page
    assert pd.read_csv(tmp_path / "tables" / "sensitivity.csv")["best"].tolist() == [2.05]
    again = read_trials(tmp_path / "tables" / "trials.csv", BITS)
    pd.testing.assert_frame_equal(configurations(again, BITS), configurations(frame, BITS))


def test_what_a_table_of_another_metric_lacks_is_named() -> None:
    frame = of_bits({0.1: [2.0]})
    with pytest.raises(SchemaError, match="'test_accuracy' is missing, but there is 'test_bits'"):
        Measurements(frame)
    for value, message in ((-1.0, "value -1; it must be finite and >= 0"), (np.inf, "value inf")):
        with pytest.raises(SchemaError, match=rf"'test_bits' has the {message}"):
            Measurements(frame.assign(test_bits=value), metric=BITS)
    with pytest.raises(SchemaError, match="'t0' has no test_bits"):
        Measurements(frame.assign(test_bits=np.nan), metric=BITS)
    assert set(trials_columns(BITS)) > {"test_bits", "validation_bits", "rho0"}


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.00123456], "0.001235"), ([2.5, 3.5], "0.001"), ([123456.0], "0"), ([np.nan], "0.00")],
)
def test_decimals_are_those_that_values_need(values: list[float], text: str) -> None:
    metric = Metric("error", "error", higher_is_better=False).with_digits(values)
    assert metric.text(0.00123456) == text
    assert metric.text(2e9) == "2e+09"


def test_ties_do_not_depend_on_the_scale() -> None:
    """Means of the same values in another order differ by rounding, whatever their size."""
    for scale in (1e-12, 1.0, 1e12):
        sums = [scale * (0.1 + 0.2 + 0.3), scale * (0.3 + 0.2 + 0.1), scale * 0.5999]
        assert highest(pd.DataFrame({"test_mean": sorted(sums, reverse=False)})).name == 1
        frame = grid(lambda *place: 0.5 + 0.01 * place[2], noise=0.001, methods=("PC",))
        small = frame.assign(test_error=scale * frame["test_accuracy"], validation_error=1.0).drop(
            columns=["test_accuracy", "validation_accuracy"]
        )
        error = Metric("error", "error", higher_is_better=True)
        found = sensitivity(configurations(small, error), small, error)
        same = sensitivity(configurations(frame), frame)
        assert found["p"].tolist() == pytest.approx(same["p"].tolist())
        assert found["p_best"].tolist() == same["p_best"].tolist()


def test_accuracies_are_the_default() -> None:
    assert (ACCURACY.column("test"), ACCURACY.column_at("hard")) == (
        "test_accuracy",
        "validation_accuracy_hard",
    )
    assert ACCURACY.shown(0.98765) == "98.77 %"
    assert ACCURACY.shown_difference(0.0123, fewer=1) == "1.2 points"
    assert ACCURACY.shown_margin(0.03) == "3 points of test accuracy"
