"""Parameters and their groups, in all forms that torch's optimizers accept."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from quantlab.errors import ConfigurationError

OWN_KEYS = ("quantized", "quantizer", "scale", "sharpness")
"""Entries of a group that torch's optimizers do not have."""


class _Reader(Optimizer):
    """An optimizer that only reads parameters."""


def read(params: ParamsT) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return groups as torch reads them, and the entries `OWN_KEYS` of each.

    Args:
        params: parameters, named parameters or groups of them.

    Raises:
        TypeError: if torch does not accept them.
        ValueError: if torch does not accept them.
    """
    given: list[Any] = [params] if isinstance(params, Tensor) else list(params)
    if not (given and isinstance(given[0], dict)):
        return _Reader(given, {}).param_groups, [{}]
    own = [{key: group[key] for key in OWN_KEYS if key in group} for group in given]
    bare = [{key: of for key, of in group.items() if key not in OWN_KEYS} for group in given]
    return _Reader(bare, {}).param_groups, own


def named(group: Mapping[str, Any], place: int) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a group with their names, or with their places if they have none.

    Args:
        group: a group of torch.
        place: its position in the optimizer.
    """
    names = group.get("param_names")
    for position, parameter in enumerate(group["params"]):
        yield names[position] if names else f"param_groups[{place}][{position}]", parameter


def require_quantizable(name: str, parameter: Tensor) -> None:
    """Check that the values of a parameter are plain numbers of this process.

    Raises:
        ConfigurationError: if they are not.
    """
    if isinstance(parameter, UninitializedParameter):
        reason = "has no values yet; call the network once before the optimizer is built"
    elif parameter.is_meta:
        reason = "is on the device meta; give it values before the optimizer is built"
    elif (kind := _unusual_type(parameter)) is not None:
        reason = (
            f"is a {kind}, but must be an ordinary parameter to be quantized; sharded weights "
            "(FSDP, tensor parallelism) are not supported, use DistributedDataParallel"
        )
    elif not parameter.is_floating_point() or parameter.layout is not torch.strided:
        reason = f"is {parameter.dtype}, {parameter.layout}; must be dense floating-point numbers"
    else:
        return
    raise ConfigurationError(f"{name}: {reason}")


def _unusual_type(parameter: Tensor) -> str | None:
    for of in (parameter, parameter.data):
        if type(of) not in (nn.Parameter, Tensor):
            return type(of).__name__
    return None
