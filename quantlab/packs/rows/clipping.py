"""Clipping of the gradients of several trials, each by its own norm."""

from collections.abc import Sequence

import torch
from torch import Tensor

_TINY = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to a norm, so that it is not 0."""


def clip_rows(gradients: Sequence[Tensor | None], limit: float) -> None:
    """Scale the gradients of each trial down to a norm, in place.

    Args:
        gradients: (rows, ...) gradients with one row per trial; None is left out.
        limit: largest norm of a trial's gradients together.
    """
    found = [one for one in gradients if one is not None]
    norms = torch.stack([torch.linalg.vector_norm(one.flatten(1), dim=1) for one in found])
    factors = (limit / (torch.linalg.vector_norm(norms, dim=0) + _TINY)).clamp(max=1.0)
    for one in found:
        one.mul_(factors.to(one.dtype).view(-1, *[1] * (one.dim() - 1)))
