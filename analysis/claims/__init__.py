"""What the papers claim, as data, and whether the claims hold in a sweep."""

from collections.abc import Mapping

from analysis.claims import mirror_descent, proxconnect
from analysis.claims.claim import Claim, evaluate_claims
from analysis.claims.quantities import (
    Behind,
    GainOfSet,
    Lead,
    LossOfQuantization,
    LossWithoutPretraining,
    RangeOverRho0,
)

CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "proxconnect": proxconnect.CLAIMS,
    "mirror-descent-view": mirror_descent.CLAIMS,
}
"""Paper -> its claims; the keys are among those of `published.PAPERS`."""

__all__ = [
    "CLAIMS",
    "Behind",
    "Claim",
    "GainOfSet",
    "Lead",
    "LossOfQuantization",
    "LossWithoutPretraining",
    "RangeOverRho0",
    "evaluate_claims",
]
