"""The papers' claims: on their own numbers they come out as they say, or the exception is shown."""

import pandas as pd
import pytest

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
from tests.analysis.frames import EXAMPLE, trials


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
