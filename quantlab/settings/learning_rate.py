"""Checks of the learning rate: that it does not fall to 0 before the training ends."""

from itertools import pairwise

from quantlab.errors import ConfigurationError
from quantlab.schedules import Cosine, OneCycle, Polynomial, Product, Schedule, Sequential


def require_positive_rate(rate: Schedule, epochs: int) -> None:
    """Check that a learning rate of one fall does not reach 0 before the last epoch.

    It is the check of recipes. Some that `require_positive_parts` refuses may have been trained.

    Args:
        rate: the schedule.
        epochs: number of epochs over both stages.

    Raises:
        ConfigurationError: if it does.
    """
    before = 0
    while isinstance(rate, Sequential):
        before += (0, *rate.milestones)[-1]
        rate = rate.schedules[-1]
    if isinstance(rate, Cosine | Polynomial):
        less = f", without the {before} epochs before it" if before else ""
        _require_long(rate, epochs - before, f"the epochs of the recipe over both stages{less}")


def require_positive_parts(
    rate: Schedule, epochs: int, of: str = "the epochs of the recipe over both stages"
) -> None:
    """Check that no part of a learning rate is 0 in its last epochs.

    A rate that begins with 0, or that is a constant 0, is not refused.

    Args:
        rate: the schedule.
        epochs: number of epochs in which it is used.
        of: what these epochs are, for the message.

    Raises:
        ConfigurationError: if one is.
    """
    match rate:
        case Product():
            for factor in rate.factors:
                require_positive_parts(factor, epochs, of)
        case Sequential():
            edges = [*(min(epoch, epochs) for epoch in (0, *rate.milestones)), epochs]
            for schedule, (start, end) in zip(rate.schedules, pairwise(edges), strict=True):
                require_positive_parts(schedule, end - start, "the epochs of its part")
        case Cosine() | Polynomial() | OneCycle():
            _require_long(rate, epochs, of)


def _require_long(rate: Cosine | Polynomial | OneCycle, epochs: int, of: str) -> None:
    """Check that a schedule which falls to 0 does so in the last of its epochs."""
    is_zero = isinstance(rate, Cosine) or rate.end == 0
    if isinstance(rate, OneCycle) and rate.rise == 1:  # it ends with its highest value
        is_zero = False
    if is_zero and rate.epochs < epochs:
        raise ConfigurationError(
            f"{type(rate).__name__}.epochs = {rate.epochs}: must be at least {epochs}, {of}, "
            "because the learning rate is 0 afterwards"
        )
