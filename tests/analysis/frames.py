"""Tables of trials for tests."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

Row = tuple[str, str, float | None, int, float | None]


def trials(rows: Iterable[Row], **changes: Any) -> pd.DataFrame:
    """Rows of (method, set, rho0, seed, test accuracy); None for one that diverged.

    The validation accuracy is the test accuracy less 0.01.
    """
    records = [
        {
            "sweep": "made",
            "trial_id": f"t{index}",
            "configuration_id": f"{method}-{levels}-{rho0}",
            "name": f"{method} {levels} {rho0} seed={seed}",
            "dataset": "Digits",
            "model": "ConvNet",
            "regime": "end-to-end",
            "method": method,
            "set": levels,
            "rho0": rho0,
            "seed": seed,
            "state": "DIVERGED" if accuracy is None else "COMPLETE",
            "validation_accuracy": None if accuracy is None else accuracy - 0.01,
            "test_accuracy": accuracy,
            "epochs": 3,
            "seconds": 1.5,
            "git_commit": "",
        }
        | changes
        for index, (method, levels, rho0, seed, accuracy) in enumerate(rows)
    ]
    frame = pd.DataFrame(records)
    numbers = ["rho0", "seed", "validation_accuracy", "test_accuracy", "epochs", "seconds"]
    frame[numbers] = frame[numbers].apply(pd.to_numeric)
    return frame


def grid(
    accuracy: Callable[[str, str, int, int], float],
    *,
    methods: Sequence[str] = ("PQ", "PC"),
    sets: Sequence[str] = ("binary", "ternary"),
    rho0: Sequence[float] = (1e-3, 1e-2, 1e-1),
    seeds: int = 3,
    noise: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """A whole grid: accuracy(method, set, place of rho0, seed), plus normal noise."""
    rng = np.random.default_rng(seed)
    return trials(
        (
            method,
            levels,
            rho0[place],
            run,
            accuracy(method, levels, place, run) + noise * rng.standard_normal(),
        )
        for method, levels, place, run in product(methods, sets, range(len(rho0)), range(seeds))
    )


EXAMPLE: list[Row] = [
    ("FP", "", None, 0, 0.98),
    ("FP", "", None, 1, 0.96),
    ("BC", "binary", None, 0, 0.90),
    ("BC", "binary", None, 1, 0.92),
    ("PC", "binary", 0.01, 0, 0.93),
    ("PC", "binary", 0.01, 1, 0.95),
    ("PC", "binary", 0.1, 0, 0.80),
    ("PC", "binary", 0.1, 1, 0.81),
    ("PQ", "binary", 1e-6, 0, 0.70),
    ("PQ", "binary", 1e-6, 1, None),
]
