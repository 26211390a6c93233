"""Copies of tensors from the CPU to a device that do not make the CPU wait."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device. On a GPU, the CPU does not wait for the copy."""
    return ready_to_send(tensor, device).to(device, non_blocking=True)


def ready_to_send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor in pinned memory if the device is a GPU, so that the CPU need not wait."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
