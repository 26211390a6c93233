"""Draw the pictures of docs/mirror_descent.md, after Figures 2 and 3 of the paper.

Run it from the root of the repository: ``python docs/draw_mirror_descent.py``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from analysis.figures.illustrations import illustration
from analysis.figures.style import for_print
from quantlab.backward_maps import BackwardMap, Jacobian, StraightThrough
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, UpdateRule

DOCS = Path(__file__).parent
BETAS = (1.0, 2.0, 4.0)
POINTS = 401
STEPS = 100
START, BETA, LEARNING_RATE = 1.2, 4.0, 0.1
"""Initial x~ and beta of Figure 3. The paper does not state its learning rate."""


def mirror_maps() -> pd.DataFrame:
    """Projections, their inverses and mirror maps; columns of `illustration`."""
    return pd.concat(_mirror_maps(), ignore_index=True)


def _mirror_maps() -> Iterator[pd.DataFrame]:
    dual = torch.linspace(-2, 2, POINTS, dtype=torch.float64)
    primal = torch.linspace(-0.999, 0.999, POINTS, dtype=torch.float64)
    for name, levels in (("tanh", BINARY), ("shifted tanh", TERNARY)):
        for beta in BETAS:
            projection, label = ShiftedTanh(levels, beta=beta), f"β = {beta:g}"
            w, inverse = projection.prox(dual, 1.0), projection.inverse(primal)
            yield _curve(name, "projection", label, dual, w, "w~", "w = P(w~)")
            yield _curve(name, "inverse", label, primal, inverse, "w", "P⁻¹(w)")
            potential = projection.potential(primal)
            yield _curve(name, "mirror map", label, primal, potential, "w", "Φ(w)")
    # Of two levels, the second latent is 0, and the second probability 1 - u.
    latents = torch.stack((dual, torch.zeros_like(dual)))
    u = (1 + primal) / 2
    probabilities = torch.stack((u, 1 - u))
    for beta in BETAS:
        lifted, label = Softmax(BINARY, beta=beta), f"β = {beta:g}"
        image, inverse = lifted.prox(latents, 1.0)[0], lifted.inverse(probabilities)[0]
        yield _curve("softmax", "projection", label, dual, image, "u~", "u = P(u~)")
        yield _curve("softmax", "inverse", label, u, inverse, "u", "P⁻¹(u)")
        potential = lifted.potential(probabilities)
        yield _curve("softmax", "mirror map", label, u, potential, "u", "Φ(u)")


def _curve(
    row: str, column: str, curve: str, x: object, y: object, x_label: str, y_label: str
) -> pd.DataFrame:
    labels = {"row": row, "column": column, "curve": curve, "x_label": x_label, "y_label": y_label}
    return pd.DataFrame(labels | {"x": np.asarray(x), "y": np.asarray(y)})


@dataclass(frozen=True)
class Method:
    """A method of Figure 3, with all its numbers fixed."""

    quantizer: Quantizer
    rule: UpdateRule = PROX_CONNECT
    sharpness: float = BETA
    backward: BackwardMap = field(default_factory=StraightThrough)
    step_scale: float = 1.0
    """Scale of the steps, and of the first latent, in the units of the other methods."""


METHODS: Mapping[str, Method] = {
    "MD-tanh": Method(ShiftedTanh(BINARY, beta=1.0), step_scale=BETA),
    "MD-tanh-s": Method(ShiftedTanh(BINARY)),
    "MD-softmax": Method(Softmax(BINARY, beta=1.0), step_scale=BETA),
    "MD-softmax-s": Method(Softmax(BINARY)),
    "GD-tanh": Method(ShiftedTanh(BINARY), backward=Jacobian()),
    "PQ-L1": Method(PiecewiseLinear(BINARY), PROX_QUANT, LEARNING_RATE * BETA),
    "PQ-L2": Method(BinaryRelax(BINARY), PROX_QUANT, 2 * LEARNING_RATE * BETA),
}
"""ProxQuant's step is the proximal map of lr beta R: a shift by lr beta towards the level for
R = ||x| - 1|, and (x + 2 lr beta sign(x)) / (1 + 2 lr beta) for R = (|x| - 1)^2."""


def trajectory(method: Method, steps: int = STEPS) -> list[float]:
    """The iterates x_0, ..., x_steps for f(x) = (x + 1)^2, from x~_0 = `START`."""
    x = nn.Parameter(torch.full((1,), method.step_scale * START, dtype=torch.float64))
    optimizer = LatentOptimizer(
        {"x": (x, method.quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=LEARNING_RATE),
        rule=method.rule,
        sharpness=lambda step: method.sharpness,
        backward=method.backward,
        step_scale=lambda step: method.step_scale,
    )
    found = [x.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        (x + 1).square().sum().backward()
        optimizer.step()
        found.append(x.item())
    return found


def toy_convergence() -> pd.DataFrame:
    """What ProxQuant minimizes, and the iterates of the methods; columns of `illustration`.

    The variants of mirror descent have the same iterates, and one curve.
    """
    x = torch.linspace(-1.6, 1.6, POINTS, dtype=torch.float64)
    loss, distance = (x + 1).square(), (x.abs() - 1).abs()
    objectives = {
        "f": loss,
        "PQ-L1": loss + BETA * distance,
        "PQ-L2": loss + BETA * distance.square(),
    }
    shown = {"PQ-L1": "PQ-L1", "PQ-L2": "PQ-L2", "GD-tanh": "GD-tanh", "MD-tanh": "MD variants"}
    iterates = {label: trajectory(METHODS[name]) for name, label in shown.items()}
    steps = range(STEPS + 1)
    return pd.concat(
        [
            *(_curve("", "f + β R", name, x, y, "x", "") for name, y in objectives.items()),
            *(
                _curve("", "iterates", name, steps, values, "step k", "x_k")
                for name, values in iterates.items()
            ),
        ],
        ignore_index=True,
    )


def draw() -> None:
    """Write both pictures."""
    with for_print():
        for name, figure in (
            ("mirror_maps", illustration(mirror_maps())),
            ("toy_convergence", illustration(toy_convergence(), of_methods=True, reference="f")),
        ):
            figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw()
