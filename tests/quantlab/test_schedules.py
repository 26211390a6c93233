import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch.optim import lr_scheduler

from quantlab import ConfigurationError, Schedule
from quantlab.schedules import (
    Constant,
    Cosine,
    InversePi,
    Linear,
    OneCycle,
    Polynomial,
    PowerDecay,
    Product,
    ProxQuantEpochs,
    Ramp,
    Sequential,
    SigmoidRamp,
    Staircase,
    StepDecay,
    value_at,
)

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
        Staircase(0.3, 0.2, 5),
        Staircase(0.3, 1, 5),
        Staircase(0, 1.5, 5),
        Staircase(1.7, 1.1, 4, cap=2.5),
        Staircase(1.7, 1.1, 4, cap=2.5, after_first=True),
        Staircase(1.0, 1.0001, 1, after_first=True),
        Staircase(3.0, 0.9, 3, cap=1.0),
        Staircase(3.0, 0.9, 3, cap=4.0),
        Staircase(3.0, 1.2, 3, cap=1.0),
        Cosine(0.3, epochs=5),
        Cosine(0.3, epochs=9, warmup_epochs=4),
        Ramp(0.3, start=2, end=5),
        SigmoidRamp(0.3, start=2, end=5),
        PowerDecay(0.3, 0.5),
        PowerDecay(0.3, 1),
        PowerDecay(0.3, 0.999999999),
        PowerDecay(0.3, 1e-9),
        Product(factors=(Constant(0.5), Cosine(0.3, epochs=5), Constant(3.0))),
        Product(factors=(Staircase(1, 1.1, 3), PowerDecay(0.3, 0.5))),
        Product(factors=(Constant(0.5), Constant(0.25))),
        OneCycle(0.3, epochs=8),
        OneCycle(0.3, epochs=5, rise=0.45, start=0.2, end=0.01, shape="linear"),
        OneCycle(0.3, epochs=5, rise=0.0),
        OneCycle(0.3, epochs=5, rise=1.0),
        Polynomial(0.3, epochs=5),
        Polynomial(0.3, epochs=9, power=0.5, end=0.1),
        Polynomial(0.1, epochs=6, power=2.7, end=0.4),
        Polynomial(0.3, epochs=20, power=10),
        Sequential((Ramp(0.3, 0, 1), Constant(0.2), Cosine(0.3, epochs=5)), milestones=(1, 4)),
        Sequential((Linear(0.3),), milestones=()),
    ],
    ids=str,
)
def test_cumulative_is_the_sum_of_the_values_before(schedule: Schedule) -> None:
    for step in (0, 1, 2, 7, 8, 16, 17, 29, 64):
        expected = math.fsum(schedule.at(t, 7) for t in range(step))
        assert schedule.cumulative(step, 7) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_inverse_pi_is_linear_for_the_step_size_of_one_epoch() -> None:
    schedule = InversePi(0.01, eta=Constant(1 / B))
    for step in (0, 1, B, 10 * B):
        assert schedule.at(step, B) == pytest.approx(Linear(0.01).at(step, B), rel=1e-12)
    decaying = InversePi(0.5, eta=StepDecay(0.1, (1,)))
    assert decaying.at(10, 10) == pytest.approx(0.5 * (1 + 10 * 0.1))
    assert decaying.at(12, 10) == pytest.approx(0.5 * (1 + 10 * 0.1 + 2 * 0.01))


def beta_of_the_code(factor: float, interval: int, cap: float, steps: int) -> list[float]:
    """The loop of the mirror-descent paper's code: beta in every iteration, and after the last."""
    beta, found = 1.0, []
    for iteration in range(steps):
        found.append(beta)
        if iteration % interval == 0:
            beta = min(beta * factor, cap)
    return [*found, beta]


@pytest.mark.parametrize("cap", [1e35, 6.0])
@pytest.mark.parametrize(("factor", "interval"), [(1.2, 100), (1.02, 7), (1.5, 1)])
def test_t48_beta_is_multiplied_after_step_0_and_then_at_intervals(
    factor: float, interval: int, cap: float
) -> None:
    """After K iterations it has been multiplied ceil(K / interval) times, up to the cap."""
    schedule, steps = Staircase(1.0, factor, interval, cap=cap, after_first=True), 300
    expected = beta_of_the_code(factor, interval, cap, steps)
    for step, beta in enumerate(expected):
        assert schedule.at(step, B) == pytest.approx(beta, rel=1e-13)
        multiplied = math.ceil(step / interval)
        assert schedule.at(step, B) == min(factor**multiplied, cap)


