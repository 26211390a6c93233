"""Figures show what the tables say, and look the same everywhere."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.columns import HISTORY
from analysis.figures.drawn import Drawn
from analysis.figures.gallery import all_figures
from analysis.figures.heat_map import heat_map
from analysis.figures.histograms import histogram_figure
from analysis.figures.maps import maps_figure
from analysis.figures.pareto import axis_of_bits, pareto_figure
from analysis.figures.pull_map import pull_map, pull_settings
from analysis.figures.sensitivity import sensitivity_figure
from analysis.figures.style import (
    for_print,
    freeze_layout,
    labels_that_fit,
    method_styles,
    panels,
)
from analysis.figures.training.curves import (
    decay_figure,
    decay_rows,
    flip_curves,
    gap_curves,
    learning_curves,
    loss_curves,
)
from analysis.findings import Findings, analyse
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.pareto import pareto_front
from analysis.statistics.selection import select
from analysis.statistics.sensitivity import sensitivity
from tests.analysis.frames import EXAMPLE, trials


def history_of(frame: pd.DataFrame) -> pd.DataFrame:
    rows = [
        [trial, stage, epoch, epoch * 10, 0.1, 0.5, 1.0, accuracy, accuracy, accuracy, gap, 1.0]
        for trial in frame["trial_id"]
        for epoch, (stage, accuracy, gap) in enumerate(
            [("quantize", 0.5, 0.1), ("quantize", 0.7, 0.01), ("batchnorm", 0.8, 0.0)], start=1
        )
    ]
    return pd.DataFrame(rows, columns=list(HISTORY))


@pytest.fixture
def selected() -> pd.DataFrame:
    return select(configurations(trials(EXAMPLE)))


def test_accuracy_over_rho0_is_the_tables() -> None:
    figure = sensitivity_figure(configurations(trials(EXAMPLE)))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    del lines["_bend"]  # of the stretched scale
    assert set(lines) == {"FP", "BC", "PC", "PQ"}
    assert list(lines["PC"].get_xdata()) == [0.01, 0.1]
    assert list(lines["PC"].get_ydata()) == pytest.approx([94.0, 80.5])
    assert axes.get_xscale() == "log"
    assert axes.get_title() == "binary"
    assert len({line.get_color() for line in lines.values()}) == 4


def test_configurations_of_which_none_has_all_seeds_have_figures_of_what_there_is() -> None:
    rows = [(*row[:3], seed, row[4]) for row in EXAMPLE[2:6:2] for seed in (7, 8)]
    frame = trials(rows)
    waits = frame["seed"] == 8
    frame.loc[waits, ["state", "validation_accuracy", "test_accuracy"]] = ["WAITING", None, None]
    measurements = Measurements(frame)
    names = [drawn.name for drawn in all_figures(measurements, analyse(measurements))]
    assert names
    assert "tuning_cost" not in names


def test_rho0_of_zero_is_in_the_figure() -> None:
    rows = [("PC", "binary", 0.0, 0, 0.8), ("PC", "binary", 0.1, 0, 0.9)]
    (axes,) = sensitivity_figure(configurations(trials(rows))).axes
    assert axes.get_xscale() == "symlog"
    assert list(axes.lines[0].get_xdata()) == [0.0, 0.1]


def test_variants_of_a_method_share_its_colour_and_differ_in_dashes_or_fill() -> None:
    first = trials(EXAMPLE[2:8], **{"axis.lr": "0.1", "bits": 1.0})
    second = trials(EXAMPLE[2:8], **{"axis.lr": "0.2", "bits": 1.0})
    second[["trial_id", "configuration_id"]] += "b"
    both = pd.concat([first, second])
    chosen = select(configurations(both)).assign(bits=1.0)
    for figure in (
        sensitivity_figure(configurations(both)),
        learning_curves(chosen, both, history_of(both)),
        pareto_figure(chosen),
    ):
        with BytesIO() as file:
            figure.savefig(file)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        lines = {
            label: getattr(handle, "lines", [handle])[0]
            for handle, label in zip(handles, labels, strict=True)
        }
        assert set(lines) == {"BC lr=0.1", "BC lr=0.2", "PC lr=0.1", "PC lr=0.2"}
        looks = {
            label: (line.get_color(), str(line._dash_pattern), line.get_fillstyle())
            for label, line in lines.items()
        }
        assert len(set(looks.values())) == 4
        assert looks["PC lr=0.1"][0] == looks["PC lr=0.2"][0] != looks["BC lr=0.1"][0]


def test_methods_that_share_a_colour_differ_in_dashes() -> None:
    rows = [(f"M{i}", "binary", None, seed, 0.9) for i in range(9) for seed in (0, 1)]
    frame = trials(rows)
    chosen = select(configurations(frame))
    axes = learning_curves(chosen, frame, history_of(frame)).axes[0]
    looks = {
        (line.get_color(), str(line._dash_pattern))
        for line in axes.lines
        if line.get_label()[0] == "M"
    }
    assert len(looks) == 9


def test_without_any_rho0_there_is_no_figure_over_it() -> None:
    for rho0, expected in ((None, set()), (0.1, {"sensitivity"})):
        measured = Measurements(trials([("PC", "binary", rho0, seed, 0.9) for seed in (0, 1)]))
        with for_print():
            names = {figure.name for figure in all_figures(measured, analyse(measured))}
        assert names & {"sensitivity"} == expected
        assert "heat_map" in names


def test_titles_of_narrow_panels_do_not_overlap() -> None:
    first = trials([("PC", "ternary", 0.1, seed, 0.9) for seed in (0, 1)])
    second = first.assign(regime="fine-tuning")
    second[["trial_id", "configuration_id"]] += "b"
    with for_print():
        figure = heat_map(select(configurations(pd.concat([first, second], ignore_index=True))))
        freeze_layout(figure)
        left, right = (axes.title.get_window_extent() for axes in figure.axes[:2])
    assert left.x1 < right.x0


def test_long_names_of_rows_do_not_overlap() -> None:
    first = trials([("PC", "ternary", rho0, seed, 0.9) for rho0 in (0.1, 0.2) for seed in (0, 1)])
    first = first.assign(dataset="Python 3.11.7", model="GPT-2x64 of a user")
    second = first.assign(regime="fine-tuning")
    second[["trial_id", "configuration_id"]] += "b"
    with for_print():
        figure = sensitivity_figure(configurations(pd.concat([first, second], ignore_index=True)))
        freeze_layout(figure)
        upper, lower = (axes.yaxis.label.get_window_extent() for axes in figure.axes[:2])
    assert lower.y1 < upper.y0


def test_the_heat_map_shows_the_selected(selected: pd.DataFrame) -> None:
    axes = heat_map(selected).axes[0]
    cells = [text.get_text() for text in axes.texts if text.get_transform() == axes.transData]
    assert cells == ["91.0", "94.0", "70.0*"]
    names = [text for text in axes.texts if text.get_transform() != axes.transData]
    assert [text.get_text() for text in names] == ["BC", "PC", "PQ"]
    with for_print():
        freeze_layout(axes.figure)
    panel = axes.get_window_extent()
    for name, cell in zip(names, axes.texts, strict=False):
        extent, number = name.get_window_extent(), cell.get_window_extent()
        assert 0 <= extent.x0 < extent.x1 < panel.x0
        assert (extent.y0 + extent.y1) / 2 == pytest.approx((number.y0 + number.y1) / 2, abs=2)


def test_a_frozen_figure_is_drawn_as_one_whose_layout_is_computed(selected: pd.DataFrame) -> None:
    """Titles and labels stay where matplotlib puts them when it draws a figure of this layout."""

    def only_arranged(figure: Figure) -> None:
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)
        figure.set_layout_engine("none")

    for draw in (
        lambda: sensitivity_figure(configurations(trials(EXAMPLE))),
        lambda: heat_map(selected),
    ):
        files = []
        for freeze in (only_arranged, freeze_layout):
            with for_print():
                freeze(figure := draw())
                drawn = Drawn("name", "Section", "Caption.", figure)
                files.append((drawn.svg, drawn.png))
        assert files[0] == files[1]


def test_a_title_makes_room_for_the_exponent_of_an_axis() -> None:
    figure, grid = panels(1, 1)
    (axes,) = grid.flat
    axes.plot([1e-7, 2e-7])
    axes.set_title("a title that is about as wide as its panel")
    freeze_layout(figure)
    figure.draw_without_rendering()
    exponent, title = axes.yaxis.offsetText, axes.title
    assert exponent.get_text()
    assert title.get_window_extent().y0 >= exponent.get_window_extent().y1 - 1


def test_curves_have_their_stage_boundary(selected: pd.DataFrame) -> None:
    frame = trials(EXAMPLE)
    (axes,) = learning_curves(selected, frame, history_of(frame)).axes
    curves = {line.get_label(): line for line in axes.lines}
    assert {"FP", "BC", "PC", "PQ"} < set(curves)
    assert list(curves["PC"].get_ydata()) == pytest.approx([50, 70, 80])
    boundaries = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert boundaries[0].get_xdata()[0] == 2
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    (axes,) = gap_curves(selected, frame, history_of(frame)).axes
    assert axes.get_yscale() == "log"
    axes.set_ylim(1.2e-2, 2.8e-2)
    axes.figure.canvas.draw()
    labels = [label for label in axes.get_yticklabels(which="both") if label.get_text()]
    assert 1 < len([one for one in labels if 1.2e-2 <= one.get_position()[1] <= 2.8e-2]) < 6
    gaps = {line.get_label(): line for line in axes.lines}["PC"]
    assert list(gaps.get_xdata()) == [1, 2]


def test_curves_of_the_training_loss(selected: pd.DataFrame) -> None:
    frame = trials(EXAMPLE)
    history = history_of(frame)
    history["train_loss"] = history["epoch"] / 4
    (axes,) = loss_curves(selected, frame, history).axes
    curves = {line.get_label(): line for line in axes.lines}
    assert list(curves["PC"].get_ydata()) == [0.25, 0.5, 0.75]


def test_flips_are_drawn_in_percent_where_there_are_any(selected: pd.DataFrame) -> None:
    frame = trials(EXAMPLE)
    history = history_of(frame)
    measured = Measurements(frame, history=history)
    names = [figure.name for figure in all_figures(measured, analyse(measured))]
    assert "gap" in names
    assert "flips" not in names  # as in histories of earlier releases
    history["flip_rate"] = history["epoch"].map({1: 0.25, 2: 0.01, 3: 0.0})
    (axes,) = flip_curves(selected, frame, history).axes
    curve = {line.get_label(): line for line in axes.lines}["PC"]
    assert list(curve.get_xdata()) == [1, 2]
    assert list(curve.get_ydata()) == pytest.approx([25, 1])
    measured = Measurements(frame, history=history)
    (drawn,) = (
        figure for figure in all_figures(measured, analyse(measured)) if figure.name == "flips"
    )
    assert "whose level after an epoch differs" in drawn.caption


def decayed(values: dict[str, float]) -> pd.DataFrame:
    """Of each weight decay, BC with its accuracy and PC with another one; FP has no such axis."""
    parts = []
    for decay, accuracy in values.items():
        rows = [("BC", "binary", None, 0, accuracy), ("PC", "binary", 0.1, 0, accuracy - 0.1)]
        part = trials(rows, **{"axis.weight_decay": decay})
        part[["trial_id", "configuration_id"]] += f"-{decay}"
        parts.append(part)
    plain = trials([("FP", "", None, 0, 0.95)], **{"axis.weight_decay": ""})
    return pd.concat([*parts, plain], ignore_index=True)


def test_the_effect_of_weight_decay_has_the_three_panels_of_figure_7() -> None:
    frame = decayed({"1e-05": 0.8, "0": 0.9})
    selected = select(configurations(frame))
    history = history_of(frame)
    names = [figure.name for figure in all_figures(*analysed(frame, history))]
    assert not {"distance", "weight_decay"} & set(names)  # as in histories of earlier releases
    is_decayed = history["trial_id"].str.endswith("1e-05")
    history["latent_distance"] = (0.5 + 0.1 * history["epoch"]).where(is_decayed, 0.3)
    history.loc[history["stage"] == "batchnorm", "latent_distance"] = 0.0
    history.loc[history["trial_id"] == "t0", "latent_distance"] = 0.0  # that of FP
    figure = decay_figure(selected, frame, history)
    error, without, with_decay = figure.axes
    assert {line.get_label() for line in error.lines if line.get_label()[0] != "_"} == {
        f"{method} weight_decay={decay}" for method in ("BC", "PC") for decay in ("0", "1e-05")
    }
    errors = {line.get_label(): line.get_ydata() for line in error.lines}
    assert list(errors["BC weight_decay=0"]) == pytest.approx([50, 30, 20])
    assert without.get_title().endswith("weight decay 0")
    assert with_decay.get_title().endswith("weight decay 1e-05")
    for axes, decay, expected in ((without, "0", [0.3, 0.3]), (with_decay, "1e-05", [0.6, 0.7])):
        curves = {line.get_label(): line for line in axes.lines}
        assert {name for name in curves if "weight" in name} == {
            f"{method} weight_decay={decay}" for method in ("BC", "PC")
        }
        assert list(curves[f"BC weight_decay={decay}"].get_ydata()) == pytest.approx(expected)
    assert without.get_ylim() == with_decay.get_ylim()
    drawn = {figure.name: figure for figure in all_figures(*analysed(frame, history))}
    assert "Figure 7" in drawn["weight_decay"].caption
    (axes,) = drawn["distance"].figure.axes
    assert "FP" not in {line.get_label() for line in axes.lines}


def test_a_weight_decay_without_a_choice_has_no_panels() -> None:
    frame = decayed({"0": 0.9})
    assert decay_rows(select(configurations(frame))) == []
    assert decay_rows(select(configurations(trials(EXAMPLE)))) == []


def analysed(frame: pd.DataFrame, history: pd.DataFrame) -> tuple[Measurements, Findings]:
    measured = Measurements(frame, history=history)
    return measured, analyse(measured)


def with_theta(thetas: dict[str, list[float]], method: str = "PC") -> pd.DataFrame:
    """Accuracies at rho0 = 0.1 and 1, with two seeds that differ by 0.02."""
    parts = []
    for theta, accuracies in thetas.items():
        rows = [
            (method, "binary", rho0, seed, accuracy + 0.01 * (2 * seed - 1))
            for rho0, accuracy in zip((0.1, 1.0), accuracies, strict=True)
            for seed in (0, 1)
        ]
        part = trials(rows, **{"axis.theta": theta})
        part[["trial_id", "configuration_id"]] += f"-{method}-{theta}"
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_the_map_over_theta_and_rho0_has_the_range_beside_it() -> None:
    table = configurations(with_theta({"1": [0.5, 0.9], "0": [0.8, 0.9], "0.001": [0.8, 0.7]}))
    ((key, setting),) = pull_settings(table)
    assert key == ("Digits", "ConvNet", "end-to-end")
    figure = pull_map(setting, sensitivity(table))
    shown, beside = figure.axes[:2]
    image = shown.images[0].get_array()
    assert image is not None
    np.testing.assert_allclose(image, [[80, 90], [80, 70], [50, 90]])  # 0, 0.001, 1
    assert [label.get_text() for label in shown.get_yticklabels()] == ["0", "0.001", "1"]
    assert not shown.yaxis_inverted()
    assert [text.get_text() for text in shown.texts[:2]] == ["50.0", "90.0"]
    (ranges,) = beside.lines
    assert dict(zip(ranges.get_ydata(), ranges.get_xdata(), strict=True)) == pytest.approx(
        {2: 40, 0: 10, 1: 10}
    )
    (bars,) = beside.collections
    ends = [segment[:, 0] for segment in bars.get_segments()]  # type: ignore[attr-defined]
    assert all(end[1] > end[0] for end in ends)


def test_a_report_of_a_sweep_over_theta_has_the_map() -> None:
    measured = Measurements(with_theta({"0": [0.8, 0.9], "1": [0.5, 0.9]}))
    with for_print():
        drawn = {figure.name: figure for figure in all_figures(measured, analyse(measured))}
    assert set(drawn) == {"sensitivity", "pull", "heat_map"}
    assert drawn["pull"].caption.startswith("Test accuracy over θ and ρ0: Digits · ConvNet")


def test_methods_without_several_theta_and_rho0_have_no_map() -> None:
    frame = pd.concat(
        [
            with_theta({"0": [0.8, 0.9]}, method="BC"),
            with_theta({"0": [0.8, 0.9], "1": [0.5, 0.9]}),
        ],
        ignore_index=True,
    )
    ((_, setting),) = pull_settings(configurations(frame))
    assert set(setting["method"]) == {"PC"}
    one_rho0 = frame[frame["rho0"] == 1.0].reset_index(drop=True)
    assert not list(pull_settings(configurations(one_rho0)))
    assert not list(pull_settings(configurations(trials(EXAMPLE))))


def test_curves_are_of_finished_trials_only(selected: pd.DataFrame) -> None:
    frame = trials(EXAMPLE)
    more = trials([("PC", "binary", 0.01, 2, 0.1)], state="RUNNING", trial_id="t99")
    running = history_of(more)[:1].assign(validation_accuracy_hard=0.0)
    history = pd.concat([history_of(frame), running])
    (axes,) = learning_curves(selected, pd.concat([frame, more]), history).axes
    curves = {line.get_label(): line for line in axes.lines}
    assert list(curves["PC"].get_ydata()) == pytest.approx([50, 70, 80])
    boundaries = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert set(boundaries) == {2}


def test_methods_of_ones_own_keep_their_colours_if_some_are_missing() -> None:
    rows = [("M1", "binary", 0.1, 0, None), ("M2", "binary", 0.1, 0, 0.9)]
    frame = trials(rows)
    table = configurations(frame).assign(bits=1.0)
    chosen = select(table)
    line = sensitivity_figure(table, frame["method"]).axes[0].lines[0]
    bar = pareto_figure(chosen, frame["method"]).axes[0].containers[0]
    assert (line.get_label(), bar.get_label()) == ("M2", "M2")
    assert line.get_color() == bar[0].get_color()
    many = method_styles([f"M{i}" for i in range(12)])
    assert len(set(many.values())) == len(many)


def test_histograms_and_maps(selected: pd.DataFrame) -> None:
    chosen = selected[selected["method"] == "PC"]["configuration_id"].iloc[0]
    weights = np.linspace(-1, 1, 5)
    histograms = pd.concat(
        pd.DataFrame(
            {
                "configuration_id": chosen,
                "trial_id": "t4",
                "epoch": epoch,
                "weight": weights,
                "fraction": np.eye(5)[epoch],
            }
        )
        for epoch in (1, 2, 3)
    )
    mesh = histogram_figure(selected, histograms).axes[0].collections[0]
    assert mesh.get_array().shape == (5, 3)  # type: ignore[union-attr]
    maps = pd.DataFrame(
        {"figure": "maps", "row": "PC", "column": "binary", "curve": "a", "latent": weights}
    ).assign(proximal=np.sign(weights))
    (axes,) = maps_figure(maps).axes
    assert list(axes.lines[0].get_ydata()) == [-1, -1, 0, 1, 1]


def test_bits_of_the_whole_network_go_before_where_all_are_known() -> None:
    frame = configurations(trials(EXAMPLE)).assign(bits=1.0, network_bits=1.7)
    assert axis_of_bits(frame) == "network_bits"
    figure = pareto_figure(select(frame), by="network_bits")
    assert figure.axes[0].get_xlabel() == "mean bits per parameter"
    assert {line.get_xdata()[0] for line in figure.axes[0].lines[:1]} == {1.7}
    sized = frame.assign(file_bytes=2500.0)
    assert axis_of_bits(sized) == "file_bytes"
    (axes,) = pareto_figure(select(sized), by="file_bytes").axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2,500"]
    assert axis_of_bits(sized.assign(file_bytes=[float("nan"), *sized["file_bytes"][1:]])) == (
        "network_bits"
    )
    older = frame.assign(network_bits=[float("nan"), *frame["network_bits"][1:]])
    assert axis_of_bits(older) == "bits"
    assert axis_of_bits(older.drop(columns="bits")) is None


def test_networks_without_a_size_above_zero_are_left_out_of_the_front() -> None:
    """A set with a single level has zero bits, which a logarithmic axis cannot show."""
    frame = trials(EXAMPLE)
    for sizes, shown in (({"FP": 32.0, "PC": 1.0, "BC": 0.0}, ["FP", "PC"]), ({"BC": 0.0}, [])):
        measured = Measurements(frame.assign(bits=frame["method"].map(sizes)))
        with for_print():
            drawn = {one.name: one for one in all_figures(measured, analyse(measured))}
        if not shown:
            assert "pareto" not in drawn
            continue
        (axes,) = drawn["pareto"].figure.axes
        assert sorted(axes.get_legend_handles_labels()[1], key=len)[0] == "PC"
        assert not {"BC", "PQ"} & set(axes.get_legend_handles_labels()[1])
        assert "no size above 0 is known: BC binary, PQ binary." in drawn["pareto"].caption


def test_points_of_equal_bits_lie_inside_the_panel(selected: pd.DataFrame) -> None:
    (axes,) = pareto_figure(selected.assign(bits=1.0)).axes
    left, right = np.log(axes.get_xlim())
    places = [np.log(bar[0].get_xdata()[0]) for bar in axes.containers]
    assert len(set(places)) == 4
    assert all(0.2 < (place - left) / (right - left) < 0.8 for place in places)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_points_of_a_set_stay_together(count: int) -> None:
    """Points of many methods are not shifted to those of the next set."""
    rows = [
        (f"M{number}", name, 0.1, seed, 0.8)
        for name in ("binary", "ternary")
        for number in range(count)
        for seed in (0, 1)
    ]
    table = select(configurations(trials(rows)))
    bits = table["set"].map({"binary": 1.0, "ternary": float(np.log2(3))})
    (axes,) = pareto_figure(table.assign(bits=bits)).axes
    drawn = np.array([bar[0].get_xdata()[0] for bar in axes.containers])  # type: ignore[attr-defined]
    assert len(set(drawn)) == 2 * count
    assert (np.abs(drawn / bits.to_numpy() - 1) < 0.071).all()


def test_the_pareto_front_by_hand() -> None:
    points = pd.DataFrame(
        {"bits": [2, 1, 1, 2, 32], "test_mean": [0.7, 0.8, 0.6, 0.9, 0.85], "name": list("abcde")}
    )
    assert pareto_front(points)["name"].tolist() == ["b", "d"]


def test_the_same_method_has_the_same_colour_everywhere(selected: pd.DataFrame) -> None:
    frame = trials(EXAMPLE)
    colour, _ = method_styles(["X", "PC"])["PC"]
    figures = [
        sensitivity_figure(configurations(frame)),
        learning_curves(selected, frame, history_of(frame)),
    ]
    for figure in figures:
        lines = {line.get_label(): line for line in figure.axes[0].lines}
        assert lines["PC"].get_color() == colour
    bars = pareto_figure(selected.assign(bits=1.0)).axes[0].containers
    assert {bar.get_label(): bar[0].get_color() for bar in bars}["PC"] == colour
    own = method_styles(["Mine", "Other"])
    assert len(set(own.values())) == len(own)


def test_colours_are_told_apart_without_colour_vision() -> None:
    """By the brightness alone of a grey print, or else by the marker."""
    styles = method_styles([])
    assert len({marker for _, marker in styles.values()}) == len(styles)


def test_no_letter_is_smaller_than_seven_points(tmp_path: Path, selected: pd.DataFrame) -> None:
    with for_print():
        figure: Figure = sensitivity_figure(configurations(trials(EXAMPLE)))
        figure.savefig(tmp_path / "a.pdf")
        sizes = [
            text.get_fontsize() for axes in figure.axes for text in axes.findobj(match=_has_size)
        ]
    assert min(sizes) >= 7
    assert figure.get_figwidth() <= 7.2
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()  # publishers refuse such fonts


def _has_size(artist: object) -> bool:
    return hasattr(artist, "get_fontsize") and hasattr(artist, "get_text")


@pytest.mark.parametrize("rho0", [(0.0, 5e-324, 1e-320), (1e-320, 0.1), (0.0,), (1e-5, 0.1)])
def test_any_rho0_has_its_place_on_the_axis(rho0: tuple[float, ...]) -> None:
    frame = trials([("PC", "binary", value, seed, 0.9) for value in rho0 for seed in (0, 1)])
    figure = sensitivity_figure(configurations(frame))
    figure.draw_without_rendering()
    assert np.isfinite(figure.axes[0].get_xlim()).all()


def test_labels_that_would_touch_are_left_out() -> None:
    assert labels_that_fit([1.0, 2.27, 2.3, 32.0], ["a", "b", "c", "d"]) == ["a", "b", "", "d"]
    assert labels_that_fit([0.5], ["0.5"]) == ["0.5"]


def test_a_narrow_range_of_rho0_is_named_at_what_was_tried() -> None:
    frame = trials([("PC", "binary", rho0, 0, 0.5) for rho0 in (0.5, 1.0, 2.0)])
    axes = sensitivity_figure(configurations(frame)).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "1", "2"]
    wide = trials([("PC", "binary", rho0, 0, 0.5) for rho0 in (0.002, 0.5, 2.0)])
    axes = sensitivity_figure(configurations(wide)).axes[0]
    assert list(axes.get_xticks(minor=True)) == [0.002, 0.5, 2.0]
    many = trials([("PC", "binary", rho0, 0, 0.5) for rho0 in np.geomspace(0.001, 1, 21)])
    assert not len(sensitivity_figure(configurations(many)).axes[0].get_xticks(minor=True))
