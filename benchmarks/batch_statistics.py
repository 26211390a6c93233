"""Test accuracy with and without batch statistics that are estimated again for the hard weights.

    python benchmarks/batch_statistics.py

Each method is trained as in `sweeps/grids/digits.py`, at its middle rho0, with five seeds on three
sets; methods called steady have a constant learning rate. The network is then finished in four
ways: with and without the ten epochs of batch normalization, each with the running statistics of
the training and with statistics that are estimated again (`Quantization.reestimate_batchnorm`).
"""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from quantlab import Averaging, OptimizerSpec, Quantization, Recipe, TrainingRun, override
from quantlab.packs import PackedRun
from quantlab.papers.proxconnect import SETS
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import (
    POST_TRAINING,
    PROX_CONNECT,
    PROX_QUANT,
    REVERSE_PROX_CONNECT,
    UpdateRule,
)
from sweeps.grids.digits import BASE

SEEDS = range(5)
STAGE = 10
"""Epochs of batch normalization."""


def annealed(rule: UpdateRule, rho0: float) -> Quantization:
    """Return the quantization of an annealed method of the demo."""
    return Quantization(rule=rule, quantizer=PiecewiseLinear(), sharpness=Linear(rho0))


PC = annealed(PROX_CONNECT, 0.06)
AVERAGED = replace(PC, averaging=Averaging(start_epoch=15))
DEMO, STEADY = BASE.optimizer, replace(BASE.optimizer, learning_rate=Constant(0.1))
METHODS: Mapping[str, tuple[Quantization, OptimizerSpec]] = {
    "BC": (Quantization(rule=PROX_CONNECT, quantizer=Nearest()), DEMO),
    "PQ": (annealed(PROX_QUANT, 1e-3), DEMO),
    "rPC": (annealed(REVERSE_PROX_CONNECT, 1e-3), DEMO),
    "post-training": (Quantization(rule=POST_TRAINING, quantizer=Nearest()), DEMO),
    "PC": (PC, DEMO),
    "PC, averaged": (AVERAGED, DEMO),
    "PC, steady": (PC, STEADY),
    "PC, averaged, steady": (AVERAGED, STEADY),
}
WAYS = {
    "as trained": (0, False),
    "anew": (0, True),
    "10 epochs, as trained": (STAGE, False),
    "10 epochs, anew": (STAGE, True),
}


def trained(recipes: Sequence[Recipe], states: Sequence[object] | None) -> Sequence[TrainingRun]:
    """Train a pack to its end, from the given states if there are any, and return its runs."""
    pack = PackedRun(recipes)
    for run, state in zip(pack.members, states or (), strict=False):
        run.load_state_dict(state)  # type: ignore[arg-type]
    for event in pack:
        assert event.error is None
    return pack.members


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/batch_statistics.json")
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, (quantization, optimizer) in METHODS.items():
        recipes = [
            override(
                replace(BASE, quantization=quantization, optimizer=optimizer, seed=seed),
                "quantization.quantizer.levels",
                levels,
            )
            for levels in SETS.values()
            for seed in SEEDS
        ]
        states = [run.state_dict() for run in trained(recipes, None)]
        for way, (epochs, anew) in WAYS.items():
            finished = [
                override(
                    replace(recipe, batchnorm_epochs=epochs),
                    "quantization.reestimate_batchnorm",
                    anew,
                )
                for recipe in recipes
            ]
            accuracies = [run.outcome().test_accuracy for run in trained(finished, states)]
            for place, of_set in enumerate(SETS):
                own = accuracies[place * len(SEEDS) : (place + 1) * len(SEEDS)]
                figures.setdefault(of_set, {}).setdefault(name, {})[way] = own
        for of_set in SETS:
            cells = [
                f"{100 * mean(values):.1f} ({100 * stdev(values):.1f})"
                for values in figures[of_set][name].values()
            ]
            print(f"| {of_set} | {name} | {' | '.join(cells)} |", flush=True)
    about = {"machine": platform.machine(), "torch": torch.__version__, "seeds": [*SEEDS]}
    options.out.write_text(json.dumps({**about, "test_accuracy": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
