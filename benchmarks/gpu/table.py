"""A table: the paper's ternary ResNet20, end to end, in packs, for as many epochs as fit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from measuring import RandomImages

from benchmarks.gpu.data import PackedImages
from benchmarks.gpu.part import Measurement, Settings, Tell
from benchmarks.gpu.steps import best_options, recipe_for
from quantlab import ConfigurationError, Recipe
from quantlab.datasets import DatasetSpec
from quantlab.execution import parse_execution
from quantlab.packs import PackedRun
from quantlab.papers.proxconnect import (
    CIFAR10_END_TO_END_RHO0,
    METHODS,
    RESNET20,
    SEEDS,
    SETS,
    cifar10_end_to_end,
)
from quantlab.schedules import Linear, StepDecay
from quantlab.training.records import Stage

TRIALS = 181
"""ResNet20's of `proxconnect_cifar10`, each of 200 epochs and 100 of batch normalization."""


def measurements(settings: Settings) -> Iterator[Measurement]:
    """One, which tells how far it is after every epoch."""
    left = max(1.0, settings.until - time.time())
    yield Measurement("ternary end to end", lambda tell: table(settings, tell), left)


def cells(dataset: DatasetSpec, epochs: int, steps_per_epoch: int) -> dict[str, Recipe]:
    """Label -> recipe, all methods, rho0 and seeds, with the schedules in so many epochs.

    As in `proxconnect_smoke`: learning rates drop at the same share of the training, rho_t goes
    through the paper's values, and the rho0 of methods whose shifts add up over the steps is larger
    as there are fewer of them.
    """
    found = {}
    for method in METHODS:
        for rho0 in CIFAR10_END_TO_END_RHO0.get(method.name, (None,)):
            for seed in SEEDS:
                paper = cifar10_end_to_end(
                    method, SETS["ternary"], rho0, RESNET20, dataset=dataset, seed=seed
                )
                label = method.name if rho0 is None else f"{method.name} rho0={rho0:g}"
                found[f"{label} seed={seed}"] = shortened(paper, epochs, steps_per_epoch)
    return found


def shortened(recipe: Recipe, epochs: int, steps_per_epoch: int) -> Recipe:
    """Another number of epochs for the paper's."""
    optimizer, quantization = recipe.optimizer, recipe.quantization
    assert quantization is not None
    rate, sharpness = optimizer.learning_rate, quantization.sharpness
    if isinstance(rate, StepDecay):
        milestones = tuple(max(1, epoch * epochs // recipe.epochs) for epoch in rate.milestones)
        rate = replace(rate, milestones=tuple(sorted(set(milestones))))
    if isinstance(sharpness, Linear):
        rho0 = sharpness.rho0
        if rho0 < 1e-3:  # PQ's and rPC's, which add up
            rho0 *= recipe.epochs / epochs
        period = max(1, epochs * steps_per_epoch // recipe.epochs)
        sharpness = replace(sharpness, rho0=rho0, period=period)
    return replace(
        recipe,
        optimizer=replace(optimizer, learning_rate=rate),
        quantization=replace(quantization, sharpness=sharpness),
        epochs=epochs,
        batchnorm_epochs=max(1, epochs // 2),
    )


def table(settings: Settings, tell: Tell) -> Mapping[str, Any]:
    """Accuracies by method and rho0, and how long all trials of the paper would take."""
    options = "bf16" if settings.tiny else best_options(settings)
    change: Callable[[Recipe], Recipe] = lambda recipe: recipe  # noqa: E731
    dataset: DatasetSpec = PackedImages(file=settings.data.name)
    if settings.tiny:
        dataset = RandomImages(count=96, size=8, validation_images=16)
        tiny = recipe_for(settings)
        change = lambda recipe: replace(recipe, model=tiny.model, batch_size=16)  # noqa: E731
    elif not settings.data.exists():
        raise ConfigurationError(f"--data = {settings.data}: there is no such file; no table")
    begun = time.time()
    images = dataset.load(settings.data.parent, settings.device)
    load_seconds = time.time() - begun
    batch = 16 if settings.tiny else 128
    steps = -(-len(images.train) // batch)

    def pack(epochs: int) -> tuple[list[str], PackedRun]:
        recipes = {label: change(it) for label, it in cells(dataset, epochs, steps).items()}
        if settings.tiny:
            recipes = dict(list(recipes.items())[::10])
        return list(recipes), PackedRun(
            list(recipes.values()),
            data_dir=settings.data.parent,
            device=settings.device,
            execution=parse_execution(options),
        )

    _, probe = pack(2)
    training = probe.train(pause_steps=max(1, min(40, steps // 3)))
    next(training)
    before, begun = probe.members[0].step, time.time()
    next(training)
    epoch_seconds = (time.time() - begun) / (probe.members[0].step - before) * steps
    del training, probe
    # Half as many epochs follow in the second stage; accuracies take a share of each, and
    # compilers, the start and the test images some time besides.
    left = settings.until - time.time() - (25 if "compile" in options else 15)
    epochs = 2 if settings.tiny else max(2, int(left / (1.8 * epoch_seconds)))
    labels, run = pack(epochs)
    accuracies: dict[str, dict[str, float]] = {}
    seconds: dict[Stage, float] = {}
    found: dict[str, Any] = {
        "trials": len(labels),
        "options": options,
        "epochs": epochs,
        "load_seconds": load_seconds,
        "probe_seconds_an_epoch": epoch_seconds,
    }
    number = 0
    begun = time.time()
    for events in run.train():
        for event in events:
            record = event.record
            if record is None:
                accuracies[labels[event.member]] = {"diverged": run.diverged[event.member].step}
                continue
            accuracies.setdefault(labels[event.member], {}).update(
                epoch=record.epoch,
                train_loss=record.train_loss,
                validation=record.validation_accuracy_hard,
            )
            number, stage = record.epoch, record.stage
        took, begun = time.time() - begun, time.time()
        if number > 1:  # the first one has the start in it
            seconds[stage] = min(seconds.get(stage, took), took)
        found |= extrapolated(seconds, len(labels), steps if settings.tiny else 352, steps)
        found |= {"epochs_done": number, "mean": means(accuracies), "each": accuracies}
        tell(found)
    for place, label in enumerate(labels):
        if place not in run.diverged:
            accuracies[label]["test"] = run.members[place].outcome().test_accuracy
    return found | {"mean": means(accuracies)}


def extrapolated(
    seconds: Mapping[Stage, float], trials: int, paper_steps: int, steps: int
) -> dict[str, float]:
    """Hours for all trials of the paper, at the pace of so many at a time."""
    of_stage = {
        stage.value: taken / trials * paper_steps / steps for stage, taken in seconds.items()
    }
    quantize = of_stage.get("quantize", of_stage.get("batchnorm", 0.0))
    batchnorm = of_stage.get("batchnorm", quantize)
    return {
        **{f"seconds_a_trial_epoch_{name}": value for name, value in of_stage.items()},
        "hours_for_181_trials": TRIALS * (200 * quantize + 100 * batchnorm) / 3600,
    }


def means(accuracies: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Method and rho0 -> means over the seeds that are there."""
    of: dict[str, list[Mapping[str, float]]] = {}
    for label, found in accuracies.items():
        of.setdefault(label.rpartition(" seed=")[0], []).append(found)
    return {label: _mean(rows) for label, rows in of.items()}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    mean = {}
    for key in ("validation", "test", "train_loss"):
        values = [row[key] for row in rows if key in row]
        if values:
            mean[key] = round(sum(values) / len(values), 5)
    return {**mean, "seeds": len(rows), "diverged": sum("diverged" in row for row in rows)}
