"""Mirror descent on small problems (mirror-descent paper, section 3; Figure 3)."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab.backward_maps import BackwardMap, Jacobian, StraightThrough
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, UpdateRule

BETA, START = 4.0, 1.2


def toy(
    quantizer: Quantizer,
    rate: float,
    steps: int,
    *,
    sharpness: Callable[[int], float] = lambda step: BETA,
    rule: UpdateRule = PROX_CONNECT,
    backward: BackwardMap = StraightThrough(),  # noqa: B008
    gradient: Callable[[Tensor, int], Tensor] = lambda w, step: 2 * (w + 1),
    start: float = START,
    adam: bool = False,
    **options: Any,
) -> list[float]:
    """The weights of all steps on f(x) = (x + 1)^2, from the latent weight 1.2."""
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))

    def make_base(parameters: Any) -> torch.optim.Optimizer:
        return (torch.optim.Adam if adam else torch.optim.SGD)(parameters, lr=rate)

    optimizer = LatentOptimizer(
        {"w": (weight, quantizer)},
        [],
        make_base=make_base,
        rule=rule,
        sharpness=sharpness,
        backward=backward,
        **options,
    )
    found = [weight.item()]
    for step in range(steps):
        weight.grad = gradient(weight.detach(), step)
        optimizer.step()
        found.append(weight.item())
    return found


def closed_form(rate: float, steps: int, beta: float) -> list[float]:
    """Equation (15) as printed, in the primal space."""
    w = math.tanh(beta * START)
    found = [w]
    for _ in range(steps):
        ratio = (1 + w) / (1 - w) * math.exp(-2 * beta * rate * 2 * (w + 1))
        w = (ratio - 1) / (ratio + 1)
        found.append(w)
    return found


def exponentiated(rate: float, steps: int, beta: float) -> list[float]:
    """Equation (20) as printed, on the probabilities of -1 and 1."""
    u = torch.softmax(beta * torch.tensor([-START, START], dtype=torch.float64), dim=0)
    levels = torch.tensor(BINARY, dtype=torch.float64)
    found = [float(levels @ u)]
    for _ in range(steps):
        u = u * torch.exp(-beta * rate * levels * 2 * (levels @ u + 1))
        u = u / u.sum()
        found.append(float(levels @ u))
    return found


def test_t37_at_a_fixed_steepness_all_forms_of_mirror_descent_are_one() -> None:
    """And they reach -1 with 1 + x_k close to 1 / (16 lr k)."""
    rate, steps = 0.01, 2000
    stable = toy(ShiftedTanh(BINARY), rate, steps)
    assert stable[0] == pytest.approx(0.9998645517, abs=1e-10)
    exact = toy(
        ShiftedTanh(BINARY, beta=1.0),
        rate,
        steps,
        start=BETA * START,
        step_scale=lambda step: BETA,
    )
    lifted = toy(Softmax(BINARY), rate, steps)  # half the difference of the latents is that of tanh
    assert stable == pytest.approx(closed_form(rate, steps, BETA), abs=1e-12)
    assert stable == pytest.approx(exact, abs=1e-12)
    assert lifted == pytest.approx(exponentiated(rate, steps, BETA), abs=1e-12)
    assert lifted == pytest.approx(stable, abs=1e-12)
    for step in (500, 1000, 2000):
        assert 1 + stable[step] == pytest.approx(1 / (16 * rate * step), rel=0.15)


def test_t37_gradient_descent_is_slow_to_leave_the_wrong_side() -> None:
    rate = 0.1
    mirror = toy(ShiftedTanh(BINARY), rate, 100)
    descent = toy(ShiftedTanh(BINARY), rate, 400, backward=Jacobian())
    latent, by_hand = START, []
    for _ in descent:
        by_hand.append(math.tanh(BETA * latent))
        latent -= rate * 2 * (by_hand[-1] + 1) * BETA * (1 - by_hand[-1] ** 2)
    assert descent == pytest.approx(by_hand, abs=1e-10)

    def first_below_zero(weights: list[float]) -> int:
        return next(step for step, weight in enumerate(weights) if weight < 0)

    assert first_below_zero(mirror) == 4
    assert first_below_zero(descent) == 293
    assert mirror[100] < -0.99


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_t37_proxquant_stays_on_the_wrong_side(rate: float) -> None:
    """|x| - 1 in the first power keeps the weight at 1; in the second, away from every level."""
    sharp = toy(
        PiecewiseLinear(BINARY), rate, 500, rule=PROX_QUANT, sharpness=lambda step: rate * BETA
    )
    assert sharp[-1] == 1.0
    # P^mu = (x + mu P_Q(x)) / (1 + mu) is the proximal map of mu (|x| - 1)^2 / 2.
    limits = {1.0: 1 / 3, 2.0: 0.6}  # of beta (|x| - 1)^2 / 2 and beta (|x| - 1)^2
    for factor, limit in limits.items():
        relaxed = toy(
            BinaryRelax(BINARY),
            rate,
            int(5 / rate),
            rule=PROX_QUANT,
            sharpness=lambda step, factor=factor: factor * rate * BETA,  # type: ignore[misc]
        )
        stays = relaxed[-1]
        assert 2 * (stays + 1) + factor * BETA * (stays - 1) == pytest.approx(0, abs=1e-9)
        assert stays == pytest.approx(limit, abs=1e-9)


def annealed(step: int) -> float:
    return 1.3**step


def test_t39_annealed_mirror_descent_is_not_its_stable_form() -> None:
    """MD-tanh sums beta_k lr g_k; the stable form multiplies the plain sum by the last beta."""
    gradients = [1.0] * 10 + [-1.0] * 5

    def given(weight: Tensor, step: int) -> Tensor:
        return torch.full_like(weight, gradients[step])

    rate, steps = 0.1, len(gradients)
    exact = toy(
        ShiftedTanh(BINARY, beta=1.0), rate, steps, gradient=given, step_scale=annealed, start=0.3
    )
    stable = toy(ShiftedTanh(BINARY), rate, steps, gradient=given, sharpness=annealed, start=0.3)
    total = sum(annealed(step) * rate * own for step, own in enumerate(gradients))
    assert exact[-1] == pytest.approx(math.tanh(0.3 - total), abs=1e-13)
    plain = 0.3 - rate * sum(gradients)
    assert stable[-1] == pytest.approx(math.tanh(annealed(steps) * plain), abs=1e-13)
    assert exact[-1] > 0.999 > -0.999 > stable[-1]


def test_t38_a_step_is_that_of_the_closed_form() -> None:
    """tanh(atanh(w) - beta lr g) is equation (15), here for many weights at once."""
    w = torch.linspace(-0.95, 0.95, 20, dtype=torch.float64)
    g = torch.linspace(3, -2, 20, dtype=torch.float64)
    beta, rate = 1.7, 0.1
    quantizer = ShiftedTanh(BINARY)
    stepped = quantizer.prox(quantizer.inverse(w, beta) - rate * g, beta)
    ratio = (1 + w) / (1 - w) * torch.exp(-2 * beta * rate * g)
    torch.testing.assert_close(stepped, (ratio - 1) / (ratio + 1))
    # It minimizes <lr g, w'> + D(w', w), equation (28).
    for shift in (-1e-3, 1e-3):
        others = (stepped + shift).clamp(-0.999, 0.999)

        def objective(point: Tensor) -> Tensor:
            return rate * g * point + quantizer.bregman(point, w, beta)

        assert (objective(stepped) < objective(others)).all()


def test_t40_binary_softmax_with_adam_is_tanh_with_adam() -> None:
    """Adam's direction has the same size for both latents, whatever the scale of the gradient."""
    options: dict[str, Any] = {
        "sharpness": lambda step: min(1.05**step, 50.0),
        "adam": True,
        "start": 0.37,
        "gradient": lambda w, step: 2 * (w + 1) + math.sin(step),
    }
    lifted = toy(Softmax(BINARY), 0.01, 300, **options)
    plain = toy(ShiftedTanh(BINARY), 0.01, 300, **options)
    assert lifted == pytest.approx(plain, abs=1e-6)  # eps of Adam is added to both alike
    assert lifted[150] != lifted[0]


def test_t42_theorem_2_holds_with_an_annealed_steepness() -> None:
    """f = (x + 1)^2 on [-1, 1]: R^2 = log 2, L = 4, rho = 1, B = 4."""
    steps, largest = 400, 4.0
    radius, lipschitz = math.sqrt(math.log(2)), 4.0
    rate = radius / lipschitz * math.sqrt(2 / (largest * steps))
    bound = radius * lipschitz * math.sqrt(2 * largest / steps)
    assert bound == pytest.approx(0.471, abs=1e-3)
    gaps = []
    for scale in (lambda step: largest, lambda step: 1 + 3 * step / (steps - 1)):
        path = toy(ShiftedTanh(BINARY, beta=1.0), rate, steps, start=0.0, step_scale=scale)[:-1]
        mean = sum(path) / steps
        gaps.append((mean + 1) ** 2)
    assert gaps == pytest.approx([0.0092, 0.0398], abs=1e-4)
    assert max(gaps) <= bound
