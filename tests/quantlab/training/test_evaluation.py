"""Accuracies of a network: the first class, and the first five."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quantlab import TrainingRun
from quantlab.datasets.base import ImageSet
from quantlab.tasks import Task
from quantlab.tasks.checked import each_value
from quantlab.tasks.classification import Classification, TopAccuracy
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.tasks.regression import Regression
from quantlab.training.evaluation import evaluate
from tests.quantlab.recipes import SMALL_DIGITS, small_recipe


class Logits(nn.Module):
    """Logits with ties: a linear layer, rounded to whole numbers."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = scale * torch.randn(64, 10, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight).round()


def by_hand(model: nn.Module, images: ImageSet, count: int) -> float:
    """Classes in the order of their logits, and of their numbers where these are equal."""
    right = 0
    for inputs, labels in SMALL_DIGITS.batches(images, batch_size=1):
        (logits,) = model(inputs).tolist()
        order = sorted(range(len(logits)), key=lambda place: (-logits[place], place))
        right += int(labels) in order[:count]
    return right / len(images)


@pytest.mark.parametrize("scale", [0.0, 0.02, 1.0])
def test_the_class_is_among_the_first_ones(scale: float) -> None:
    images = SMALL_DIGITS.load(Path("data"), "cpu").train
    model = Logits(scale).train()
    counts = (1, 2, 5, 10)
    metrics = [TopAccuracy(count) for count in counts]
    found = list(evaluate(model, images, SMALL_DIGITS, metrics, batch_size=7).values())
    assert found == [by_hand(model, images, count) for count in counts]
    assert found == sorted(found)
    assert found[-1] == 1
    assert model.training


def test_five_are_counted_where_there_are_more_classes() -> None:
    images, model = SMALL_DIGITS.load(Path("data"), "cpu").test, Logits(1.0)
    metrics = Classification().metrics
    found = evaluate(model, images, SMALL_DIGITS, metrics)
    assert found == {
        "accuracy": by_hand(model, images, 1),
        "accuracy_top5": by_hand(model, images, 5),
    }
    assert [metric.applies(6) for metric in metrics] == [True, True]
    assert [metric.applies(5) for metric in metrics] == [True, False]
    none = images.take(torch.tensor([], dtype=torch.int64))
    assert all(map(math.isnan, evaluate(model, none, SMALL_DIGITS, metrics).values()))


def test_an_outcome_has_both() -> None:
    run = TrainingRun(small_recipe(epochs=1))
    list(run)
    outcome = run.outcome()
    splits, dataset = run.splits, run.recipe.dataset
    for images, found in (
        (splits.validation, outcome.validation),
        (splits.test, outcome.test),
    ):
        assert found == evaluate(run.model, images, dataset, Classification().metrics)
        assert 0 < found["accuracy"] < found["accuracy_top5"] < 1
    assert outcome.test_accuracy == outcome.test["accuracy"]


def test_of_outputs_that_are_not_finite_accuracies_are_numbers_and_losses_are_not() -> None:
    """The class of NaN is the first that is NaN, as torch orders numbers."""
    images, model = SMALL_DIGITS.load(Path("data"), "cpu").test, Logits(math.nan)
    found = evaluate(model, images, SMALL_DIGITS, Classification().metrics)
    assert found["accuracy"] == (images.labels == 0).double().mean()
    assert found["accuracy"] < found["accuracy_top5"] < 1


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("task", "targets"),
    [
        (Classification(), torch.arange(6)),
        (LanguageModelling(), torch.arange(30).view(6, 5) % 7),
        (Regression(), torch.linspace(0, 1, 42).view(6, 7)),
    ],
)
def test_metrics_of_short_floats_are_those_of_the_same_numbers_in_float32(
    task: Task, targets: Tensor, kind: torch.dtype
) -> None:
    size = targets.shape if targets.is_floating_point() else (*targets.shape, 7)
    outputs = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(kind)
    for metric in task.metrics:
        found = each_value(metric, outputs, targets)
        assert torch.equal(found, each_value(metric, outputs.float(), targets))
        assert found.dtype not in (torch.bfloat16, torch.float16)
