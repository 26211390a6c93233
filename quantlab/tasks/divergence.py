"""Distances of a network's outputs from those of a teacher."""

import torch
import torch.nn.functional as F
from torch import Tensor


def softened_divergence(outputs: Tensor, teacher_outputs: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(t / T) || softmax(s / T)) of logits s with respect to a teacher's t.

    The factor T^2 keeps the size of the gradient, which would otherwise fall with 1 / T^2.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", section 2.

    Args:
        outputs: (..., num_classes) logits s.
        teacher_outputs: (..., num_classes) logits t.
        temperature: T, > 0.

    Returns:
        (...) nats.
    """
    own, taught = widened(outputs, teacher_outputs)
    own, taught = (F.log_softmax(logits / temperature, dim=-1) for logits in (own, taught))
    each = F.kl_div(own, taught, reduction="none", log_target=True)
    return temperature**2 * each.sum(dim=-1)


def widened(outputs: Tensor, teacher_outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs with at least the precision of float32, which autocast may have lowered."""
    own = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return own, teacher_outputs.to(own)
