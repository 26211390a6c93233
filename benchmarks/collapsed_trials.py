"""How often noise alone makes a trial collapse, and how often a collapse is seen, by simulation.

Each setting has 5,000 methods whose noise over seeds is normal and the same at every rho0. It is
given in margins. In the first part, all rho0 are equally good. In the second one, the first seed of
a rho0, or of all but one, lies 27 margins lower, which are 80 points of accuracy.
"""

from itertools import product
from typing import Any

import numpy as np
from measuring import write

from analysis.statistics.verdicts import collapsed

METHODS = 5000
CHOICES = (3, 5, 10)
SEEDS = (2, 3, 5, 10)
NOISE = (2.0, 3.5, 5.0, 10.0, 100.0)
DEPTH = 27.0
NOISE_OF_COLLAPSING = (1 / 3, 2 / 3, 5 / 3)


def measure(choices: int, seeds: int, noise: float, fallen: int) -> dict[str, Any]:
    """The share of methods with a collapsed trial, if a seed of so many rho0 has collapsed."""
    rng = np.random.default_rng([choices, seeds, fallen])
    scores = noise * rng.standard_normal((METHODS, choices, seeds))
    scores[:, choices - fallen :, 0] -= DEPTH
    found = np.mean([collapsed(list(own), 1.0) > 0 for own in scores])
    row = {"choices": choices, "seeds": seeds, "noise": round(noise, 2), "fallen": fallen}
    row |= {"found": float(found)}
    print(row, flush=True)
    return row


def main() -> None:
    false = [measure(*setting, 0) for setting in product(CHOICES, SEEDS, NOISE)]
    seen = [
        measure(choices, seeds, noise, fallen)
        for choices, seeds, noise in product(CHOICES, SEEDS[:3], NOISE_OF_COLLAPSING)
        for fallen in (1, choices - 1)
    ]
    write("collapsed_trials", {"methods": METHODS, "of_noise": false, "of_collapses": seen})


if __name__ == "__main__":
    main()
