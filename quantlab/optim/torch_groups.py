"""The parameter groups of a base optimizer: latents with scaled steps, and options of their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from quantlab.errors import ConfigurationError

_SCALED = "is_scaled"
SCALED = {_SCALED: True}
"""Entry of a group whose steps are scaled."""


def torch_groups(
    targets: Sequence[nn.Parameter],
    kinds: Sequence[tuple[bool, int | None]],
    options: Sequence[Mapping[str, Any]],
) -> list[Any]:
    """Return tensors in the form in which an optimizer of torch takes them.

    Args:
        targets: tensors that the optimizer updates.
        kinds: for each tensor, whether its steps are scaled, and the position of its own options;
            None for those of the optimizer.
        options: entries of torch's groups.

    Returns:
        The tensors themselves if all are of the plain kind. Otherwise a group of torch for each
        kind, in the order in which they occur.
    """
    if all(kind == (False, None) for kind in kinds):
        return list(targets)
    groups = []
    for kind in dict.fromkeys(kinds):
        is_scaled_kind, place = kind
        members = [one for one, own in zip(targets, kinds, strict=True) if own == kind]
        groups.append(
            {
                "params": members,
                **(SCALED if is_scaled_kind else {}),
                **({} if place is None else options[place]),
            }
        )
    return groups


def is_scaled(group: Mapping[str, Any]) -> bool:
    """Whether the steps of one of an optimizer's `param_groups` are scaled."""
    return bool(group.get(_SCALED, False))


@contextmanager
def scaled_rates(groups: Sequence[dict[str, Any]], scale: float) -> Iterator[None]:
    """Multiply the learning rates of groups whose steps are scaled, for a `with` block."""
    scaled = [group for group in groups if is_scaled(group)]
    rates = [group["lr"] for group in scaled]
    for group, rate in zip(scaled, rates, strict=True):
        group["lr"] = rate * scale
    try:
        yield
    finally:
        for group, rate in zip(scaled, rates, strict=True):
            group["lr"] = rate


def require_once(parameters: Sequence[nn.Parameter]) -> None:
    """Check that no parameter is given twice.

    Raises:
        ValueError: if one is.
    """
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ValueError(
            "weights, others: a parameter is given more than once; give a parameter that layers "
            "share under one name, either in weights or in others"
        )


def built_with_groups(
    make_base: Callable[[list[Any]], Optimizer], targets: list[Any], *, learns: bool
) -> Optimizer:
    """Build an optimizer of torch, and say why it has groups if it refuses them.

    Args:
        make_base: builds the optimizer.
        targets: what `torch_groups` returned.
        learns: whether a group has learned numbers of a scale.

    Raises:
        ConfigurationError: if the optimizer refuses groups, as LBFGS does.
    """
    try:
        return make_base(targets)
    except ValueError as error:
        if "parameter groups" not in str(error):  # as torch says
            raise
        owners = (
            "quantization.scale: learned numbers"
            if learns
            else "optimizer.groups: parameters with options of their own"
        )
        raise ConfigurationError(
            f"{owners} need an optimizer with groups of parameters; choose another algorithm (it "
            f"raised: {error.__cause__ or error})"
        ) from error
