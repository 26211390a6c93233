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
    """As `accuracy`, for several networks of a stack on the same images.

    Args:
        network: left ready to train.
        weights: parameter name -> (count, *shape).
        images: what to classify; on the networks' device.
        dataset: gives the normalization.
        count: how many networks there are.
        batch_size: images a network and forward pass.
        execution: memory format, autocast and loader processes.
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
