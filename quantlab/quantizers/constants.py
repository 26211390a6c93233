"""Constants of proximal maps as tensors that are kept on their device."""

from functools import cache

import torch
from torch import Tensor


@cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the values as a tensor, which is the same object at every call.

    A copy from the CPU at every step would make a GPU wait. A recorded step (CUDA graph) reads the
    same memory whenever it is replayed.
    """
    return torch.tensor(values, dtype=dtype, device=device)
