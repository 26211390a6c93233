"""Draw the picture of docs/quantized_nets.md, and print its numbers.

Run it from the root of the repository: ``python docs/draw_quantized_nets.py`` (30 seconds).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from analysis.figures.illustrations import illustration
from analysis.figures.style import for_print
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantizers import Quantizer
from quantlab.quantizers.unbounded.grid import NearestOnGrid, StochasticOnGrid
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, Point, UpdateRule

DOCS = Path(__file__).parent
MINIMUM, NOISE, RESOLUTION = 0.3, 3.0, 0.5
"""f(x) = (x - 0.3)^2 / 2, whose gradient has noise that is uniform on [-3, 3]; levels k / 2."""
COPIES = 20_000
RATES = (0.1, 0.05, 0.025, 0.0125, 0.00625)
SHOWN_EVERY = 10
"""Steps between two points of a curve."""
DROPS = {0: 0.1, 400: 0.02, 1200: 0.004}
"""Step from which a learning rate holds."""
STEPS = 4000


@dataclass(frozen=True)
class Method:
    """A method on the one-dimensional problem."""

    quantizer: Quantizer
    rule: UpdateRule
    seen_at: Point
    """Weights of which the distance from the minimum is measured."""


METHODS = {
    "SR": Method(StochasticOnGrid(RESOLUTION), PROX_QUANT, Point.PROXIMAL),
    "BC, w_r": Method(NearestOnGrid(RESOLUTION), PROX_CONNECT, Point.LATENT),
    "BC, w_b": Method(NearestOnGrid(RESOLUTION), PROX_CONNECT, Point.PROXIMAL),
    "not quantized": Method(NearestOnGrid(RESOLUTION), POST_TRAINING, Point.LATENT),
}


def descent(method: Method, rate: Callable[[int], float], steps: int) -> Iterator[Tensor]:
    """Yield the weights of many copies after each step, from 0.

    Args:
        method: the method.
        rate: learning rate of each step.
        steps: number of steps.
    """
    torch.manual_seed(0)
    x = nn.Parameter(torch.zeros(COPIES, dtype=torch.float64))
    optimizer = LatentOptimizer(
        {"x": (x, method.quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        rule=method.rule,
        sharpness=lambda step: 0.0,
    )
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        noise = NOISE * (2 * torch.rand(COPIES, dtype=torch.float64) - 1)
        x.grad = x.detach() - MINIMUM + noise
        optimizer.step()
        with optimizer.weights_at(method.seen_at):
            yield x.detach().clone()


def spread(method: Method, rate: float) -> float:
    """Return the root mean square of x - 0.3, long after the start."""
    *_, last = descent(method, lambda step: rate, math.ceil(10 / rate))
    return float((last - MINIMUM).square().mean().sqrt())


def table() -> pd.DataFrame:
    """The spread of each method at each learning rate."""
    return pd.DataFrame(
        {
            "learning rate": rate,
            **{name: spread(method, rate) for name, method in METHODS.items()},
        }
        for rate in RATES
    )


def curves(spreads: pd.DataFrame) -> pd.DataFrame:
    """Points of the picture; columns of `illustration`."""
    panel = {"row": "", "column": "long after the start", "x_label": "learning rate α"}
    parts = [
        pd.DataFrame(
            panel
            | {"curve": name, "x": spreads["learning rate"], "y": spreads[name]}
            | {"y_label": "RMS of x − 0.3"}
        )
        for name in METHODS
    ]

    def rate(step: int) -> float:
        return next(value for start, value in reversed(DROPS.items()) if step >= start)

    panel = {"row": "", "column": "α = 0.1, 0.02, 0.004", "x_label": "step"}
    for name, method in METHODS.items():
        every = islice(descent(method, rate, STEPS), 0, None, SHOWN_EVERY)
        values = [float((x - MINIMUM).square().mean().sqrt()) for x in every]
        parts.append(
            pd.DataFrame(
                panel
                | {"curve": name, "x": range(1, STEPS + 1, SHOWN_EVERY), "y": values}
                | {"y_label": "RMS of x − 0.3"}
            )
        )
    return pd.concat(parts, ignore_index=True)


def draw() -> None:
    """Write the picture, and print the table."""
    spreads = table()
    with for_print():
        illustration(curves(spreads), of_methods=True).savefig(
            DOCS / "noise_floor.svg", metadata={"Date": None}
        )
    print(spreads.round(dict.fromkeys(METHODS, 3)).to_string(index=False))


if __name__ == "__main__":
    draw()
