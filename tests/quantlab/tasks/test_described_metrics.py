"""What a metric says of itself is checked when a recipe is made: its name, direction and format."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError
from quantlab.tasks import Metric
from quantlab.tasks.classification import Classification, TopAccuracy
from quantlab.tasks.regression import MeanSquaredError, Regression
from tests.quantlab.recipes import small_recipe

SOUND: dict[str, Any] = {
    "name": "margin",
    "label": "mean margin",
    "higher_is_better": True,
    "unit": "",
    "factor": 1.0,
    "digits": 2,
    "least": None,
    "most": None,
}


@dataclass(frozen=True)
class Measured(Classification):
    """A classification with given metrics."""

    given: Any = field(default=())

    @property
    def metrics(self) -> Any:
        return self.given


def margin(**changes: Any) -> Metric:
    """Return a metric, some of whose properties are replaced."""
    properties = {"each": lambda self, outputs, targets: outputs[:, 0], **SOUND, **changes}
    return type("Margin", (Metric,), properties)()


@pytest.mark.parametrize(
    ("property_name", "value", "allowed"),
    [
        ("name", "Mean margin", "lower-case letters, digits and underscores"),
        ("name", "", "lower-case letters"),
        ("name", 5, "lower-case letters"),
        ("higher_is_better", "no", "True or False"),
        ("label", "", "text of one line"),
        ("unit", None, "text of one line, '' for no unit"),
        ("unit", "k\nn", "text of one line"),
        ("factor", 0.0, "a finite number > 0"),
        ("factor", -1, "a finite number > 0"),
        ("digits", "two", "a whole number from 0 to 15, or None"),
        ("digits", 2.5, "a whole number from 0 to 15, or None"),
        ("least", "zero", "a finite number, or None"),
        ("most", float("nan"), "a finite number, which is greater than least, or None"),
    ],
)
def test_a_property_that_a_report_cannot_follow_is_named(
    property_name: str, value: Any, allowed: str
) -> None:
    metric = margin(**{property_name: value})
    message = rf"Margin\.{property_name} = .*: must be {re.escape(allowed)}"
    with pytest.raises(ConfigurationError, match=message) as error:
        small_recipe(task=Measured(given=(TopAccuracy(), metric)))
    assert "\n" not in str(error.value)


def test_limits_are_in_order() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Margin\.most = 1: must be .* greater than least"
    ):
        small_recipe(task=Measured(given=(margin(least=1, most=1),)))


@pytest.mark.parametrize("given", [(), [MeanSquaredError()], MeanSquaredError(), (5,), None])
def test_metrics_are_a_tuple_of_them(given: Any) -> None:
    message = r"Measured\.metrics = .*: must be a tuple of Metric, at least one"
    with pytest.raises(ConfigurationError, match=message):
        small_recipe(task=Measured(given=given))


def test_two_metrics_have_two_names() -> None:
    with pytest.raises(ConfigurationError, match=r"Measured\.metrics: 2 of them have .* 'margin'"):
        small_recipe(task=Measured(given=(margin(), TopAccuracy(), margin(digits=None))))


def test_sound_metrics_are_taken() -> None:
    several = (margin(), margin(name="m_2", digits=None, unit="kn", least=-3, most=0.5))
    small_recipe(task=Measured(given=several))


@pytest.mark.parametrize(
    ("task", "targets", "other"),
    [
        (Classification(), torch.zeros(2, 5, dtype=torch.int64), "LanguageModelling"),
        (Classification(), torch.zeros(2, 1), "Regression"),
        (Regression(), torch.zeros(2, 5, dtype=torch.int64), "LanguageModelling"),
        (Regression(), torch.zeros(2, dtype=torch.int64), "Classification"),
    ],
)
def test_targets_of_another_task_name_it(task: Any, targets: Tensor, other: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"targets have .*another task, such as {other}"):
        task.require_outputs(nn.Linear(1, 1), torch.zeros(2, 3), targets, 3)
