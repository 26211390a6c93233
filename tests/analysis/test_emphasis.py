"""Figures of many methods: the best are in colour, and the others are grey lines."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from analysis.across_settings.across_settings import across_settings
from analysis.across_settings.tasks import scores_of
from analysis.columns import HISTORY
from analysis.figures.comparison.profiles import profile_figure
from analysis.figures.comparison.tuning_curves import tuning_curves
from analysis.figures.emphasis import BEST, MOST, OtherLines, emphasis_of, note_of
from analysis.figures.gallery import all_figures
from analysis.figures.heat_map import heat_map, note_on_numbers, numbered
from analysis.figures.sensitivity import sensitivity_figure
from analysis.figures.style import for_print
from analysis.figures.training.curves import learning_curves
from analysis.findings import analyse
from analysis.metric import ACCURACY, Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.comparison import with_leaders
from analysis.statistics.selection import select
from analysis.tables.accuracy import method_tables, sensitivity_tables
from analysis.tuning_cost.curves import curves_of, tuning_cost
from tests.analysis.frames import Row, trials

LOSS = Metric("loss", "loss", higher_is_better=False)


def many(count: int, sets: Sequence[str] = ("binary", "ternary")) -> pd.DataFrame:
    """M0, the best, to the last, with two rho0 and seeds, and two methods without rho0 among them.

    Every third row is that of a worse rho0.
    """
    rows: list[Row] = []
    for number in range(count):
        for levels in sets:
            all_rho0 = [None] if number in (1, count - 1) else [0.01, 0.1]
            for place, rho0 in enumerate(all_rho0):
                for seed in (0, 1):
                    accuracy = 0.9 - 0.01 * number - 0.05 * place + 0.0001 * seed
                    rows.append((f"M{number}", levels, rho0, seed, accuracy))
    return trials(rows)


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines_of(figure: Figure) -> list[list[OtherLines]]:
    """The collections of grey lines of each panel."""
    return [
        [lines for lines in axes.collections if isinstance(lines, OtherLines)]
        for axes in figure.axes
    ]


def apart(lines: OtherLines) -> list[np.ndarray]:
    """The lines of a collection, solid ones first: those of a style have gaps between them."""
    found = []
    for segment in (np.asarray(path.vertices) for path in lines.get_paths()):
        gaps = np.flatnonzero(np.isnan(segment).any(axis=1))
        assert gaps[-1] == len(segment) - 1
        found += [part[~np.isnan(part).any(axis=1)] for part in np.split(segment, gaps)[:-1]]
    return found


def history_of(frame: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (trial, "quantize", epoch, epoch, 0.1, 1.0, 1 / epoch, 0.5, 0.5, 0.5, 0.1, 1.0)
        for trial in frame["trial_id"]
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows, columns=list(HISTORY))


def figures_of(count: int) -> dict[str, Figure]:
    frame = many(count)
    table = configurations(frame)
    chosen = select(table)
    across = across_settings(scores_of(chosen, frame))
    return {
        "sensitivity": sensitivity_figure(table),
        "tuning": tuning_curves(tuning_cost(curves_of(table, frame))),
        "curves": learning_curves(chosen, frame, history_of(frame)),
        "profiles": profile_figure(across.profiles),
    }


def test_of_many_methods_the_best_are_in_colour_and_the_others_are_one_collection() -> None:
    best = {f"M{number}" for number in range(BEST)}
    for name, figure in figures_of(20).items():
        *shown, last = legend_of(figure)
        assert (len(shown), set(shown), last) == (BEST, best, "14 other methods"), name
        for (lines,) in lines_of(figure):
            assert len(apart(lines)) == 14
        assert "The 6 methods with the" in note_of(figure)
        assert "the 14 others are grey" in note_of(figure)
        figure.draw_without_rendering()


def test_panels_whose_losses_have_another_size_count_alike() -> None:
    """The first panel has the order of the numbers, and the two others the reverse."""
    size = {"binary": 1e10, "ternary": -0.1, "quaternary": -0.1}
    rows: list[Row] = [
        (f"M{number:02}", levels, None, 0, 20 * abs(of) + number * of)
        for number in range(MOST + 1)
        for levels, of in size.items()
    ]
    frame = trials(rows).rename(columns=lambda name: name.replace("accuracy", "loss"))
    found = emphasis_of(LOSS.measured(configurations(frame, LOSS)), LOSS)
    assert found.names == {f"M{number:02}" for number in range(MOST + 1 - BEST, MOST + 1)}


def test_of_twelve_methods_all_are_in_colour() -> None:
    for figure in figures_of(MOST).values():
        assert set(legend_of(figure)) == {f"M{number}" for number in range(MOST)}
        assert not any(lines_of(figure))
        assert note_of(figure) == ""


def test_grey_lines_have_the_values_of_the_others_in_percent() -> None:
    figure = sensitivity_figure(configurations(many(MOST + 2)))
    (lines,), _ = lines_of(figure)
    first, *_, last = apart(lines)
    assert first == pytest.approx(np.array([[0.01, 84.005], [0.1, 79.005]]))
    assert last == pytest.approx(np.array([[0.01, 77.005], [0.1, 77.005]]))  # without rho0
    (_, of_solid), (_, of_dashed) = lines.get_linestyle()
    assert of_solid is None
    assert of_dashed is not None
    assert legend_of(figure)[-1] == "8 other methods"
    low, high = figure.axes[0].get_ylim()
    assert low < 73
    assert high > 90


def test_of_many_methods_the_best_have_numbers_in_the_heat_map() -> None:
    frame = many(20)
    of_last = (frame["method"] == "M19") & (frame["set"] == "ternary")
    chosen = select(configurations(frame[~of_last]))
    cells = heat_map(chosen).axes[0]
    assert cells.images[0].get_array().count() == 39
    texts = {is_cell: {} for is_cell in (False, True)}
    for text in cells.texts:
        own = texts[text.get_transform() == cells.transData]
        own[text.get_position()] = text.get_text()
    assert texts[False] == {(0, y): f"M{y}" for y in range(20)}
    numbers = texts[True]
    assert numbers.pop((1, 19)) == "–"
    assert set(numbers) == {(x, y) for x in (0, 1) for y in range(BEST)}
    assert numbers[0, 3] == "87.0"
    assert note_on_numbers(numbered(chosen)) == (
        " Numbers are those of the 6 methods with the best mean rank by test accuracy over the "
        "panels."
    )


def test_of_twelve_methods_all_have_numbers_in_the_heat_map() -> None:
    chosen = select(configurations(many(MOST)))
    assert len(heat_map(chosen).axes[0].texts) == (2 + 1) * MOST  # with the names
    assert note_on_numbers(numbered(chosen)) == ""


@pytest.mark.parametrize(
    ("methods", "settings", "side_by_side"),
    [(MOST, 1, 1), (MOST, 4, 2), (25, 4, 2), (60, 3, 3), (60, 4, 4), (60, 6, 4)],
)
def test_settings_of_many_methods_stand_side_by_side(
    methods: int, settings: int, side_by_side: int
) -> None:
    rows = [(f"M{number}", "binary", 0.1, 0, 0.9 - 0.001 * number) for number in range(methods)]
    each = [trials(rows).assign(dataset=f"D{number}") for number in range(settings)]
    frames = [
        frame.assign(
            **{name: frame[name] + str(number) for name in ("trial_id", "configuration_id")}
        )
        for number, frame in enumerate(each)
    ]
    figure = heat_map(select(configurations(pd.concat(frames, ignore_index=True))))
    panels = [axes for axes in figure.axes if axes.images and axes.get_subplotspec() is not None]
    grid = panels[0].get_subplotspec().get_gridspec()
    assert len(panels) == settings
    assert grid.ncols == side_by_side
    assert figure.get_figheight() <= 10 * grid.nrows


def test_of_many_methods_tables_over_rho0_are_shared() -> None:
    frame = many(MOST + 3)
    finer = frame[frame["rho0"] == 0.1].assign(rho0=0.02)
    finer[["trial_id", "configuration_id"]] += "f"
    frame = pd.concat([frame, finer[finer["method"] == "M4"]], ignore_index=True)
    table = with_leaders(configurations(frame), frame, ["method", "set"])
    (shared,) = sensitivity_tables(table)
    assert "over ρ0: end-to-end, Digits. Values" in shared.caption
    assert list(shared.body.columns) == ["method", "model", "set", "1e-2", "2e-2", "0.1"]
    assert len(shared.body) == 2 * (MOST + 1)  # two methods have no rho0
    m4 = shared.body[(shared.body["method"] == "M4") & (shared.body["set"] == "binary")]
    assert m4.iloc[0].tolist() == [
        "M4",
        "ConvNet",
        "binary",
        "**86.00 (0.01)**",
        "81.00 (0.01)",
        "81.00 (0.01)",
    ]
    alone = configurations(many(MOST + 2))  # twelve with rho0
    assert len(sensitivity_tables(alone)) == MOST


def test_many_methods_are_rows_of_the_table_of_methods() -> None:
    frame = many(MOST + 1)
    chosen = with_leaders(select(configurations(frame)), frame, ["set"])
    (table,) = method_tables(chosen)
    assert list(table.body.columns) == ["method", "ConvNet binary", "ConvNet ternary"]
    best = "**90.00 (0.01)** at 1e-2"
    assert table.body.iloc[0].tolist() == ["M0", best, best]
    assert table.body.iloc[1].tolist() == ["M1", "89.00 (0.01)", "89.00 (0.01)"]
    assert "mean of a column if it differs" in table.caption
    (few,) = method_tables(select(configurations(many(MOST))))
    assert list(few.body.columns) == ["model", "set", *(f"M{number}" for number in range(MOST))]


def test_a_report_says_how_many_methods_are_grey_only_if_some_are() -> None:
    for count, expected in ((MOST, False), (MOST + 1, True)):
        measured = Measurements(many(count))
        with for_print():
            captions = {
                item.name: item.caption for item in all_figures(measured, analyse(measured))
            }
        assert ("the 7 others are grey" in captions["sensitivity"]) is expected
        assert "grey" not in captions["heat_map"]


@given(
    st.lists(
        st.lists(st.sampled_from([0.1, 0.5, 0.50000000001, 0.7]), min_size=3, max_size=3),
        min_size=MOST + 1,
        max_size=2 * MOST,
    ),
    st.randoms(use_true_random=False),
    st.sampled_from([ACCURACY, LOSS]),
)
def test_the_best_are_chosen_whatever_the_order_of_rows(
    values: list[list[float]], random: Random, metric: Metric
) -> None:
    rows = [
        {"dataset": "D", "model": "N", "regime": "E", "method": f"M{number}", "set": levels}
        | {"axis.lr": "", "test_mean": value}
        for number, own in enumerate(values)
        for levels, value in zip(("binary", "ternary", ""), own, strict=True)
    ]
    best = [
        {**row, "method": "the best", "test_mean": 0.9 if metric.higher_is_better else 0.05}
        for row in rows[:3]
    ]
    table = pd.DataFrame([*rows, *best])
    found = emphasis_of(table, metric)
    assert "the best" in found.names
    assert len(found.names) == BEST
    assert found.num_others == len(values) + 1 - BEST
    order = list(range(len(table)))
    random.shuffle(order)
    assert emphasis_of(table.iloc[order], metric) == found
    shown, others = found.split(table)
    assert set(shown["method"]) == found.names
    assert len(shown) + len(others) == len(table)


def test_the_choice_is_by_hand_the_mean_rank_over_panels() -> None:
    """FP stands in both panels; a method that was run on one set only is ranked there."""
    names = [f"M{number:02}" for number in range(MOST + 2)]
    rows = [("D", "N", "E", name, "binary", 0.5) for name in names]  # all have the same rank
    rows += [("D", "N", "E", name, "ternary", 0.5) for name in names[:-1]]
    rows += [("D", "N", "E", "FP", "", 0.9), ("D", "N", "E", "FP", "", 0.1)]
    rows += [("D", "N", "E", names[-1], "ternary", None)]
    columns = ["dataset", "model", "regime", "method", "set", "test_mean"]
    found = emphasis_of(pd.DataFrame(rows, columns=columns))
    # Ranks of the others are 8.5 and 8, and that of the last one, on one set, is 8.5.
    assert found.names == {"FP", *names[: BEST - 1]}
    assert found.num_others == MOST + 3 - BEST


def test_variants_of_further_axes_are_chosen_one_by_one() -> None:
    frames = []
    for place, lr in enumerate(("0.1", "0.2")):
        frame = many(7).assign(**{"axis.lr": lr})
        frame[["test_accuracy", "validation_accuracy"]] -= 0.001 * place
        frame[["trial_id", "configuration_id"]] += lr
        frames.append(frame)
    figure = sensitivity_figure(configurations(pd.concat(frames, ignore_index=True)))
    *shown, last = legend_of(figure)
    assert last == "8 other methods"
    assert set(shown) == {f"M{number} lr={lr}" for number in range(3) for lr in ("0.1", "0.2")}


def test_a_method_with_one_rho0_is_a_mark_among_the_grey_lines() -> None:
    rows = [(f"M{number:02}", "binary", 0.1, 0, 0.9 - 0.01 * number) for number in range(14)]
    ((lines,),) = lines_of(sensitivity_figure(configurations(trials(rows))))
    for segment in apart(lines):
        (left, low), (right, high) = segment
        assert 0.09 < left < 0.1 < right < 0.11
        assert low == high
