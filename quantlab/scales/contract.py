"""Checks of the contract of a scale on a few rows."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from quantlab.errors import OF_DEVICES, ConfigurationError, ElsewhereError, brief, described
from quantlab.random_numbers import RandomNumbers
from quantlab.remembering import remembering
from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement

T = TypeVar("T")

_ROWS, _LENGTH = 4, 24


@remembering(64)
def require_scale_contract(
    scale: Scale, levels: tuple[float, ...], *, device: torch.device | str = "cpu"
) -> None:
    """Check that a rule fulfils the contract of `Scale` with a quantization set.

    `place` must place finite, strictly increasing levels in every row, also in a row of zeros, must
    not change its arguments, and must be pure. Rows must not depend on each other or on leading
    axes. The placement must be nondecreasing in both directions. Learned numbers must be positive
    at first, and their gradients finite. The check takes about a millisecond and does not change
    torch's generators.

    Args:
        scale: rule to check.
        levels: the set.
        device: device of the weights.

    Raises:
        ConfigurationError: if the contract is violated. The message names the class and the fault.
        ElsewhereError: if the rule raises an error that it might not raise on another device.
    """
    scale.require_fits(levels)
    name = type(scale).__name__
    random_numbers = RandomNumbers(torch.device(device), seed=0, default_seed=0)
    with random_numbers.in_use(), torch.no_grad():
        rows = torch.randn(_ROWS, _LENGTH, device=device) * torch.tensor(
            [[1.0], [0.1], [3.0], [0.0]], device=device
        )
        learned = _called(partial(_initial, scale, rows, levels), f"{name}.initial")
        place = partial(_levels, scale, rows, levels, learned)
        found = _called(place, f"{name}.place")
        _require_increasing(found, name, levels)
        again = _called(place, f"{name}.place")
        if not torch.equal(found, again):
            raise ConfigurationError(
                f"{name}.place returned another result when called again; must be pure"
            )
        for what, chosen in (("for rows alone", [2]), ("with a leading axis", ([[2]],))):
            alone = _called(
                partial(_part, scale, rows, levels, learned, chosen), f"{name}.place {what}"
            )
            if not torch.allclose(alone.reshape(1, -1), found[2:3], rtol=1e-4, atol=1e-6):
                raise ConfigurationError(
                    f"{name}.place returned other levels {what}; must treat every row alone, along "
                    "the last axis"
                )
        if learned is not None:
            _require_gradient(scale, rows, levels, learned)


def _initial(scale: Scale, rows: Tensor, levels: tuple[float, ...]) -> Tensor | None:
    count: object = scale.num_learned(levels)
    if type(count) is not int or count < 0:
        raise ConfigurationError(
            f"{type(scale).__name__}.num_learned returned {brief(count)}: must return a whole "
            "number >= 0"
        )
    if count == 0:
        return None
    found: object = scale.initial(rows, levels)
    _require_tensor(found, (*rows.shape[:-1], count), f"{type(scale).__name__}.initial", rows)
    assert isinstance(found, Tensor)
    if not (found > 0).all():
        raise ConfigurationError(
            f"{type(scale).__name__}.initial returned a number <= 0: must return numbers > 0, also "
            f"for a row of zeros; clamp them to SMALLEST = {SMALLEST:g} of "
            "quantlab.scales.placement"
        )
    return found


def _levels(
    scale: Scale, rows: Tensor, levels: tuple[float, ...], learned: Tensor | None
) -> Tensor:
    name = type(scale).__name__
    given, numbers = rows.clone(), None if learned is None else learned.clone()
    placement: object = scale.place(given, levels, numbers)
    if not isinstance(placement, Placement):
        raise ConfigurationError(
            f"{name}.place returned {brief(placement)}: must return a Placement of "
            "quantlab.scales.placement"
        )
    if not torch.equal(given, rows) or (
        learned is not None and numbers is not None and not torch.equal(numbers, learned)
    ):
        raise ConfigurationError(f"{name}.place changed its arguments; must not work in place")
    for what, carry in (("enter", placement.enter), ("leave", placement.leave)):
        line = torch.linspace(-3, 3, 61, device=rows.device).expand(*rows.shape[:-1], -1)
        image = carry(line)
        _require_tensor(image, line.shape, f"{name}.place: {what} of its placement", rows)
        if not (image.diff(dim=-1) >= 0).all():
            raise ConfigurationError(
                f"{name}.place: {what} of its placement is decreasing somewhere; must be "
                "nondecreasing, because a proximal map is monotone"
            )
    found: Tensor = placement.levels(levels)
    _require_tensor(found, (*rows.shape[:-1], len(levels)), f"{name}.place: its levels", rows)
    return found


def _part(
    scale: Scale,
    rows: Tensor,
    levels: tuple[float, ...],
    learned: Tensor | None,
    chosen: Any,
) -> Tensor:
    return _levels(scale, rows[chosen], levels, None if learned is None else learned[chosen])


def _require_increasing(found: Tensor, name: str, levels: tuple[float, ...]) -> None:
    if (found.diff(dim=-1) > 0).all():
        return
    row = int((found.diff(dim=-1) <= 0).any(dim=-1).nonzero()[0])
    of_row = "a row of zeros" if row == _ROWS - 1 else "a row"
    raise ConfigurationError(
        f"{name}.place put the levels {brief(levels)} of {of_row} at {found[row].tolist()}: must "
        f"be strictly increasing; a scale that would be 0 must be SMALLEST = {SMALLEST:g} of "
        "quantlab.scales.placement"
    )


def _require_gradient(
    scale: Scale, rows: Tensor, levels: tuple[float, ...], learned: Tensor
) -> None:
    name = type(scale).__name__
    weights = scale.place(rows, levels, learned).nearest(rows, levels)
    gradient = torch.linspace(-1, 1, _LENGTH, device=rows.device).expand_as(rows).clone()
    carried = gradient.clone()
    given = [gradient, carried, rows, weights, learned]
    kept = [tensor.clone() for tensor in given]
    found = _called(
        partial(scale.gradient, gradient, carried, rows, weights, levels, learned),
        f"{name}.gradient",
    )
    _require_tensor(found, tuple(learned.shape), f"{name}.gradient", rows)
    if not all(torch.equal(now, before) for now, before in zip(given, kept, strict=True)):
        raise ConfigurationError(f"{name}.gradient changed its arguments; must not work in place")


def _called(call: Callable[[], T], what: str) -> T:
    try:
        return call()
    except ConfigurationError:
        raise
    except Exception as error:
        kind = ElsewhereError if isinstance(error, OF_DEVICES) else ConfigurationError
        raise kind(f"{what} raised {described(error)}") from error


def _require_tensor(found: object, shape: tuple[int, ...], what: str, like: Tensor) -> None:
    if not isinstance(found, Tensor):
        raise ConfigurationError(f"{what} returned {brief(found)}: must return a tensor")
    if found.shape != shape or found.dtype != like.dtype:
        raise ConfigurationError(
            f"{what} returned {tuple(found.shape)} {found.dtype}: must return {tuple(shape)} "
            f"{like.dtype}"
        )
    if not found.isfinite().all():
        raise ConfigurationError(
            f"{what} returned infinite numbers or NaN: must be finite, also for a row of zeros, "
            f"whose scale must be SMALLEST = {SMALLEST:g} of quantlab.scales.placement"
        )
