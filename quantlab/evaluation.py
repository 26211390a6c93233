"""Accuracy of a network on a set of images."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.stacked_network import StackedNetwork


@torch.no_grad()
def accuracy(
    model: nn.Module,
    images: ImageSet,
    dataset: DatasetSpec,
    *,
    batch_size: int = 250,
    execution: Execution = DEFAULT_EXECUTION,
) -> float:
    """The fraction of images whose label has the largest logit, in [0, 1]; NaN without images.

    The model is evaluated with its running statistics and is left in the mode it was in.

    Args:
        model: maps (batch, channels, height, width) float32 to (batch, num_classes) logits.
        images: what to classify; on the model's device.
        dataset: gives the normalization.
        batch_size: images a forward pass.
        execution: memory format, autocast and loader processes.
    """
    if not len(images):
        return math.nan
    was_training = model.training
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=images.labels.device)
    batches = dataset.batches(images, batch_size=batch_size, workers=execution.workers)
    for inputs, labels in batches:
        with execution.autocast(inputs.device):
            predicted = model(execution.layout(inputs)).argmax(dim=1)
        correct += (predicted == labels).sum().to(correct.device)
    model.train(was_training)
    return int(correct) / len(images)


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
