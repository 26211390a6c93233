"""Tensors on their way from the CPU to a device, for which nothing waits."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, once that has come so far; the CPU goes on."""
    return ready_to_send(tensor, device).to(device, non_blocking=True)


def ready_to_send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor where a GPU can fetch it from, or the copy would wait for all steps before it."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
