"""Time of a quantized training step, a plain one and those of other libraries, on one thread.

    python benchmarks/quantized_step.py

Every variant trains the same network on the same batch with SGD, momentum 0.9 and weight decay. All
but the plain ones and `ProxConnect` use BinaryConnect's update with the set {-1, 1}:

- plain: torch.optim.SGD without quantization, with its foreach implementation (`plain` in the
  ratios) and with its fused one;
- BinaryConnect, ProxConnect: ours, with the fused base optimizer on flat tensors; ProxConnect has
  L_rho^rho on the quaternary set;
- PARQ: torchao's QuantOptimizer with ProxHardQuant and a quantizer for {-1, 1}, with its defaults,
  and tuned: with the fused SGD, and with the quantizer called at every step, which is faster than
  its search among the levels;
- straight-through: torch.nn.utils.parametrize with a sign whose backward pass is the identity.

`step` is zero_grad, forward, loss, backward and optimizer; `optimizer` is the optimizer's step
alone with quantization, for given gradients. The straight-through quantizer runs in forward and
backward, so its optimizer step is not comparable and is left out.
"""

import random
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from measuring import RandomBytes, RandomImages, alternated, benchmark_recipes, prepare, write
from peers import VARIANTS, Variant
from torch import Tensor

from quantlab import Recipe


def measure(
    recipe: Recipe,
    variants: Mapping[str, Callable[..., Variant]],
    *,
    rounds: int,
    repeats: int,
    calls: int,
    alone: int = 10,
) -> dict[str, dict[str, float]]:
    """Return milliseconds, and ratios to the step of the variant ``plain``."""
    inputs, labels = random_batch(recipe)

    def train(variant: Variant) -> None:
        variant.zero_grad()
        outputs = variant.model(inputs).flatten(0, -2)
        F.cross_entropy(outputs, labels.flatten()).backward()
        variant.step()

    def whole_steps() -> dict[str, Callable[[], object]]:
        # Built in another order each time, for none to have the best place in memory always.
        names = random.sample(list(variants), len(variants))
        return {name: partial(train, variants[name](recipe)) for name in names}

    def optimizers() -> dict[str, Callable[[], object]]:
        built = {name: variants[name](recipe) for name in variants if name != "straight-through"}
        for variant in built.values():
            train(variant)
        return {name: variant.step for name, variant in built.items()}

    steps = alternated(whole_steps, rounds=rounds, repeats=repeats, calls=calls)
    optimizer = alternated(optimizers, rounds=rounds, repeats=alone, calls=20)
    return {
        name: {
            "step_ms": 1e3 * steps[name],
            "step_over_plain": steps[name] / steps["plain"],
            **({"optimizer_ms": 1e3 * optimizer[name]} if name in optimizer else {}),
        }
        for name in variants
    }


def random_batch(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return random inputs and targets of a recipe with images or bytes."""
    torch.manual_seed(0)
    dataset = recipe.dataset
    if isinstance(dataset, RandomBytes):
        windows = torch.randint(256, (recipe.batch_size, dataset.length + 1))
        return windows[:, :-1], windows[:, 1:]
    assert isinstance(dataset, RandomImages)
    inputs = torch.randn(recipe.batch_size, dataset.num_channels, dataset.size, dataset.size)
    labels = torch.randint(0, 10, (recipe.batch_size,))
    return inputs.contiguous(memory_format=torch.channels_last), labels


def main() -> None:
    prepare()
    random.seed(0)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, recipe in benchmark_recipes().items():
        small = "digits" in name
        rows = measure(
            recipe, VARIANTS, rounds=5, repeats=8 if small else 4, calls=40 if small else 1
        )
        ours = rows["BinaryConnect"]
        for row in rows.values():
            if "optimizer_ms" in row:
                row["optimizer_over_ours"] = row["optimizer_ms"] / ours["optimizer_ms"]
        figures[name] = rows
        print(f"{name:<26}{'step':>10}{'/ plain':>10}{'optimizer':>12}{'/ ours':>9}")
        for variant, row in rows.items():
            line = f"  {variant:<24}{row['step_ms']:>7.2f} ms{row['step_over_plain']:>10.3f}"
            if "optimizer_ms" in row:
                line += f"{row['optimizer_ms']:>9.3f} ms{row['optimizer_over_ours']:>9.2f}"
            print(line)
    write("quantized_step", figures)


if __name__ == "__main__":
    main()
