"""Accuracy of a network on a set of images."""

import math

import torch
from torch import nn

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.execution import DEFAULT_EXECUTION, Execution


@torch.no_grad()
def accuracy(
    model: nn.Module,
    images: ImageSet,
    dataset: DatasetSpec,
    *,
    batch_size: int = 250,
    execution: Execution = DEFAULT_EXECUTION,
) -> float:
    """Compute the fraction of images that a network classifies correctly.

    The network is evaluated with its running statistics and returns to its previous mode.

    Args:
        model: maps (batch, channels, height, width) float32 to (batch, num_classes) logits.
        images: images to classify, on the model's device.
        dataset: dataset whose batches normalize the images.
        batch_size: number of images per forward pass.
        execution: memory format, autocast and number of loader processes.

    Returns:
        The accuracy in [0, 1]; NaN if there are no images.
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
