"""The papers' numbers: their selection done again, what does not fit, and a sweep beside them."""

import pandas as pd
import pytest

from analysis.published import (
    PAPERS,
    UnknownPaperError,
    oddities,
    published,
    published_configurations,
    rank_agreement,
    side_by_side,
)
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from tests.analysis.frames import EXAMPLE, grid, trials

CELL = ["dataset", "model", "regime", "method", "set"]


def test_the_best_of_the_appendix_are_the_main_tables() -> None:
    """Tables 6-11 as configurations; choosing gives Tables 2-3 but for one misprinted best."""
    selected = select(published_configurations("proxconnect"), "test")
    main = published("proxconnect")
    main = main[main["at_best"]]
    assert main["table"].value_counts().to_dict() == {"2": 18, "3": 18}
    both = main.merge(selected, on=CELL, suffixes=("_main", ""))
    assert len(both) == 36
    different = both[(both["mean"] - both["test_mean"]).abs() > 1e-9]
    assert different[["table", "model", "method", "set"]].values.tolist() == [
        ["2", "ResNet56", "rPC", "ternary"]
    ]
    assert different["mean"].tolist() == pytest.approx([0.9284])
    assert different["test_mean"].tolist() == pytest.approx([0.9285])


def test_what_does_not_fit_is_found() -> None:
    found = oddities("proxconnect").set_index("kind")
    assert list(found.index) == [
        "the mean is not the best",
        "the standard deviations differ",
        "the standard deviation is zero",
    ]
    assert found.loc["the mean is not the best", ["main", "appendix"]].tolist() == [
        "92.84 (0.11)",
        "92.85 (0.12)",
    ]
    assert found.loc["the standard deviations differ", ["main", "appendix"]].tolist() == [
        "89.92 (0.65)",
        "89.92 (0.26)",
    ]
    assert found.loc["the standard deviation is zero", "method"] == "BC"


def test_counts_of_what_is_printed() -> None:
    table = published("proxconnect")
    assert table["table"].value_counts().to_dict() == {
        **{"section 6.1": 2, "2": 24, "3": 24, "4": 6},
        **dict.fromkeys(map(str, range(6, 12)), 18),
    }
    alone = table[table["method"] == "FP"].set_index("model")
    assert alone["mean"].to_dict() == pytest.approx({"ResNet20": 0.9201, "ResNet56": 0.9301})
    assert alone["n"].tolist() == [1, 1]
    quantized = table[table["set"] != ""]
    assert quantized[["mean", "std"]].notna().all(axis=None)
    assert set(quantized.loc[quantized["dataset"] == "ImageNet", "set"]) == {"not stated"}
    assert (published("mirror-descent-view")["mean"] > 0.3).all()
    assert set(PAPERS) == {"proxconnect", "mirror-descent-view"}
    with pytest.raises(
        UnknownPaperError,
        match=r"'proxconect' .*one of proxconnect, mir",
    ):
        published("proxconect")


def test_the_paper_beside_itself_is_the_same() -> None:
    table = published_configurations("proxconnect")
    beside = side_by_side(select(table, "test"), table, "proxconnect")
    assert beside["same_setting"].all()
    assert beside["difference"].abs().max() == pytest.approx(1e-4)  # the misprinted best
    at_best = beside[beside["cell"] == "best ρ0"]
    # Of Tables 2 and 3, full precision of section 6.1, and BinaryConnect of Table 4.
    assert len(at_best) == 48 + 2 + 2
    assert len(beside) == len(at_best) + 108 + 4
    ranks = rank_agreement(beside)
    assert ranks["tau"].min() > 0.9
    assert set(ranks["table"]) == {"2", "3", "4", *map(str, range(6, 12))}


def test_cells_of_the_same_setting_are_compared_with_their_rho0() -> None:
    frame = trials(EXAMPLE, dataset="CIFAR10", model="ResNet20")
    table = configurations(frame)
    beside = side_by_side(select(table), table, "proxconnect").set_index(["method", "cell"])
    assert set(beside.index) == {
        ("FP", "best ρ0"),
        ("BC", "best ρ0"),
        ("PC", "best ρ0"),
        ("PC", "1e-2"),
        ("PQ", "best ρ0"),
        ("PQ", "1e-6"),
    }
    row = beside.loc[("PC", "1e-2")]
    assert (row["ours"], row["theirs"]) == pytest.approx((0.94, 0.8992))
    assert row["difference"] == pytest.approx(0.94 - 0.8992)
    assert row["table"] == "11"
    assert beside.loc[("BC", "best ρ0"), "theirs"] == pytest.approx(0.8751)


def test_other_settings_stand_beside_the_stand_in_and_say_so() -> None:
    table = configurations(trials(EXAMPLE))
    beside = side_by_side(select(table), table, "proxconnect")
    assert not beside["same_setting"].any()
    assert set(beside["cell"]) == {"best ρ0"}
    assert beside.set_index("method").loc["PC", "theirs"] == pytest.approx(0.8992)


def test_the_reverse_order_is_minus_one() -> None:
    table = published_configurations("proxconnect")
    upside_down = table.assign(test_mean=1 - table["test_mean"])
    beside = side_by_side(select(upside_down, "test"), upside_down, "proxconnect")
    in_appendix = beside[beside["table"] == "11"]
    assert rank_agreement(in_appendix)["tau"].tolist() == pytest.approx([-1, -1])


def test_a_sweep_with_nothing_in_common_has_an_empty_table() -> None:
    frame = grid(lambda *_: 0.5, methods=("Mine",))
    table = configurations(frame)
    beside = side_by_side(select(table), table, "proxconnect")
    assert isinstance(beside, pd.DataFrame)
    assert beside.empty
    assert rank_agreement(beside).empty
