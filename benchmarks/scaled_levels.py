"""Levels from the weights, compared with torchao's PARQ: their error, and the optimizer's time.

    python benchmarks/scaled_levels.py

*Error* is the sum of (w* - w)^2 over the convolutions of ResNet20 as it is initialized, relative to
that of torchao's LSBQuantizer on the same weights. Its weights w are those that it returns, or the
nearest of its levels if they are closer. The largest ratio over all rows says whether any row is
worse.

*Optimizer* is the time of the optimizer's step alone, for given gradients, of ResNet20 with SGD,
momentum 0.9 and weight decay. Both sides have the same least-squares levels for every output
channel, and PARQ's map in the middle of its annealing, or the projector. Both place the levels in
every tenth step, which is torchao's default, or in every step, which is quantlab's.
"""

import random
from collections.abc import Callable
from functools import partial

import torch
from measuring import alternated, benchmark_recipes, prepare, write
from peers import CPU, Variant, ours, parq_least_squares
from torch import Tensor

from quantlab import Quantization, Quantizer, Recipe, TrainingRun
from quantlab.models.weights import quantized_weights
from quantlab.papers.scaled_methods import LSBQ, PARQ
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales.least_squares import LeastSquares
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT

LEVELS = {len(levels): levels for levels in LSBQ.sets}
assert PARQ.sets == LSBQ.sets
PERIODS = (10, 1)
"""Numbers of steps after which levels are placed anew."""
KINDS = [(2, True), (4, True), (8, True), (16, True), (3, False), (4, False)]
"""Numbers of levels, and whether they are found greedily."""


def level_errors(weights: list[Tensor]) -> dict[str, dict[str, float]]:
    """Return the ratio of the errors, in total and of the worst row, by kind and rows."""
    from torchao.prototype.parq.quant import LSBQuantizer

    found = {}
    for per in ("tensor", "channel"):
        for num_levels, greedy in KINDS:
            bits = 0 if num_levels == 3 else num_levels.bit_length() - 1
            theirs = LSBQuantizer(optimal=not greedy)
            scale, levels = LeastSquares(per=per, greedy=greedy), LEVELS[num_levels]
            own_errors, other_errors = [], []
            for weight in weights:
                rows = weight.reshape(-1, scale.row_length(weight.shape, "weight"))
                own = scale.place(rows, levels).nearest(rows, levels)
                own_errors.append((own - rows).square().sum(dim=1))
                if per == "channel":
                    q, points = theirs.quantize(rows, bits, dim=-1)
                    points = points[:, None]
                else:
                    q, points = theirs.quantize(rows[0], bits)
                distance = (rows[..., None] - points).abs().amin(dim=-1)
                other_errors.append(
                    torch.minimum(
                        (q.view_as(rows) - rows).square().sum(dim=1), distance.square().sum(dim=1)
                    )
                )
            own, other = torch.cat(own_errors), torch.cat(other_errors)
            name = f"{num_levels} levels, {'greedy' if greedy else 'optimal'}, {per}"
            found[name] = {
                "error_over_torchao": float(own.sum() / other.sum()),
                "worst_row": float((own / other).max()),
            }
    return found


def variants() -> dict[str, Callable[[Recipe], Variant]]:
    """Return our optimizer and torchao's for each kind of levels and map, by name."""
    found: dict[str, Callable[[Recipe], Variant]] = {}
    for num_levels, greedy in KINDS:
        levels = LEVELS[num_levels]
        maps: dict[str, Quantizer] = {
            "projector": Nearest(levels),
            "PARQ": PiecewiseLinear(levels, varrho_scale=0.0, relative=True),
        }
        for name, quantizer in maps.items():
            kind = f"{num_levels} levels, {'greedy' if greedy else 'optimal'}, {name}"
            for period in PERIODS:
                quantization = Quantization(
                    rule=PROX_CONNECT,
                    quantizer=quantizer,
                    sharpness=Constant(0.5),
                    scale=LeastSquares(per="channel", greedy=greedy, every=period),
                )
                found[f"{kind}: ours, {period}"] = partial(ours, quantization)
                found[f"{kind}: torchao, {period}"] = partial(
                    parq_least_squares, num_levels, greedy, name == "PARQ", period
                )
    return found


def step_times(recipe: Recipe) -> dict[str, float]:
    """Return the milliseconds of an optimizer step of each variant."""

    def build() -> dict[str, Callable[[], object]]:
        names = variants()
        steps: dict[str, Callable[[], object]] = {}
        for name in random.sample(list(names), len(names)):
            variant = names[name](recipe)
            variant.zero_grad()
            generator = torch.Generator().manual_seed(0)
            for parameter in variant.model.parameters():
                gradient = 1e-3 * torch.randn(parameter.shape, generator=generator)
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad.copy_(gradient)
            variant.step()
            steps[name] = variant.step
        return steps

    # In 20 calls, levels are placed twice, or in each.
    return {name: 1e3 * seconds for name, seconds in alternated(build, repeats=5, calls=20).items()}


def main() -> None:
    prepare()
    random.seed(0)
    recipe = benchmark_recipes()["ResNet20, batch 128"]
    model = TrainingRun(recipe, device=CPU).model
    weights = [weight.detach() for weight in quantized_weights(model).values()]
    with torch.no_grad():
        errors = level_errors(weights)
    print(f"{'levels':<32}{'error / torchao':>18}{'worst row':>12}")
    for name, row in errors.items():
        print(f"{name:<32}{row['error_over_torchao']:>18.6f}{row['worst_row']:>12.6f}")
    times = step_times(recipe)
    rows: dict[str, dict[str, float]] = {}
    print(f"{'optimizer':<32}{'period':>8}{'ours':>11}{'torchao':>12}{'ratio':>8}")
    for kind in sorted({name.partition(": ")[0] for name in times}):
        for period in PERIODS:
            own, other = (times[f"{kind}: {side}, {period}"] for side in ("ours", "torchao"))
            rows[f"{kind}, every {period}"] = {
                "ours_ms": own,
                "torchao_ms": other,
                "ours_over_torchao": own / other,
            }
            print(f"{kind:<32}{period:>8}{own:>8.2f} ms{other:>9.2f} ms{own / other:>8.3f}")
    write("scaled_levels", {"errors": errors, "optimizer": rows})


if __name__ == "__main__":
    main()
