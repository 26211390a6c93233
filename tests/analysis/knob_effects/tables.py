"""Tables of trials with knobs for tests."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd

from analysis.knob_effects.settings import KnobSettings, knob_settings
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from tests.analysis.frames import trials

RATES = (0.01, 0.1, 1.0)
THETAS = (0.0, 0.5, 1.0)


def with_knobs(
    accuracy: Callable[[float, float], float],
    *,
    rates: Sequence[float] = RATES,
    thetas: Sequence[float] = THETAS,
    noise: float = 0.0,
    seeds: int = 3,
    knobs: tuple[str, str] = ("log", "linear"),
    rng: np.random.Generator | None = None,
    method: str = "PC",
) -> pd.DataFrame:
    """Trials of a method with accuracy(rate, theta) plus noise; the validation accuracy has none.

    There is no rho0: the axes are a rate and a theta, which are knobs unless their text is empty.
    """
    rng = rng or np.random.default_rng(0)
    places = list(product(rates, thetas, range(seeds)))
    frame = trials(
        (method, "binary", None, seed, accuracy(rate, theta) + noise * rng.standard_normal())
        for rate, theta, seed in places
    )
    frame = frame.assign(
        **{
            "axis.rate": [f"{rate:g}" for rate, _, _ in places],
            "axis.theta": [f"{theta:g}" for _, theta, _ in places],
            "knob.rate": knobs[0],
            "knob.theta": knobs[1],
            "validation_accuracy": [accuracy(rate, theta) - 0.01 for rate, theta, _ in places],
        }
    )
    names = frame["configuration_id"] + frame["axis.rate"] + " " + frame["axis.theta"]
    return frame.assign(configuration_id=names)


def settings_of(frame: pd.DataFrame) -> KnobSettings:
    """The knobs of a table of trials."""
    checked = Measurements(frame).trials
    return knob_settings(configurations(checked), checked)
