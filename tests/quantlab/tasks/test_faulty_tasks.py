"""Losses and metrics of users that return no numbers are named, before training and during it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError, Recipe, TrainingRun
from quantlab.datasets.base import Dimensions
from quantlab.packs import PackedRun
from quantlab.tasks import Metric
from quantlab.tasks.base import LowerIsBetter
from quantlab.tasks.classification import Classification
from quantlab.training.evaluation import evaluate
from quantlab.training.rehearsal import rehearse
from tests.quantlab.recipes import SMALL_DIGITS, small_recipe


@dataclass(frozen=True)
class Margin(LowerIsBetter):
    """A metric with a fault."""

    fault: str = ""

    @property
    def name(self) -> str:
        return "margin"

    def each(self, outputs: Tensor, targets: Tensor) -> Any:
        values = outputs.max(dim=1).values
        faulty: dict[str, Any] = {
            "vector": outputs,
            "mean": values.mean(),
            "float": float(values.mean()),
            "list": values.tolist(),
            "complex": values.to(torch.complex64),
            "error": lambda: {"labels": targets}["classes"],
            "nan": torch.where(targets == 3, torch.nan, values),
        }
        found = faulty.get(self.fault, values)
        return found() if callable(found) else found

    def of_mean(self, mean: float) -> Any:
        faulty = {
            "text": "0.5",
            "nothing": None,
            "nan of mean": math.nan,
            "several": (1.0, 2.0),
        }
        return faulty.get(self.fault, mean)


@dataclass(frozen=True)
class Margins(Classification):
    """A task with a fault in its metric, or in its loss."""

    fault: str = ""
    is_main: bool = True

    @property
    def metrics(self) -> tuple[Metric, ...]:
        others = super().metrics
        return (Margin(self.fault), *others) if self.is_main else (*others, Margin(self.fault))

    def loss(self, outputs: Tensor, targets: Tensor) -> Any:
        if self.fault == "loss of each":
            return self.each_loss(outputs, targets)
        if self.fault == "loss as a number":
            return float(super().loss(outputs, targets))
        if self.fault == "loss as a sum":
            return self.each_loss(outputs, targets).sum()
        return super().loss(outputs, targets)

    def each_loss(self, outputs: Tensor, targets: Tensor) -> Any:
        each = super().each_loss(outputs, targets)
        return each.mean() if self.fault == "mean as each loss" else each


def recipe(fault: str, **changes: Any) -> Recipe:
    return small_recipe(task=Margins(fault=fault, **changes), epochs=1)


OF_EACH = r"metric margin: Margin\.each returned {} for \d+ examples; must return a tensor of shape"
SHAPES = {
    "vector": OF_EACH.format(r"a tensor of shape \(\d+, 10\) of torch\.float32"),
    "mean": OF_EACH.format(r"a tensor of shape \(\) of torch\.float32"),
    "float": OF_EACH.format("a float"),
    "list": OF_EACH.format("a list"),
    "complex": OF_EACH.format(r"a tensor of shape \(\d+,\) of torch\.complex64"),
    "text": r"metric margin: Margin\.of_mean\(.*\) returned a str; must return a number",
    "nothing": r"metric margin: Margin\.of_mean\(.*\) returned a NoneType; must return a number",
    "nan of mean": r"metric margin: Margin\.of_mean\(.*\) returned nan; must return a number",
    "several": r"metric margin: Margin\.of_mean\(.*\) returned a tuple; must return a number",
}
LOSSES = {
    "loss of each": r"Margins\.loss returned a tensor of shape \(2,\).*; must return the mean loss",
    "loss as a number": r"Margins\.loss returned a float; must return the mean loss of the batch",
    "loss as a sum": r"Margins\.loss returned .*, but the mean of Margins\.each_loss is .*same",
    "mean as each loss": r"Margins\.each_loss returned a tensor of shape \(\).* for 2 examples",
}


@pytest.mark.parametrize("is_main", [True, False])
@pytest.mark.parametrize("fault", [*SHAPES, "error"])
def test_a_metric_that_returns_no_number_is_named_before_training(
    fault: str, is_main: bool
) -> None:
    message = SHAPES.get(fault, r"metric margin: raised KeyError: 'classes'")
    with pytest.raises(ConfigurationError, match=message) as error:
        rehearse(recipe(fault, is_main=is_main), DIGITS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", LOSSES)
def test_a_loss_that_is_no_mean_is_named_before_training(fault: str) -> None:
    with pytest.raises(ConfigurationError, match=LOSSES[fault]):
        rehearse(recipe(fault), DIGITS)


def test_a_sound_task_passes() -> None:
    rehearse(recipe(""), DIGITS)
    rehearse(recipe("nan"), DIGITS)  # of some labels only


DIGITS = Dimensions(10, (1, 8, 8))
ONLY_SOME = (
    r"metric margin: Margin\.each returned NaN for \d+ of \d+ examples, for which the outputs of "
    "the network are finite; must return a number"
)


def test_a_metric_that_becomes_nan_is_named_alone_and_in_packs() -> None:
    faulty = recipe("nan")
    with pytest.raises(ConfigurationError, match=ONLY_SOME):
        list(TrainingRun(faulty))
    with pytest.raises(ConfigurationError, match=ONLY_SOME):
        list(PackedRun([faulty, replace(faulty, seed=1)]))
    other = TrainingRun(recipe("nan", is_main=False))
    list(other)  # the other metrics are measured at the end
    with pytest.raises(ConfigurationError, match=ONLY_SOME):
        other.outcome()


@pytest.mark.parametrize("fault", ["vector", "text"])
def test_it_is_named_where_nothing_was_rehearsed(fault: str) -> None:
    faulty = recipe(fault)
    for train in (TrainingRun(faulty), PackedRun([faulty, replace(faulty, seed=1)])):
        with pytest.raises(ConfigurationError, match=SHAPES[fault]):
            list(train)
    with pytest.raises(ConfigurationError, match=r"Margins\.loss returned a tensor of shape \(32,"):
        list(TrainingRun(recipe("loss of each")))
    faulty = recipe("mean as each loss")
    with pytest.raises(ConfigurationError, match=r"Margins\.each_loss returned .* for 64 examples"):
        list(PackedRun([faulty, replace(faulty, seed=1)]))


def test_an_overflowing_network_is_no_fault_of_the_metric() -> None:
    run = TrainingRun(recipe(""))
    with torch.no_grad():
        run.model.get_parameter("linear.bias").fill_(torch.nan)
    found = evaluate(run.model, run.splits.validation, SMALL_DIGITS, [Margin()])
    assert found["margin"] != found["margin"]
