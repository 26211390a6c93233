"""Accuracies of several networks of a stack on the same images."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.network import StackedNetwork


@torch.no_grad()
def stacked_accuracies(
    network: StackedNetwork,
    weights: Mapping[str, Tensor],
    images: ImageSet,
    dataset: DatasetSpec,
    *,
    count: int,
    batch_size: int = 125,
    execution: Execution = DEFAULT_EXECUTION,
) -> list[float]:
    """Compute the accuracy of several stacked networks on the same images.

    Args:
        network: stacked networks, which are left in training mode.
        weights: parameter names with tensors (count, *shape).
        images: images to classify, on the device of the networks.
        dataset: dataset whose batches normalize the images.
        count: number of networks.
        batch_size: number of images per network and forward pass.
        execution: memory format, autocast and number of loader processes.

    Returns:
        The accuracy of each network in [0, 1]; NaN if there are no images.
    """
    if not len(images):
        return [math.nan] * count
    network.train(False)
    correct = torch.zeros(count, dtype=torch.int64, device=images.labels.device)
    batches = dataset.batches(images, batch_size=batch_size, workers=execution.workers)
    for inputs, labels in batches:
        logits = network(weights, inputs.expand(count, *inputs.shape), execution)
        correct += (logits.argmax(dim=2) == labels).sum(dim=1)
    network.train()
    return [number / len(images) for number in correct.tolist()]
