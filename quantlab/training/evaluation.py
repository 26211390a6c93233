"""Metrics of a network on a set of examples."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.distributed.shared_batch import own_batches
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.tasks import Metric
from quantlab.tasks.checked import each_value, of_mean
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
        Names with values; NaN if there are no examples. Of outputs that are not finite, losses are
        infinite or NaN, but an accuracy is a number: the class of NaN is the first that is NaN.

    Raises:
        ConfigurationError: if a metric does not return numbers.
    """
    if not len(images):
        return {metric.name: math.nan for metric in metrics}
    order = own_batches(images, batch_size, replicas)

    def sums(*, numbers: bool = False) -> Tensor:
        total = torch.zeros(len(metrics), dtype=torch.float64)
        batches = dataset.batches(
            images, batch_size=batch_size, order=order, workers=execution.workers
        )
        for inputs, targets in batches if order is None or len(order) else ():
            with execution.autocast(inputs.device):
                outputs = model(execution.layout(inputs))
            total = total.to(outputs.device)
            for place, metric in enumerate(metrics):
                values = each_value(metric, outputs, targets, number=numbers)
                total[place] += values.sum(dtype=torch.float64)
        return total.to(images.labels.device)

    was_training = model.training
    model.eval()
    total = sums()
    replicas.add(total)
    means = [one / len(images) for one in total.tolist()]
    if any(map(math.isnan, means)):
        sums(numbers=True)  # which names the metric, if it is the reason
    model.train(was_training)
    return {metric.name: of_mean(metric, mean) for metric, mean in zip(metrics, means, strict=True)}


def accuracy(model: nn.Module, images: ImageSet, dataset: DatasetSpec) -> float:
    """Return the fraction of images that a network classifies correctly, in [0, 1].

    Args:
        model: see `evaluate`.
        images: see `evaluate`.
        dataset: see `evaluate`.
    """
    metric = TopAccuracy()
    return evaluate(model, images, dataset, [metric])[metric.name]