def test_the_papers_betas_end_where_the_code_does() -> None:
    """Final values of settings of Tables 8 and 9, over 100,000 iterations."""
    finals = [
        (1.02, 200, 2.0e4),  # CIFAR-10, ResNet-18, MD-tanh-S
        (1.2, 500, 6.9e15),  # CIFAR-100, ResNet-18, MD-tanh-S
        (1.1, 200, 5.0e20),  # CIFAR-100, ResNet-18, MD-softmax-S
    ]
    for factor, interval, final in finals:
        schedule = Staircase(1.0, factor, interval, cap=1e35, after_first=True)
        assert schedule.at(100_000, B) == pytest.approx(final, rel=0.02)
    # The extreme of the search grid exceeds float32: 1.2**1000 is 1.5e79.
    assert Staircase(1.0, 1.2, 100, cap=1e35, after_first=True).at(100_000, B) == 1e35


def test_a_learning_rate_drops_every_so_many_steps() -> None:
    schedule = Staircase(1e-3, 0.2, 30_000)
    steps = (0, 29_999, 30_000, 59_999, 60_000, 99_999)
    rates = [schedule.at(step, B) for step in steps]
    assert rates == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 8e-6])
    assert schedule.cumulative(100_000, B) == pytest.approx(30 + 6 + 1.2 + 0.08, rel=1e-13)


def test_a_staircase_beyond_the_range_of_floats_needs_a_cap() -> None:
    capped = Staircase(1.0, 1.5, 1, cap=1e35)
    assert capped.at(10**9, B) == 1e35
    below = (1.5**199 - 1) / 0.5
    assert capped.cumulative(10**9, B) == pytest.approx(below + 1e35 * (10**9 - 199), rel=1e-15)
    assert Staircase(0.0, 1.5, 1).at(10**9, B) == 0
    assert Staircase(1.0, 0.5, 1).at(10**9, B) == 0
    assert Staircase(1.0, 0.5, 1).cumulative(10**9, B) == 2
    free = Staircase(1.0, 1.5, 1)
    assert free.at(1700, B) == 1.5**1700
    message = (
        r"sharpness at step 2000: Staircase\.cap = None: the value exceeds the range of floats, "
        r"because 1 is multiplied by 1\.5 every 1 steps; set a cap"
    )
    with pytest.raises(ConfigurationError, match=message):
        value_at(free, 2000, B, "sharpness")
    with pytest.raises(ConfigurationError, match=r"Staircase\.cap = None"):
        free.cumulative(2000, B)


