"""The state of the base optimizers of several trials, such as their momenta, in common tensors."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def stacked_state(states: Sequence[Mapping[str, object]], target: Tensor) -> dict[str, object]:
    """Stack the base optimizers' state. All rows are at one step, so their counts agree.

    Args:
        states: state of each trial's tensor.
        target: (rows, ...) tensor that takes the place of the trials' tensors.
    """
    together: dict[str, object] = {}
    for key, value in states[0].items():
        if isinstance(value, Tensor) and value.shape == target.shape[1:]:
            together[key] = torch.stack([state[key] for state in states])  # type: ignore[misc]
        else:
            together[key] = value.clone() if isinstance(value, Tensor) else value
    return together
