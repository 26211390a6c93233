"""Accuracy of a network on a set of images."""

import torch
from torch import nn

from quantlab.datasets import DatasetSpec, Images


@torch.no_grad()
def accuracy(
    model: nn.Module, images: Images, dataset: DatasetSpec, *, batch_size: int = 1000
) -> float:
    """The fraction of images whose label has the largest logit, in [0, 1].

    The model is evaluated with its running statistics and is left in the mode it was in.

    Args:
        model: maps (batch, channels, height, width) float32 to (batch, num_classes) logits.
        images: what to classify; on the model's device.
        dataset: gives the normalization.
        batch_size: images a forward pass.
    """
    was_training = model.training
    model.eval()
    correct = 0
    for pixels, labels in zip(
        images.pixels.split(batch_size), images.labels.split(batch_size), strict=True
    ):
        predicted = model(dataset.normalize(pixels)).argmax(dim=1)
        correct += int((predicted == labels).sum())
    model.train(was_training)
    return correct / len(images)
