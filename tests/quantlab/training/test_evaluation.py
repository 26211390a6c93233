"""Accuracies of a network: the first class, and the first five."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quantlab import TrainingRun
from quantlab.datasets.base import ImageSet
from quantlab.training.evaluation import accuracy, accuracy_and_top5, top_accuracies
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
    found = top_accuracies(model, images, SMALL_DIGITS, counts, batch_size=7)
    assert found == [by_hand(model, images, count) for count in counts]
    assert found == sorted(found)
    assert found[0] == accuracy(model, images, SMALL_DIGITS)
    assert found[-1] == 1
    assert model.training


def test_five_are_counted_where_there_are_more_classes() -> None:
    images, model = SMALL_DIGITS.load(Path("data"), "cpu").test, Logits(1.0)
    first, five = accuracy_and_top5(model, images, SMALL_DIGITS, num_classes=10)
    assert (first, five) == (by_hand(model, images, 1), by_hand(model, images, 5))
    assert accuracy_and_top5(model, images, SMALL_DIGITS, num_classes=5) == (first, None)
    none = images.take(torch.tensor([], dtype=torch.int64))
    assert all(map(math.isnan, accuracy_and_top5(model, none, SMALL_DIGITS, num_classes=10)))


def test_an_outcome_has_both() -> None:
    run = TrainingRun(small_recipe(epochs=1))
    list(run)
    outcome = run.outcome()
    splits, dataset = run.splits, run.recipe.dataset
    for images, first, five in (
        (splits.validation, outcome.validation_accuracy, outcome.validation_accuracy_top5),
        (splits.test, outcome.test_accuracy, outcome.test_accuracy_top5),
    ):
        assert [first, five] == top_accuracies(run.model, images, dataset, (1, 5))
        assert five is not None
        assert first < five < 1
