"""The papers' claims: on their own numbers they come out as they say, or the exception is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import (
    CLAIMS,
    Behind,
    Claim,
    GainOfSet,
    Lead,
    LossOfQuantization,
    LossWithoutPretraining,
    RangeOverRho0,
    evaluate_claims,
)
from analysis.published import published_configurations
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from tests.analysis.frames import EXAMPLE, Row, trials


def evaluated(*claims: Claim, table: pd.DataFrame) -> pd.DataFrame:
    return evaluate_claims(claims, select(table), table)


def test_the_papers_tables_keep_its_claims_but_for_one_tie() -> None:
    found = evaluated(
        *CLAIMS["proxconnect"], table=published_configurations("proxconnect")
    ).set_index("claim")
    exceptions = found[found["verdict"] != "holds"]
    assert exceptions.index.tolist() == [
        "(Reverse)ProxConnect, the better of the two, outperforms BC and PQ by fine-tuning"
    ]
    tie = exceptions.iloc[0]
    assert (tie["verdict"], tie["ties"]) == ("holds in 5 of 6", 1)
    assert tie["exceptions"] == (
        "CIFAR-10 ResNet20 fine-tuning binary (tie): PC (2e-2) 90.31 - BC 90.31 = +0.00"
    )
    assert (found["cells"] > 0).all()


def test_where_the_mirror_descent_paper_contradicts_its_own_tables() -> None:
    found = evaluated(
        *CLAIMS["mirror-descent-view"], table=published_configurations("mirror-descent-view")
    ).set_index("claim")
    exceptions = found[found["verdict"] != "holds"]
    assert (len(found), len(exceptions)) == (25, 4)  # as docs/analysis.md says
    assert exceptions["verdict"].to_dict() == {
        "MD-tanh-s is better than the other binarization methods or on par with the best: at most "
        "1 point behind": "holds in 6 of 7",
        "MD-tanh is superior to GD-tanh on the binary set": "holds in 4 of 5",
        "MD-softmax is better than PMF* on the binary set, or on par: at most 1 point behind": (
            "holds in 1 of 5"
        ),
        "MD-tanh-s gains little on the ternary set over the binary one: up to 1.2 points": (
            "holds in 4 of 5"
        ),
    }
    assert exceptions["exceptions"].tolist()[1] == (
        "CIFAR-10 ResNet-18 end-to-end binary: MD-tanh 92.97 - GD-tanh 93.27 = -0.30"
    )
    assert (
        "CIFAR-100 VGG-16 end-to-end ternary - binary: MD-tanh-s 66.15 - MD-tanh-s 61.69 = "
        in (exceptions["exceptions"].iloc[-1])
    )
    assert (found["cells"] > 0).all()
    assert (found["untested"] == found["cells"]).all()  # one run each


def claim(quantity: object, kind: str, bound: float) -> Claim:
    return Claim("made", "here", quantity, kind, bound)  # type: ignore[arg-type]


def test_quantities_by_hand() -> None:
    table = configurations(trials(EXAMPLE))
    found = evaluated(
        claim(Lead(("PC",), over=("BC", "PQ")), "above", 0.03),
        claim(Lead(("PC",), over=("BC", "PQ")), "above", 0.02),
        claim(Behind("PQ"), "at least", 0.24),
        claim(RangeOverRho0("PC"), "at most", 0.135),
        claim(RangeOverRho0("PC", model="ResNet20"), "at most", 0.135),
        table=table,
    )
    assert found["verdict"].tolist() == ["fails", "holds", "holds", "holds", "not in this sweep"]
    assert found["numbers"].tolist()[:3:2] == [
        "Digits ConvNet end-to-end binary: PC (1e-2) 94.00 - BC 91.00 = +3.00",
        "Digits ConvNet end-to-end binary: PC (1e-2) 94.00 - PQ (1e-6) [n = 1] 70.00 = +24.00",
    ]
    assert found["within_noise"].tolist()[:2] == [1, 1]  # three points, of two seeds each


def test_regimes_are_held_against_one_another() -> None:
    tuned = trials(EXAMPLE, regime="fine-tuning")
    tuned[["trial_id", "configuration_id"]] += "f"
    tuned["test_accuracy"] = (tuned["test_accuracy"] + 0.02).clip(upper=1)
    table = configurations(pd.concat([trials(EXAMPLE), tuned], ignore_index=True))
    found = evaluated(
        claim(LossWithoutPretraining("PC"), "at least", 0.02),
        claim(LossWithoutPretraining("PC", sets=("ternary",)), "at least", 0.02),
        table=table,
    )
    assert found["verdict"].tolist() == ["holds", "not in this sweep"]
    assert found["cells"].tolist() == [1, 0]


def test_sets_and_full_precision_are_held_against_one_another() -> None:
    ternary = [("PC", "ternary", 0.01, seed, 0.96) for seed in (0, 1)]
    table = configurations(trials([*EXAMPLE, *ternary]))
    found = evaluated(
        claim(GainOfSet("PC", larger="ternary", smaller="binary"), "at most", 0.0),
        claim(LossOfQuantization("PC"), "at most", 0.02),
        claim(LossOfQuantization("PC", regime="fine-tuning"), "at least", 0.0),
        claim(Lead(("PC",), over=("BC",), sets=("quaternary",)), "above", 0.0),
        claim(Lead(("PC",), over=("BC",), model="ResNet20"), "above", 0.0),
        table=table,
    )
    assert found["numbers"].tolist() == [
        "Digits ConvNet end-to-end ternary - binary: PC (1e-2) 96.00 - PC (1e-2) 94.00 = +2.00",
        "Digits ConvNet end-to-end binary: FP 97.00 - PC (1e-2) 94.00 = +3.00; "
        "Digits ConvNet end-to-end ternary: FP 97.00 - PC (1e-2) 96.00 = +1.00",
        "",
        "",
        "",
    ]
    assert found["verdict"].tolist()[:2] == ["fails", "holds in 1 of 2"]


@pytest.mark.parametrize(
    ("kind", "value", "holds"),
    [
        ("above", 0.0, False),
        ("above", 0.001, True),
        ("at least", 0.0, True),
        ("at least", -0.001, False),
        ("at most", 0.0, True),
        ("at most", 0.001, False),
    ],
)
def test_bounds(kind: str, value: float, holds: bool) -> None:
    assert claim(Behind("PC"), kind, 0.0).holds(value) is holds


def test_every_claim_says_where_it_stands() -> None:
    for claims in CLAIMS.values():
        assert len({each.text for each in claims}) == len(claims)
        assert all("able" in each.source for each in claims)  # Table or Tables


def test_a_lead_over_some_that_were_not_run_says_so() -> None:
    table = configurations(trials(EXAMPLE))
    found = evaluated(claim(Lead(("PC",), over=("BC", "rPC")), "above", 0.0), table=table)
    assert found["verdict"].tolist() == ["holds"]
    assert "(without rPC): PC (1e-2) 94.00 - BC 91.00" in found["numbers"].iloc[0]


def test_single_seeds_are_not_tested() -> None:
    table = configurations(trials(row for row in EXAMPLE if row[3] == 0))
    found = evaluated(claim(Lead(("PC",), over=("BC",)), "above", 0.0), table=table)
    assert (found["within_noise"].iloc[0], found["untested"].iloc[0]) == (0, 1)


UNEVEN = {"A": [0.90, 0.94, 0.89, 0.93], "B": [0.88, 0.885, 0.87], "C": [0.7, 0.7], "D": [0.7, 0.7]}


def of_methods(accuracies: Mapping[str, Sequence[float | None]]) -> pd.DataFrame:
    rows: list[Row] = [
        (method, "binary", None, seed, accuracy)
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return configurations(trials(rows))


def test_the_interval_of_a_difference_is_welchs() -> None:
    table = of_methods(UNEVEN)
    (measured,) = Lead(("A",), over=("B",)).measure(select(table), table)
    welch = stats.ttest_ind(UNEVEN["A"], UNEVEN["B"], equal_var=False).confidence_interval(0.95)
    assert measured.value == pytest.approx((welch.low + welch.high) / 2)
    assert measured.half_width == pytest.approx((welch.high - welch.low) / 2)
    (equal,) = Lead(("C",), over=("D",)).measure(select(table), table)
    assert (equal.value, equal.half_width) == (0, 0)
    (certain,) = Lead(("A",), over=("C",)).measure(select(table), table)
    one_sample = stats.t.interval(0.95, 3, scale=np.std(UNEVEN["A"], ddof=1) / 2)[1]
    assert certain.half_width == pytest.approx(one_sample)
    table = of_methods({**UNEVEN, "D": [0.7]})
    (single,) = Lead(("A",), over=("D",)).measure(select(table), table)
    assert np.isnan(single.half_width)


@pytest.mark.parametrize("kind", ["above", "at least", "at most"])
def test_a_bound_within_the_interval_is_within_the_noise(kind: str) -> None:
    table = of_methods(UNEVEN)
    quantity = Lead(("B",), over=("A",))
    (measured,) = quantity.measure(select(table), table)
    assert measured.value < 0 < measured.half_width
    for beside, count in ((0.9, 1), (1.1, 0), (-0.9, 1), (-1.1, 0)):
        bound = measured.value + beside * measured.half_width
        found = evaluated(claim(quantity, kind, bound), table=table)
        assert found["within_noise"].iloc[0] == count
        assert found["untested"].iloc[0] == 0


def test_trials_without_an_accuracy_are_in_no_range_and_no_difference() -> None:
    rows: list[Row] = [("PC", "binary", 0.1, 0, 0.9), ("PC", "binary", 0.2, 0, 0.8)]
    rows += [("PC", "binary", 0.3, 0, None), ("PQ", "ternary", 0.1, 0, 0.5)]
    table = configurations(trials([*rows, ("BC", "binary", None, 0, None)]))
    (measured,) = RangeOverRho0("PC").measure(select(table), table)
    assert measured.value == pytest.approx(0.1)
    assert list(RangeOverRho0("BC").measure(select(table), table)) == []
    assert list(Behind("PQ").measure(select(table), table)) == []
    assert list(Behind("PC").measure(select(table), table)) == []
    assert list(Lead(("PC",), over=("BC",)).measure(select(table), table)) == []


def test_a_star_is_another_method_but_punctuation_of_datasets_is_not() -> None:
    """PQ* has layers in full precision; CIFAR-10 is CIFAR10."""
    rows: list[Row] = [
        (method, name, None, seed, accuracy)
        for method, accuracy in (("PQ", 0.8), ("PQ*", 0.9))
        for name in ("binary", "ternary")
        for seed in (0, 1)
    ]
    table = configurations(trials([*rows, ("FP", "", None, 0, 0.95), ("FP", "", None, 1, 0.95)]))
    losses = LossOfQuantization("PQ").measure(select(table), table)
    assert [cell.value for cell in losses] == pytest.approx([0.15, 0.15])
    gains = GainOfSet("PQ*", larger="ternary", smaller="binary").measure(select(table), table)
    assert ["PQ* 90.00 - PQ* 90.00" in cell.numbers for cell in gains] == [True]
    on_imagenet = configurations(trials(rows, dataset="image-net"))
    lead = Lead(("PQ*",), over=("PQ",), not_on="ImageNet")
    assert len(list(lead.measure(select(table), table))) == 2
    assert list(lead.measure(select(on_imagenet), on_imagenet)) == []
    only = replace(lead, not_on="", dataset="ImageNet")
    assert len(list(only.measure(select(on_imagenet), on_imagenet))) == 2
