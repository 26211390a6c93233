import math

import pytest

from quantlab import ConfigurationError, Schedule
from quantlab.schedules import Constant, InversePi, Linear, ProxQuantEpochs, StepDecay

B = 391


def test_t29_linear_reaches_the_binary_projector_at_the_papers_epochs() -> None:
    """rho_t >= 1 first in epochs 199, 99 and 49 for the three values of the CIFAR grid."""
    for rho0, epoch in ((5e-3, 199), (1e-2, 99), (2e-2, 49)):
        schedule = Linear(rho0)
        first = next(step for step in range(200 * B) if schedule.at(step, B) >= 1 - 1e-12)
        assert first == epoch * B


def test_linear_grows_by_rho0_an_epoch() -> None:
    schedule = Linear(0.25)
    assert schedule.at(0, B) == 0.25
    assert schedule.at(B, B) == 0.5
    steps = 200 * B
    closed = 1e-6 * (steps + steps * (steps - 1) / (2 * B))
    assert Linear(1e-6).cumulative(steps, B) == pytest.approx(closed, rel=1e-12)
    assert closed == pytest.approx(7.90, abs=0.005)


def test_a_shorter_period_goes_through_the_same_values_in_fewer_steps() -> None:
    whole, short = Linear(1e-2), Linear(1e-2, period=4)
    for epoch in (0, 1, 50, 199):
        assert short.at(4 * epoch, B) == whole.at(B * epoch, B)
    assert short.at(7, B) == short.at(7, 10 * B)


def test_proxquants_own_schedule_is_constant_within_an_epoch_and_starts_at_zero() -> None:
    """The public code: lr * rate * epoch, 1.99e-4 in epoch 199 with Adam at 0.01."""
    schedule = ProxQuantEpochs(1e-4, eta=Constant(0.01))
    assert schedule.at(0, B) == schedule.at(B - 1, B) == 0
    assert schedule.at(B, B) == schedule.at(2 * B - 1, B) == pytest.approx(1e-6)
    assert schedule.at(200 * B - 1, B) == pytest.approx(1.99e-4)
    assert schedule.cumulative(200 * B, B) == pytest.approx(7.78, abs=0.005)
    decayed = ProxQuantEpochs(1e-4, eta=StepDecay(0.01, (2,)))
    assert decayed.at(2 * B, B) == pytest.approx(2e-7)


def test_step_decay() -> None:
    schedule = StepDecay(0.1, milestones=(100, 150))
    epochs = (0, 99, 100, 149, 150, 299)
    rates = [schedule.at(epoch * B + B - 1, B) for epoch in epochs]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert schedule.at(100 * B - 1, B) == 0.1


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(0.3),
        StepDecay(0.3, (0, 2, 3), 0.5),
        StepDecay(0.3, ()),
        Linear(0.1),
        Linear(0.1, 3),
    ],
    ids=str,
)
def test_cumulative_is_the_sum_of_the_values_before(schedule: Schedule) -> None:
    for step in (0, 1, 7, 8, 29, 64):
        expected = math.fsum(schedule.at(t, 7) for t in range(step))
        assert schedule.cumulative(step, 7) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_inverse_pi_is_linear_for_the_step_size_of_one_epoch() -> None:
    schedule = InversePi(0.01, eta=Constant(1 / B))
    for step in (0, 1, B, 10 * B):
        assert schedule.at(step, B) == pytest.approx(Linear(0.01).at(step, B), rel=1e-12)
    decaying = InversePi(0.5, eta=StepDecay(0.1, (1,)))
    assert decaying.at(10, 10) == pytest.approx(0.5 * (1 + 10 * 0.1))
    assert decaying.at(12, 10) == pytest.approx(0.5 * (1 + 10 * 0.1 + 2 * 0.01))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Linear(-0.01), r"Linear\.rho0 = -0\.01: must be a finite number >= 0"),
        (lambda: Linear(math.nan), r"Linear\.rho0 = nan"),
        (lambda: Linear("0.1"), r"Linear\.rho0 = '0\.1': must be a finite number"),
        (lambda: Constant(-1), r"Constant\.value = -1"),
        (lambda: StepDecay(0.1, (5, 5)), r"milestones = \(5, 5\): must be .* increasing"),
        (lambda: StepDecay(0.1, (-1,)), r"milestones"),
        (
            lambda: Linear(0.1, period=0),
            r"Linear\.period = 0: must be a whole number >= 1",
        ),
        (lambda: ProxQuantEpochs(-1, eta=Constant(1)), r"ProxQuantEpochs\.rate = -1"),
        (lambda: ProxQuantEpochs(1, eta=1), r"ProxQuantEpochs\.eta = 1: must be .* Schedule"),
        (lambda: InversePi(0.1, eta=0.1), r"InversePi\.eta = 0\.1: must be .* Schedule"),
    ],
)
def test_bad_values_are_named(build: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()  # type: ignore[operator]
