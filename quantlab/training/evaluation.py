"""Accuracy of a network on a set of images."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.distributed.shared_batch import own_batches
from quantlab.execution import DEFAULT_EXECUTION, Execution

_FIVE = 5


@torch.no_grad()
def accuracy(
    model: nn.Module,
    images: ImageSet,
    dataset: DatasetSpec,
    *,
    batch_size: int = 250,
    execution: Execution = DEFAULT_EXECUTION,
    replicas: Replicas = ALONE,
) -> float:
    """Compute the fraction of images that a network classifies correctly.

    The network is evaluated with its running statistics and returns to its previous mode.

    Args:
        model: maps (batch, channels, height, width) float32 to (batch, num_classes) logits.
        images: images to classify, on the model's device.
        dataset: dataset whose batches normalize the images.
        batch_size: number of images per forward pass.
        execution: memory format, autocast and number of loader processes.
        replicas: processes with equal networks, each of which evaluates a part of the batches. All
            of them call this function.

    Returns:
        The accuracy in [0, 1]; NaN if there are no images.
    """
    (found,) = top_accuracies(
        model,
        images,
        dataset,
        (1,),
        batch_size=batch_size,
        execution=execution,
        replicas=replicas,
    )
    return found


@torch.no_grad()
def top_accuracies(
    model: nn.Module,
    images: ImageSet,
    dataset: DatasetSpec,
    counts: Sequence[int],
    *,
    batch_size: int = 250,
    execution: Execution = DEFAULT_EXECUTION,
    replicas: Replicas = ALONE,
) -> list[float]:
    """Compute top-k accuracies in one pass over the images.

    The top-k accuracy is the fraction of images whose class is among the k classes with the highest
    logits. Of classes with equal logits, the first ones come first.

    Args:
        model: see `accuracy`.
        images: see `accuracy`.
        dataset: see `accuracy`.
        counts: each k, >= 1. The top-1 accuracy is that of `accuracy`.
        batch_size: see `accuracy`.
        execution: see `accuracy`.
        replicas: see `accuracy`.

    Returns:
        One accuracy in [0, 1] for each k; NaN if there are no images.
    """
    if not len(images):
        return [math.nan for _ in counts]
    was_training = model.training
    model.eval()
    correct = torch.zeros(len(counts), dtype=torch.int64, device=images.labels.device)
    order = own_batches(images, batch_size, replicas)
    batches = dataset.batches(images, batch_size=batch_size, order=order, workers=execution.workers)
    for inputs, labels in batches if order is None or len(order) else ():
        with execution.autocast(inputs.device):
            logits = model(execution.layout(inputs))
        hits = logits.argmax(dim=1) == labels
        in_order = None
        for place, count in enumerate(counts):
            found = hits
            if count > 1:
                if in_order is None:
                    in_order = logits.argsort(dim=1, descending=True, stable=True)
                found = hits | (in_order[:, :count] == labels[:, None]).any(dim=1)
            correct[place] += found.sum().to(correct.device)
    model.train(was_training)
    replicas.add(correct)
    return [number / len(images) for number in correct.tolist()]


def accuracy_and_top5(
    model: nn.Module,
    images: ImageSet,
    dataset: DatasetSpec,
    *,
    num_classes: int,
    execution: Execution = DEFAULT_EXECUTION,
    replicas: Replicas = ALONE,
) -> tuple[float, float | None]:
    """Compute the accuracy of a network, and the top-5 accuracy.

    Args:
        model: see `accuracy`.
        images: see `accuracy`.
        dataset: see `accuracy`.
        num_classes: number of classes of the dataset.
        execution: see `accuracy`.
        replicas: see `accuracy`.

    Returns:
        Both accuracies. The second one is None with up to five classes, where it would be 1.
    """
    if num_classes <= _FIVE:
        return accuracy(model, images, dataset, execution=execution, replicas=replicas), None
    first, five = top_accuracies(
        model, images, dataset, (1, _FIVE), execution=execution, replicas=replicas
    )
    return first, five
