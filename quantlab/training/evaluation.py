"""Metrics of a network on a set of examples."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.distributed.shared_batch import own_batches
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.tasks import Metric
from quantlab.tasks.classification import TopAccuracy


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: ImageSet,
    dataset: DatasetSpec,
    metrics: Sequence[Metric],
    *,
    batch_size: int = 250,
    execution: Execution = DEFAULT_EXECUTION,
    replicas: Replicas = ALONE,
) -> dict[str, float]:
    """Compute metrics in one pass over the examples.

    The network is evaluated with its running statistics and returns to its previous mode.

    Args:
        model: maps a batch of the dataset's inputs to outputs.
        images: examples, on the model's device.
        dataset: dataset whose batches normalize the examples.
        metrics: the metrics.
        batch_size: number of examples per forward pass.
        execution: memory format, autocast and number of loader processes.
        replicas: processes with equal networks, each of which evaluates a part of the batches. All
            of them call this function.

    Returns:
        Names with values; NaN if there are no examples.
    """
    if not len(images):
        return {metric.name: math.nan for metric in metrics}
    was_training = model.training
    model.eval()
    sums = torch.zeros(len(metrics), dtype=torch.float64)
    order = own_batches(images, batch_size, replicas)
    batches = dataset.batches(images, batch_size=batch_size, order=order, workers=execution.workers)
    for inputs, targets in batches if order is None or len(order) else ():
        with execution.autocast(inputs.device):
            outputs = model(execution.layout(inputs))
        sums = sums.to(outputs.device)
        for place, metric in enumerate(metrics):
            sums[place] += metric.each(outputs, targets).sum(dtype=torch.float64)
    model.train(was_training)
    sums = sums.to(images.labels.device)
    replicas.add(sums)
    means = [total / len(images) for total in sums.tolist()]
    return {metric.name: metric.of_mean(mean) for metric, mean in zip(metrics, means, strict=True)}


def accuracy(model: nn.Module, images: ImageSet, dataset: DatasetSpec) -> float:
    """Return the fraction of images that a network classifies correctly, in [0, 1].

    Args:
        model: see `evaluate`.
        images: see `evaluate`.
        dataset: see `evaluate`.
    """
    metric = TopAccuracy()
    return evaluate(model, images, dataset, [metric])[metric.name]
