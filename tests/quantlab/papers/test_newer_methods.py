"""The settings of the newer methods: their free numbers, and what they refuse."""

import math

import pytest

from quantlab import ConfigurationError, Quantization
from quantlab.papers.newer_methods import (
    BI_REAL,
    BNN,
    BNN_PLUS,
    BNN_PLUS_PLUS,
    CAGE,
    NEWER_METHODS,
    NORMAL_MAP,
    RESTE,
    FreeNumber,
    NewerMethod,
)
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.schedules import Constant, Linear, Product, Ramp


def on(
    method: NewerMethod, number: float | None, levels: tuple[float, ...] = BINARY
) -> Quantization:
    return method.quantization(
        levels, number, learning_rate=Constant(0.1), epochs=10, steps_per_epoch=5
    )


def test_free_numbers_are_reached_when_they_should_be() -> None:
    """At the first step, at the last one, or in proportion to the learning rate."""
    orders = on(RESTE, 3.0).sharpness
    assert [orders.at(step, 5) for step in (0, 25, 50)] == [1, 2, 3]
    steepness = on(BNN_PLUS_PLUS, 4.0).sharpness
    assert [steepness.at(step, 5) for step in (0, 5)] == [4, 8]
    assert on(BNN_PLUS, 4.0).backward.steepness == 4  # type: ignore[attr-defined]
    pull = on(NORMAL_MAP, 0.8).pull
    assert pull is not None
    assert pull.at(0, 5) == pytest.approx(0.1 / 0.8)
    pull = on(CAGE, 2.0).pull
    assert pull is not None
    assert [pull.at(step, 5) for step in (0, 40, 45, 50)] == pytest.approx([0, 0, 0.1, 0.2])


@pytest.mark.parametrize("method", NEWER_METHODS, ids=lambda method: method.name)
def test_numbers_that_a_method_cannot_have_are_named(method: NewerMethod) -> None:
    if method.free is FreeNumber.NONE:
        with pytest.raises(ConfigurationError, match=r"number = 2\.0: must be None for"):
            on(method, 2.0)
        return
    with pytest.raises(ConfigurationError, match=r"number = None: must be a number \("):
        on(method, None)
    wrong = [0.0, -1.0, math.nan, math.inf]
    least = 1 if method.free is FreeNumber.ORDER else 0
    for number in [*wrong, 1.0, 0.5] if least else wrong:
        with pytest.raises(ConfigurationError, match=rf"must be a finite number > {least} for"):
            on(method, number)


@pytest.mark.parametrize("method", [BNN_PLUS, BNN_PLUS_PLUS, BI_REAL, RESTE])
def test_binary_maps_are_refused_on_other_sets(method: NewerMethod) -> None:
    number = None if method.free is FreeNumber.NONE else 2.0
    with pytest.raises(ConfigurationError, match=rf"levels = .*two levels for {method.name[:3]}"):
        on(method, number, TERNARY)
    assert on(BNN, None, TERNARY).quantizer.levels == TERNARY


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 200])
def test_cage_has_an_epoch_at_least_in_which_lambda_grows(epochs: int) -> None:
    pull = CAGE.quantization(
        BINARY, 2.0, learning_rate=Constant(0.1), epochs=epochs, steps_per_epoch=5
    ).pull
    start = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 200: 160}[epochs]
    assert pull == Product((Constant(0.1), Ramp(2.0, start=start, end=epochs)))


@pytest.mark.parametrize(("epochs", "order", "period"), [(1, 11.0, 1), (1, 3.5, 2), (10, 3.0, 25)])
def test_an_order_of_a_short_training_grows_by_1_in_each_step(
    epochs: int, order: float, period: int
) -> None:
    sharpness = RESTE.quantization(
        BINARY, order, learning_rate=Constant(0.1), epochs=epochs, steps_per_epoch=5
    ).sharpness
    assert sharpness == Linear(1.0, period)
