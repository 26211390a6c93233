"""A search compared with random draws from the same space, with the same budget.

The study is `digits_quantizers` with its known points, seeds and pruner. A network with one hidden
layer, trained for half of the epochs, replaces its network: a training takes a fifth of a second.
Only the sampler differs. More of the random configurations are pruned early, so random search is
also run with 1.5 times the budget. The best new configuration is evaluated by its mean over seeds
that no search has used.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.figure import Figure
from measuring import write
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import BaseTrial
from torch import nn

from analysis.figures.style import for_print
from quantlab import Recipe, TrainingRun
from quantlab.datasets.digits import Digits
from quantlab.models import ModelSpec
from sweeps.loading import load_study
from sweeps.searching.results import recipe_of, winner
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, TrialState
from sweeps.study import better_half, tree_of_parzen_estimators
from sweeps.worker.trial import train_trials

STUDY = load_study("digits_quantizers")
EPOCHS = 15
DATA = Path("data")
FRESH_SEEDS = tuple(range(100, 120))


def random_draws(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SEARCHES: dict[str, tuple[Callable[[int], BaseSampler], float]] = {
    "TPE": (tree_of_parzen_estimators, 1),
    "random": (random_draws, 1),
    "random, more": (random_draws, 1.5),
}
"""Name -> sampler, and factor of the budget."""


@dataclass(frozen=True)
class OneHiddenLayer(ModelSpec):
    """Two linear layers, with batch normalization."""

    width: int = 32

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * num_channels, self.width),
            nn.BatchNorm1d(self.width),
            nn.ReLU(),
            nn.Linear(self.width, num_classes),
            nn.BatchNorm1d(num_classes),
        )


def surrogate(trial: BaseTrial) -> Recipe:
    """Return the recipe of a point of the study's space, with the small network."""
    return replace(
        STUDY.space(trial),
        model=OneHiddenLayer(),
        dataset=Digits(train_images=640, validation_images=600, test_images=60),
        epochs=EPOCHS,
        batchnorm_epochs=3,
        batch_size=64,
    )


def search(name: str, repeat: int, configurations: int) -> dict[str, Any]:
    """Run one search in this process, and evaluate its winner on fresh seeds."""
    sampler, share = SEARCHES[name]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        spec = replace(
            STUDY,
            space=surrogate,
            configurations=round(share * configurations),
            sampler=sampler,
            pruner=better_half(after=EPOCHS // 2),
            seed=repeat,
        )
        storage = Storage(Path(folder))
        storage.require_writable()
        queue = StudyQueue(spec, storage)
        epochs = 0
        while cells := queue.next():
            (cell,) = cells
            trial = storage.trial(cell.fingerprint)
            ended = None
            with closing(train_trials([(cell.recipe, trial)], data_dir=DATA)) as training:
                for events in training:
                    epochs += len(events)
                    if events and queue.should_prune(cell.fingerprint):
                        ended = TrialState.STOPPED
                        break
            queue.ended(cell, ended or trial.state())
        best = winner(spec, queue.study)
        so_far, curve = 0.0, []
        for frozen in queue.study.trials:
            so_far = max(so_far, frozen.values[0] if frozen.values else 0.0)
            curve.append(so_far)
        fresh = [accuracy(replace(recipe_of(spec, best), seed=seed)) for seed in FRESH_SEEDS]
    return {
        "search": name,
        "repeat": repeat,
        "found": best.values[0],
        "fresh": sum(fresh) / len(fresh),
        "epochs": epochs,
        "curve": curve,
        "params": dict(best.params),
    }


def accuracy(recipe: Recipe) -> float:
    """Train a recipe, and return the validation accuracy of the finished network."""
    run = TrainingRun(recipe, data_dir=DATA)
    for _ in run:
        pass
    return run.outcome().validation_accuracy


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the best value so far over the configurations, of each repeat and their median."""
    with for_print():
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")
        axes = figure.subplots()
        # "random" is the beginning of "random, more".
        for name, colour in (("TPE", "#0072b2"), ("random, more", "#d55e00")):
            curves = [result["curve"] for result in results if result["search"] == name]
            for curve in curves:
                axes.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=0.5, alpha=0.5)
            middle = [median(values) for values in zip(*curves, strict=True)]
            axes.plot(
                range(1, len(middle) + 1),
                middle,
                color=colour,
                linewidth=2,
                label=name.split(",")[0],
            )
        axes.set_xlabel("configurations")
        axes.set_ylabel("best mean validation accuracy so far")
        axes.grid()
        axes.legend(loc="lower right")
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--configurations", type=int, default=60)
    parser.add_argument("--figure", type=Path, default=Path("docs/search_against_random.png"))
    options = parser.parse_args()
    work = [(name, repeat) for repeat in range(options.repeats) for name in SEARCHES]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(search, *each, options.configurations) for each in work]
        results = [each.result() for each in waiting]
    medians = {
        name: {
            what: median(result[what] for result in results if result["search"] == name)
            for what in ("found", "fresh", "epochs")
        }
        for name in SEARCHES
    }
    for search_name, values in medians.items():
        print(search_name, ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
    write("search_against_random", {"medians": medians, "results": results})
    draw(results, options.figure)


if __name__ == "__main__":
    main()