def test_the_cosine_starts_small_and_ends_at_zero() -> None:
    """ImageNet in the mirror-descent paper: 2.048, 8 of 90 epochs of warm-up, batches of 2048."""
    steps, warm = 90 * 626, 8 * 626
    schedule = Cosine(2.048, epochs=90, warmup_epochs=8)
    assert schedule.at(0, 626) == pytest.approx(2.048 / warm)
    rises = [schedule.at(step + 1, 626) - schedule.at(step, 626) for step in range(warm - 1)]
    assert rises == pytest.approx([2.048 / warm] * (warm - 1))
    assert schedule.at(warm - 1, 626) == schedule.at(warm, 626) == 2.048
    assert schedule.at((warm + steps) // 2, 626) == pytest.approx(1.024)
    falling = [schedule.at(step, 626) for step in range(warm, steps + 1)]
    assert falling == sorted(falling, reverse=True)
    last = 2.048 * (math.pi / (2 * (steps - warm))) ** 2
    assert schedule.at(steps - 1, 626) == pytest.approx(last, rel=1e-6)
    assert schedule.at(steps, 626) == schedule.at(2 * steps, 626) == 0
    assert Cosine(0.1, epochs=2).at(0, B) == 0.1


def test_a_ramp_is_silent_first_and_then_linear() -> None:
    """CAGE's lambda: 0 for four fifths of the epochs, and half of it after nine tenths."""
    ramp = Ramp(10.0, start=80, end=100)
    assert ramp.at(0, B) == ramp.at(80 * B, B) == 0
    assert ramp.at(80 * B + 1, B) > 0
    assert ramp.at(90 * B, B) == pytest.approx(5.0)
    assert ramp.at(100 * B, B) == ramp.at(300 * B, B) == 10.0


def test_a_sigmoid_ramp_is_one_minus_the_inverse_slope_of_parq() -> None:
    start, end, steepness = 3, 13, 7.0
    ramp = SigmoidRamp(1.0, start=start, end=end, steepness=steepness)
    assert ramp.at(0, B) == ramp.at(start * B, B) == 0
    assert ramp.at(end * B, B) == ramp.at(50 * B, B) == 1
    assert ramp.at(8 * B, B) == pytest.approx(0.5, rel=1e-14)

    def mirrored(share: float) -> float:
        return 1 / (1 + math.exp(steepness * (share - 0.5)))

    before = 0.0
    for step in range(start * B, end * B, 97):
        share = (step - start * B) / ((end - start) * B)
        slope = (mirrored(share) - mirrored(1)) / (mirrored(0) - mirrored(1))
        assert ramp.at(step, B) == pytest.approx(1 - slope, rel=1e-12, abs=1e-14)
        assert ramp.at(step, B) >= before
        before = ramp.at(step, B)


def test_a_sigmoid_ramp_can_be_fast_early_and_is_nearly_linear_if_it_is_not_steep() -> None:
    early = SigmoidRamp(2.0, start=0, end=10, center=0.1)
    assert early.at(2 * B, B) > 1.2  # a share of 0.63, and of 0.2 if it were linear
    assert early.at(10 * B, B) == 2.0
    assert early.at(10 * B - 1, B) < 2.0
    flat = SigmoidRamp(2.0, start=0, end=10, steepness=1e-4)
    for epoch in (1, 5, 9):
        assert flat.at(epoch * B, B) == pytest.approx(epoch / 5, rel=1e-6)
    with pytest.raises(ConfigurationError, match=r"SigmoidRamp\.end = 2: must be greater"):
        SigmoidRamp(1.0, start=2, end=2)
    with pytest.raises(ConfigurationError, match=r"steepness = 0: must be a number > 0"):
        SigmoidRamp(1.0, start=0, end=2, steepness=0)
    with pytest.raises(ConfigurationError, match=r"center = 1\.1: must be a number from 0 to 1"):
        SigmoidRamp(1.0, start=0, end=2, center=1.1)


def test_powers_and_products() -> None:
    assert [PowerDecay(2, 0.5).at(step, B) for step in (0, 3, 99)] == [2, 1, 0.2]
    assert PowerDecay(2, 1).at(9, B) == 0.2
    # The sum to a million, by the asymptotic series of the harmonic numbers.
    n, euler = 10**6, 0.5772156649015329
    expected = math.log(n) + euler + 1 / (2 * n) - 1 / (12 * n**2)
    assert PowerDecay(1, 1).cumulative(n, B) == pytest.approx(expected, rel=1e-14)
    rate = StepDecay(0.1, (1,))
    pull = Product(factors=(rate, Constant(0.5)))
    assert [pull.at(step, 10) for step in (0, 10)] == pytest.approx([0.05, 0.005])
    assert pull.cumulative(20, 10) == pytest.approx(0.5 * rate.cumulative(20, 10))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Linear(-0.01), r"Linear\.rho0 = -0\.01: must be a finite number >= 0"),
        (lambda: Linear(math.nan), r"Linear\.rho0 = nan"),
        (lambda: Linear("0.1"), r"Linear\.rho0 = '0\.1': must be a finite number"),
        (lambda: Constant(-1), r"Constant\.value = -1"),
        (lambda: StepDecay(0.1, (5, 5)), r"milestones = \(5, 5\): must be .* increasing"),
        (lambda: StepDecay(0.1, (-1,)), r"milestones"),
        (lambda: StepDecay(0.1, (True,)), r"milestones = \(True,\): must be whole numbers"),
        (lambda: Sequential((1, 2), (True,)), r"milestones = \(True,\): must be .* whole numbers"),
        (
            lambda: Linear(0.1, period=0),
            r"Linear\.period = 0: must be a whole number >= 1",
        ),
        (lambda: ProxQuantEpochs(-1, eta=Constant(1)), r"ProxQuantEpochs\.rate = -1"),
        (lambda: ProxQuantEpochs(1, eta=-1), r"ProxQuantEpochs\.eta = -1: must be .* schedule"),
        (lambda: Staircase(1, 0, 5), r"Staircase\.factor = 0: must be a finite number > 0"),
        (lambda: Staircase(1, 2, 0), r"Staircase\.interval = 0: must be a whole number >= 1"),
        (lambda: Staircase(1, 2, 5, cap=-1), r"Staircase\.cap = -1: must be .* >= 0"),
        (lambda: Staircase(1, 2, 5, after_first=1), r"after_first = 1: must be True or False"),
        (lambda: Cosine(1, 5, warmup_epochs=5), r"warmup_epochs = 5: must be less than .* = 5"),
        (lambda: Ramp(1, start=5, end=5), r"Ramp\.end = 5: must be greater than Ramp\.start = 5"),
        (lambda: PowerDecay(1, 0), r"PowerDecay\.exponent = 0: must be a number > 0 and <= 1"),
        (lambda: PowerDecay(1, 1.5), r"PowerDecay\.exponent = 1\.5: must be"),
        (lambda: Product(factors=()), r"Product\.factors = \(\): must be a tuple of schedules"),
        (lambda: Product(factors=(Linear(1), -0.5)), r"factors = .*schedules and numbers"),
        (lambda: InversePi(0.1, eta="1"), r"InversePi\.eta = '1': must be a number >= 0 or a"),
        (
            lambda: OneCycle(0.1, 5, rise=1.5),
            r"OneCycle\.rise = 1\.5: must be a number from 0",
        ),
        (lambda: OneCycle(0.1, 5, shape="cos"), r"shape = 'cos': must be one of cosine, linear"),
        (lambda: Polynomial(0.1, 0), r"Polynomial\.epochs = 0: must be a whole number >= 1"),
        (lambda: Polynomial(0.1, 5, power=0), r"Polynomial\.power = 0: must be a number > 0"),
        (
            lambda: Sequential((Linear(1), Linear(1)), milestones=(0,)),
            r"Sequential\.milestones = \(0,\): must be 1 increasing epochs >= 1, one less",
        ),
        (
            lambda: Sequential((Linear(1), -0.5), (1,)),
            r"schedules = .*a sequence of schedules",
        ),
    ],
)
def test_bad_values_are_named(build: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()  # type: ignore[operator]


def rates_of_torch(
    scheduler: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int
) -> Sequence[float]:
    """The learning rates of the first steps with a scheduler of torch, from a rate of 0.3."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule, rates = scheduler(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("own", "scheduler", "steps"),
    [
        (
            OneCycle(0.3, epochs=9),
            lambda one: lr_scheduler.OneCycleLR(one, max_lr=0.3, total_steps=63),
            62,
        ),
        (
            OneCycle(0.3, epochs=9, rise=0.45, start=0.1, end=1e-3, shape="linear"),
            lambda one: lr_scheduler.OneCycleLR(
                one,
                max_lr=0.3,
                total_steps=63,
                pct_start=0.45,
                anneal_strategy="linear",
                div_factor=10,
                final_div_factor=100,
            ),
            62,
        ),
        (
            Polynomial(0.3, epochs=4, power=0.7),
            lambda one: lr_scheduler.PolynomialLR(one, total_iters=28, power=0.7),
            40,
        ),
        (
            Polynomial(0.3, epochs=4, end=0.03),
            lambda one: lr_scheduler.LinearLR(
                one, start_factor=1.0, end_factor=0.1, total_iters=28
            ),
            40,
        ),
        (
            Sequential(
                (Polynomial(0.1, epochs=2, end=0.3), StepDecay(0.3, (1, 3)), Polynomial(0.3, 2)),
                milestones=(2, 6),
            ),
            lambda one: lr_scheduler.SequentialLR(
                one,
                [
                    lr_scheduler.LinearLR(one, start_factor=1 / 3, total_iters=14),
                    lr_scheduler.MultiStepLR(one, [7, 21]),
                    lr_scheduler.PolynomialLR(one, total_iters=14),
                ],
                milestones=[14, 42],
            ),
            60,
        ),
    ],
    ids=["one cycle", "linear cycle", "power", "line", "one after another"],
)
def test_schedules_are_those_of_torch(
    own: Schedule,
    scheduler: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler],
    steps: int,
) -> None:
    """With 7 steps an epoch."""
    rates = [own.at(step, 7) for step in range(steps)]
    assert rates == pytest.approx(rates_of_torch(scheduler, steps), rel=1e-12, abs=1e-17)


def test_sums_of_long_decays_are_exact() -> None:
    """The sum of (1 - t/T)^p before T is T / (p + 1), up to the ends of the interval."""
    epochs = 10_000
    for power in (0.5, 1.0, 3.0):
        total = Polynomial(1.0, epochs=epochs, power=power).cumulative(epochs * B, B)
        assert total == pytest.approx(epochs * B / (power + 1) + 0.5, rel=1e-9)


def test_a_warm_up_is_a_ramp() -> None:
    warm = Product(factors=(Ramp(1.0, start=0, end=5), Polynomial(0.1, epochs=100)))
    assert warm.at(0, B) == 0
    assert warm.at(5 * B, B) == pytest.approx(0.1 * 0.95)
    own = Sequential((Ramp(0.1, start=0, end=5), Polynomial(0.1, epochs=95)), milestones=(5,))
    assert own.at(5 * B - 1, B) == pytest.approx(0.1 * (1 - 1 / (5 * B)))
    assert own.at(5 * B, B) == 0.1
    assert own.at(100 * B, B) == 0
