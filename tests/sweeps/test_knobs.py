"""Axes that are knobs: what a sweep says of them, and which are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.knobs.columns import knobs_of
from analysis.knobs.knob import RHO0
from analysis.schema import Measurements
from quantlab import ConfigurationError
from quantlab.update_rules import PROX_CONNECT
from sweeps.outlines.outline import outline_of, sweep_of
from sweeps.reporting.frames import trials_frame
from sweeps.spec import Axis, Block, Knob, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.recipes import quantized, small_recipe

RATES = "optimizer.learning_rate"
OF_RHO0 = "quantization.sharpness.rho0"


def sweep(*, is_knob: bool) -> SweepSpec:
    """One method with three knobs, and one without any."""
    rates = Knob("log", low=0.001, high=1) if is_knob else None
    rho0 = Knob(low=0.01, high=1) if is_knob else None
    sizes = Knob("nominal") if is_knob else None
    axes = (
        Axis("rho0", OF_RHO0, (0.1, 0.5), knob=rho0),
        Axis("rate", RATES, (0.01, 0.1), knob=rates),
        Axis("size", "batch_size", {"small": 16, "large": 32}, knob=sizes),
    )
    return SweepSpec(
        name="knobs",
        base=small_recipe(),
        blocks=(Block("PC", base=quantized(PROX_CONNECT), axes=axes), Block("FP")),
        seeds=(0, 1),
    )


def test_a_table_of_trials_has_the_knobs_of_each_method(tmp_path: Path) -> None:
    frame = trials_frame(sweep(is_knob=True), Storage(tmp_path))
    frame = Measurements(frame).trials
    assert knobs_of(frame[frame["method"] == "PC"]) == (
        Knob("log", 0.01, 1, "rho0"),
        Knob("log", 0.001, 1, "rate"),
        Knob("nominal", name="size"),
    )
    assert knobs_of(frame[frame["method"] == "FP"]) == ()
    without = Measurements(trials_frame(sweep(is_knob=False), Storage(tmp_path))).trials
    assert knobs_of(without) == (RHO0,)


def test_a_knob_is_no_part_of_a_trial() -> None:
    with_knobs, without = sweep(is_knob=True), sweep(is_knob=False)
    assert with_knobs.cells == without.cells
    assert [cell.knobs for cell in without.cells] == [{}] * 18


def test_an_outline_has_the_knobs() -> None:
    whole = sweep(is_knob=True)
    outlined = sweep_of(outline_of(whole), lambda _: {})
    assert [cell.knobs for cell in outlined.cells] == [cell.knobs for cell in whole.cells]
    assert outlined.cells[0].knobs["rate"] == "log from 0.001 to 1.0"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Knob("lg"), "scale = 'lg': must be one of 'log', 'linear', 'nominal'"),  # type: ignore[arg-type]
        (lambda: Knob(low=0.1), "low = 0.1, high = None: must be given together"),
        (lambda: Knob(low=0, high=1), "low = 0: must be > 0 on a logarithmic scale"),
        (lambda: Knob(low=1, high=0.1), "low = 1: must be less than high = 0.1"),
        (lambda: Knob(low=1, high=float("inf")), "high = inf: must be a finite number or None"),
        (lambda: Knob(low="a", high=1), "low = 'a': must be a finite number or None"),  # type: ignore[arg-type]
        (lambda: Knob("nominal", 1, 2), "values without an order have no range"),
        (lambda: "log", r" = 'log': must be a Knob, such as Knob\('log', low=1e-4, high=1\)"),
    ],
    ids=["scale", "one_end", "zero", "order", "infinite", "text", "nominal", "no_knob"],
)
def test_what_makes_no_knob_is_named(make: Callable[[], Knob], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"axis 'rate': knob.*{message}") as raised:
        Axis("rate", RATES, (0.01, 0.1), knob=make())
    assert len(str(raised.value).splitlines()) == 1


def test_the_values_of_an_axis_have_the_scale_of_its_knob() -> None:
    with pytest.raises(ConfigurationError, match=r"the value 'high' of the axis is no number"):
        Axis("rate", RATES, {"high": 0.1}, knob=Knob())
    with pytest.raises(ConfigurationError, match=r"the value '-1' of the axis must be >= 0"):
        Axis("rate", RATES, (-1, 1), knob=Knob())
    with pytest.raises(ConfigurationError, match="must be 'log' for rho0; rename the axis"):
        Axis("rho0", OF_RHO0, (0.1, 1), knob=Knob("linear"))
    with pytest.raises(ConfigurationError, match=r"'0\.1' and '1e-1' are one number"):
        Axis("rate", RATES, {"0.1": 0.1, "1e-1": 0.2}, knob=Knob())
    assert len(Axis("rate", RATES, {"0.1": 0.1, "1e-1": 0.2}, knob=Knob("nominal")).labelled) == 2
    assert Axis("rate", RATES, (0, 0.1), knob=Knob("log")).knob == Knob("log", name="rate")
