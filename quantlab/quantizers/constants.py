"""Constants of maps as tensors that stay on their device."""

from functools import cache

import torch
from torch import Tensor


@cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The values; the same tensor every time, for good.

    A copy from the CPU at every step would make a GPU wait, and a recorded step reads the tensor
    for as long as it is used.
    """
    return torch.tensor(values, dtype=dtype, device=device)
