"""The claims of the mirror-descent paper (Ajanthan et al., AISTATS 2021).

If the paper gives no number ("on par", "large margin"), the bound is a choice, and `source` says
so. Names of methods are those of the paper: a star marks methods whose hyper-parameters its authors
have searched (PMF*), or whose first, last and shortcut layers are in full precision (PQ*).
"""

from analysis.claims.claim import Claim
from analysis.claims.quantities import (
    GainOfSet,
    Lead,
    LossOfQuantization,
    LossWithoutPretraining,
)

_STABLE = ("MD-softmax-s", "MD-tanh-s")
_VARIANTS = ("MD-softmax", "MD-tanh", *_STABLE)
_OTHERS = ("BC", "PQ", "PQ*", "PMF", "PMF*", "GD-tanh")
_PAR = 0.01
"""Difference up to which accuracies are on par: 1 point."""
_FLOAT_ENDS, *_FURTHER_ROWS = (
    f"MD-tanh-s [conv1+fc {ends}, bias {bias}, bn float, layerwise scale no]"
    for ends, bias in (("float", "float"), ("binary", "float"), ("binary", "binary"))
)
"""The networks of Table 4 without layerwise scaling. The first is MD-tanh-S of Table 3."""

CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            f"{method} outperforms PQ in the same setting",
            "section 5.1, B.3, Tables 1, 5",
            Lead((method,), over=("PQ",)),
            "above",
            0.0,
        )
        for method in _VARIANTS
    ),
    *(
        Claim(
            f"{method} is better than the other binarization methods or on par with the best: at "
            "most 1 point behind",
            "section 5.1, Table 1 (bound chosen)",
            Lead((method,), over=_OTHERS, sets=("binary",), not_on="ImageNet"),
            "at least",
            -_PAR,
        )
        for method in _STABLE
    ),
    Claim(
        "MD-tanh is superior to GD-tanh on the binary set",
        "section 5.1, Table 1",
        Lead(("MD-tanh",), over=("GD-tanh",), sets=("binary",)),
        "above",
        0.0,
    ),
    Claim(
        "MD-tanh-s is better than GD-tanh on the ternary set, or on par: at least as good",
        "B.3, Table 5",
        Lead(("MD-tanh-s",), over=("GD-tanh",), sets=("ternary",)),
        "at least",
        0.0,
    ),
    *(
        Claim(
            f"{method} is better than PMF* on the binary set, or on par: at most 1 point behind",
            "section 5.1, Table 1 (bound chosen)",
            Lead((method,), over=("PMF*",), sets=("binary",)),
            "at least",
            -_PAR,
        )
        for method in ("MD-softmax", "MD-softmax-s")
    ),
    Claim(
        "MD-softmax-s is better than MD-softmax",
        "section 5.1, Table 1",
        Lead(("MD-softmax-s",), over=("MD-softmax",)),
        "above",
        0.0,
    ),
    Claim(
        "MD-tanh is better than MD-tanh-s or on par: at most 1 point behind",
        "section 5.1, Table 1 (bound chosen)",
        Lead(("MD-tanh",), over=("MD-tanh-s",)),
        "at least",
        -_PAR,
    ),
    Claim(
        "MD-tanh outperforms all other methods on TinyImageNet by a large margin: 2 points or more",
        "Table 1 (bound chosen from it)",
        Lead(
            ("MD-tanh",),
            over=(*_OTHERS, "MD-softmax", *_STABLE),
            dataset="TinyImageNet",
            sets=("binary",),
        ),
        "at least",
        0.02,
    ),
    *(
        Claim(
            f"{method} significantly outperforms BC with MobileNetV2: 1 point or more",
            "section 5.1, Table 2 (bound chosen from it)",
            Lead((method,), over=("BC",), model="MobileNetV2"),
            "at least",
            0.01,
        )
        for method in _STABLE
    ),
    Claim(
        "MD-tanh-s is slightly better than MD-softmax-s with MobileNetV2",
        "Table 2",
        Lead(("MD-tanh-s",), over=("MD-softmax-s",), model="MobileNetV2"),
        "above",
        0.0,
    ),
    *(
        Claim(
            f"{method} is close to full precision on CIFAR-10: up to 4 points",
            "abstract (bound chosen from Tables 1, 2, 5)",
            LossOfQuantization(method, dataset="CIFAR-10"),
            "at most",
            0.04,
        )
        for method in _STABLE
    ),
    Claim(
        "MD-tanh-s loses at most 4 points on ImageNet by fine-tuning",
        "section 5.1, Table 3",
        LossOfQuantization(_FLOAT_ENDS, dataset="ImageNet", regime="fine-tuning"),
        "at most",
        0.04,
    ),
    Claim(
        "MD-tanh-s outperforms all other methods on ImageNet",
        "Table 3",
        Lead(
            (_FLOAT_ENDS,),
            over=("BWN", "BR", "ELQ", "ADMM", "QN"),
            dataset="ImageNet",
        ),
        "above",
        0.0,
    ),
    Claim(
        "MD-tanh-s loses at most 1 point without pretraining on ImageNet",
        "section 5.1, Table 3",
        LossWithoutPretraining(_FLOAT_ENDS),
        "at most",
        0.01,
    ),
    Claim(
        "Networks on ImageNet are best with conv1, FC and biases in full precision",
        "Table 4",
        Lead((_FLOAT_ENDS,), over=tuple(_FURTHER_ROWS), dataset="ImageNet"),
        "above",
        0.0,
    ),
    *(
        Claim(
            f"{method} gains little on the ternary set over the binary one: up to 1.2 points",
            "B.3 (bound chosen from Tables 1, 5)",
            GainOfSet(method, larger="ternary", smaller="binary"),
            "at most",
            0.012,
        )
        for method in _STABLE
    ),
    Claim(
        "PQ*, with layers in full precision and levels of its own, is better than MD on CIFAR-10 "
        "and the ternary set",
        "B.3, Table 5",
        Lead(("PQ*",), over=_STABLE, dataset="CIFAR-10", sets=("ternary",)),
        "above",
        0.0,
    ),
)
