"""A metric of several networks of a stack on the same examples."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.network import StackedNetwork
from quantlab.tasks import Metric
from quantlab.tasks.checked import each_value, of_mean


@torch.no_grad()
def stacked_metric(
    network: StackedNetwork,
    weights: Mapping[str, Tensor],
    images: ImageSet,
    dataset: DatasetSpec,
    metric: Metric,
    *,
    count: int,
    batch_size: int = 125,
    execution: Execution = DEFAULT_EXECUTION,
) -> list[float]:
    """Compute a metric of several stacked networks on the same examples.

    Args:
        network: stacked networks, which are left in training mode.
        weights: parameter names with tensors (count, *shape).
        images: examples whose batches are on the device of the networks.
        dataset: dataset whose batches normalize the examples.
        metric: the metric.
        count: number of networks.
        batch_size: number of examples per network and forward pass.
        execution: memory format, autocast and number of loader processes.

    Returns:
        The metric of each network; NaN if there are no examples. For outputs that are not finite,
        see `quantlab.training.evaluation.evaluate`.

    Raises:
        ConfigurationError: if the metric does not return numbers.
    """
    if not len(images):
        return [math.nan] * count

    def sums(*, numbers: bool = False) -> Tensor:
        total = torch.zeros(count, dtype=torch.float64)
        batches = dataset.batches(images, batch_size=batch_size, workers=execution.workers)
        for inputs, targets in batches:
            outputs = network(weights, inputs.expand(count, *inputs.shape), execution)
            stacked = targets.expand(count, *targets.shape)
            each = each_value(metric, outputs.flatten(0, 1), stacked.flatten(0, 1), number=numbers)
            total = total.to(outputs.device)  # labels of files are on the CPU
            total += each.unflatten(0, stacked.shape[:2]).sum(dim=1, dtype=torch.float64)
        return total

    network.train(False)
    means = [total / len(images) for total in sums().tolist()]
    if any(map(math.isnan, means)):
        sums(numbers=True)  # which names the metric, if it is the reason
    network.train()
    return [of_mean(metric, mean) for mean in means]
