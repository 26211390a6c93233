"""The claims of the ProxConnect paper (Dockhorn et al., NeurIPS 2021).

If the paper gives no number ("considerably", "stable"), the bound is a choice that its own tables
keep, and `source` says so.
"""

from analysis.claims.claim import Claim
from analysis.claims.quantities import Behind, Lead, LossWithoutPretraining, RangeOverRho0

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "(Reverse)ProxConnect, the better of the two, outperforms BC and PQ by fine-tuning",
        "section 6.1, Table 2",
        Lead(("PC", "rPC"), over=("BC", "PQ"), regime="fine-tuning", not_on="ImageNet"),
        "above",
        0.0,
    ),
    Claim(
        "ProxConnect outperforms all other methods end to end",
        "section 6.1, Table 3",
        Lead(("PC",), over=("BC", "PQ", "rPC"), regime="end-to-end", not_on="ImageNet"),
        "above",
        0.0,
    ),
    Claim(
        "PC is at least as good as BC",
        "Tables 2, 3",
        Lead(("PC",), over=("BC",), not_on="ImageNet"),
        "at least",
        0.0,
    ),
    Claim(
        "PQ collapses end to end on the ternary set: 25 points or more behind the best",
        "Table 3 (bound chosen from it)",
        Behind("PQ", regime="end-to-end", sets=("ternary",)),
        "at least",
        0.25,
    ),
    Claim(
        "BC collapses on the ternary set: 15 points or more behind the best",
        "Tables 2, 3 (bound chosen from them)",
        Behind("BC", sets=("ternary",)),
        "at least",
        0.15,
    ),
    Claim(
        "PQ is considerably worse end to end than by fine-tuning: 5 points or more",
        "section 6.1 (bound chosen from Tables 2, 3)",
        LossWithoutPretraining("PQ"),
        "at least",
        0.05,
    ),
    Claim(
        "rPC is considerably worse end to end than by fine-tuning: 5 points or more",
        "section 6.1 (bound chosen from Tables 2, 3)",
        LossWithoutPretraining("rPC"),
        "at least",
        0.05,
    ),
    Claim(
        "BC drops little without pretraining on the binary and quaternary sets: up to 3 points",
        "section 6.1 (bound chosen from Tables 2, 3)",
        LossWithoutPretraining("BC", sets=("binary", "quaternary")),
        "at most",
        0.03,
    ),
    Claim(
        "PC drops little without pretraining on the binary and quaternary sets: up to 3 points",
        "section 6.1 (bound chosen from Tables 2, 3)",
        LossWithoutPretraining("PC", sets=("binary", "quaternary")),
        "at most",
        0.03,
    ),
    Claim(
        "PC drops on the ternary set without pretraining: 5 points or more",
        "section 6.1 (bound chosen from Tables 2, 3)",
        LossWithoutPretraining("PC", sets=("ternary",)),
        "at least",
        0.05,
    ),
    Claim(
        "PC changes by at most 1.6 points over rho0 on ResNet20",
        "B.1.7, Tables 8, 11 (bound chosen from them)",
        RangeOverRho0("PC", model="ResNet20"),
        "at most",
        0.016,
    ),
    Claim(
        "PC is stable with respect to rho0: up to 2 points",
        "section 6.1, B.1.7 (bound chosen from Tables 8, 11)",
        RangeOverRho0("PC"),
        "at most",
        0.02,
    ),
    Claim(
        "PQ is very sensitive to rho0 end to end: 5 points or more",
        "B.1.7 (bound chosen from Table 9)",
        RangeOverRho0("PQ", regime="end-to-end"),
        "at least",
        0.05,
    ),
    Claim(
        "rPC is very sensitive to rho0 end to end: 5 points or more",
        "B.1.7 (bound chosen from Table 10)",
        RangeOverRho0("rPC", regime="end-to-end"),
        "at least",
        0.05,
    ),
    Claim(
        "BC is slightly better than PC by fine-tuning on ImageNet",
        "section 6.2, Table 4",
        Lead(("BC",), over=("PC",), regime="fine-tuning", dataset="ImageNet"),
        "above",
        0.0,
    ),
    Claim(
        "PC is slightly better than BC end to end on ImageNet",
        "section 6.2, Table 4",
        Lead(("PC",), over=("BC",), regime="end-to-end", dataset="ImageNet"),
        "above",
        0.0,
    ),
)
