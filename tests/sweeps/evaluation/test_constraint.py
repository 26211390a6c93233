"""Limits of values."""

import math
from typing import Any

import pytest

from quantlab import ConfigurationError
from sweeps.evaluation.constraint import Constraint
from sweeps.study import BITS, FILE_BYTES, VALIDATION_ACCURACY
from tests.quantlab.recipes import quantized
from tests.sweeps.made_studies import spec


def test_a_limit_follows_the_direction_of_its_value() -> None:
    small, good = Constraint(FILE_BYTES, 5000), Constraint(VALIDATION_ACCURACY, 0.9)
    assert small.excess(quantized(), {"file_bytes": 5431}) == 431
    assert small.excess(quantized(), {"file_bytes": 5000}) == 0
    assert small.text(431.0) == "bytes of the file 5431 > 5000"
    assert good.excess(quantized(), {"validation_accuracy": 0.85}) == pytest.approx(0.05)
    assert good.excess(quantized(), {"validation_accuracy": 0.95}) < 0
    assert good.text(0.05) == "validation accuracy 85.00 % < 90.00 %"


@pytest.mark.parametrize(
    ("value", "limit", "message"),
    [
        (3, 4, r"Constraint.value = 3: must be an Objective, such as FILE_BYTES"),
        (FILE_BYTES, "4", "Constraint.limit = '4': must be a finite number"),
        (FILE_BYTES, math.inf, "Constraint.limit = inf: must be a finite number"),
    ],
)
def test_bad_limits_are_named(value: Any, limit: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Constraint(value, limit)


def test_a_value_has_one_limit() -> None:
    with pytest.raises(ConfigurationError, match=r"StudySpec.constraints = .*: must limit each"):
        spec(constraints=(Constraint(BITS, 2), Constraint(BITS, 3)))
    assert spec(constraints=(Constraint(BITS, 2), Constraint(FILE_BYTES, 3))).constraints
