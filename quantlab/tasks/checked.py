"""Checked results of the methods of tasks and metrics, which users may have written."""

import math
import re

import torch
from torch import Tensor

from quantlab.errors import OF_DEVICES, ConfigurationError, ElsewhereError, brief, described
from quantlab.plain_values import finite_number, plain
from quantlab.tasks.base import Metric, Task, described_outputs

_NAME = re.compile("[a-z][a-z0-9_]*")
_MOST_DIGITS = 15
"""Decimals of a float."""


def require_metrics(task: Task) -> None:
    """Check what a task says of its metrics, before any of them is computed.

    Raises:
        ConfigurationError: if there are none, two have one name, or a name, a direction, or what
            says how values are printed is not such. The message names the property.
    """
    where = f"{type(task).__name__}.metrics"
    metrics: object = task.metrics
    if (
        not isinstance(metrics, tuple)
        or not metrics
        or not all(isinstance(metric, Metric) for metric in metrics)
    ):
        raise ConfigurationError(
            f"{where} = {brief(metrics)}: must be a tuple of Metric, at least one, such as "
            "(MeanSquaredError(),)"
        )
    for metric in metrics:
        _require_described(metric)
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"{where}: {names.count(name)} of them have the name {name!r}; must be different "
                "names, under which records have their values"
            )


def _require_described(metric: Metric) -> None:
    factor, digits = finite_number(metric.factor), metric.digits
    limits = (metric.least, metric.most)
    numbers = [None if limit is None else finite_number(limit) for limit in limits]
    ordered = numbers[0] is None or numbers[1] is None or numbers[0] < numbers[1]
    allowed = {
        "name": (
            isinstance(metric.name, str) and _NAME.fullmatch(metric.name),
            "lower-case letters, digits and underscores, of which a letter is the first",
        ),
        "higher_is_better": (isinstance(metric.higher_is_better, bool), "True or False"),
        "label": (_is_line(metric.label) and metric.label, "text of one line"),
        "unit": (_is_line(metric.unit), "text of one line, '' for no unit"),
        "factor": (factor is not None and factor > 0, "a finite number > 0"),
        "digits": (
            digits is None or (type(digits) is int and 0 <= digits <= _MOST_DIGITS),
            f"a whole number from 0 to {_MOST_DIGITS}, or None",
        ),
        "least": (limits[0] is None or numbers[0] is not None, "a finite number, or None"),
        "most": (
            limits[1] is None or (numbers[1] is not None and ordered),
            "a finite number, which is greater than least, or None",
        ),
    }
    for name, (is_right, what) in allowed.items():
        if not is_right:
            raise ConfigurationError(
                f"{type(metric).__name__}.{name} = {brief(getattr(metric, name))}: must be {what}"
            )


def _is_line(text: object) -> bool:
    return isinstance(text, str) and len(text.splitlines()) <= 1


def mean_loss(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of a batch.

    Raises:
        ConfigurationError: if it is no tensor with one floating-point number.
    """
    given: object = task.loss(outputs, targets)
    if isinstance(given, Tensor) and given.dim() == 0 and given.is_floating_point():
        return given
    raise ConfigurationError(
        f"{type(task).__name__}.loss returned {_described(given)}; must return the mean loss of "
        "the batch, a tensor of shape () with a floating-point number"
    )


def each_loss(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of every example, (batch,).

    Raises:
        ConfigurationError: if it is no tensor of this shape with floating-point numbers.
    """
    given: object = task.each_loss(outputs, targets)
    return _one_for_each(given, len(targets), f"{type(task).__name__}.each_loss")


def each_distance(
    task: Task, outputs: Tensor, teacher_outputs: Tensor, temperature: float
) -> Tensor:
    """Return the distance of every example's outputs from those of a teacher, (batch,).

    Raises:
        ConfigurationError: if it is no tensor of this shape with floating-point numbers.
    """
    given: object = task.each_distillation_loss(outputs, teacher_outputs, temperature)
    return _one_for_each(given, len(outputs), f"{type(task).__name__}.each_distillation_loss")


def _one_for_each(given: object, count: int, method: str) -> Tensor:
    if isinstance(given, Tensor) and given.shape == (count,) and given.is_floating_point():
        return given
    raise ConfigurationError(
        f"{method} returned {_described(given)} for {count} examples; must return a tensor of "
        f"shape ({count},) of floating-point numbers, one for each example"
    )


def each_value(metric: Metric, outputs: Tensor, targets: Tensor, *, number: bool = False) -> Tensor:
    """Return the value of every example, (batch,).

    Outputs get at least the precision of float32, which autocast may have lowered.

    Args:
        metric: the metric.
        outputs: see `Metric.each`.
        targets: see `Metric.each`.
        number: whether it is checked that no value is NaN if the outputs are finite, too. On a GPU,
            this waits for the device.

    Raises:
        ConfigurationError: if the values are not such.
    """
    if isinstance(outputs, Tensor) and outputs.is_floating_point():
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    given: object = metric.each(outputs, targets)
    count = len(targets)
    if not isinstance(given, Tensor) or given.shape != (count,) or given.is_complex():
        raise ConfigurationError(
            f"metric {metric.name}: {type(metric).__name__}.each returned {_described(given)} for "
            f"{count} examples; must return a tensor of shape ({count},), a number for each example"
        )
    if number and (
        bad := int((given.isnan() & outputs.reshape(count, -1).isfinite().all(dim=1)).sum())
    ):
        raise ConfigurationError(
            f"metric {metric.name}: {type(metric).__name__}.each returned NaN for {bad} of {count} "
            "examples, for which the outputs of the network are finite; must return a number"
        )
    return given


def of_mean(metric: Metric, mean: float) -> float:
    """Return the metric from the mean of its values.

    Raises:
        ConfigurationError: if it is not a number, although the mean is.
    """
    given: object = metric.of_mean(mean)
    value = plain(given)
    if isinstance(value, int | float) and (not math.isnan(value) or math.isnan(mean)):
        return float(value)
    shown = brief(given) if isinstance(value, float) else _described(given)
    raise ConfigurationError(
        f"metric {metric.name}: {type(metric).__name__}.of_mean({mean:g}) returned {shown}; must "
        "return a number"
    )


@torch.no_grad()
def require_task(task: Task, outputs: Tensor, targets: Tensor, num_outputs: int) -> None:
    """Try the losses and metrics of a task.

    Args:
        task: the task.
        outputs: what a network returned.
        targets: targets of the batch.
        num_outputs: number of outputs of the network.

    Raises:
        ConfigurationError: if one of them returns something else, if a metric raises an error, or
            if the loss is not the mean of the examples' losses, which packs minimize, and which
            parts of batches add up to.
    """
    name = type(task).__name__
    loss, mean = mean_loss(task, outputs, targets), each_loss(task, outputs, targets).mean()
    if mean.isfinite() and not torch.allclose(loss.double(), mean.double(), rtol=1e-2, atol=1e-6):
        raise ConfigurationError(
            f"{name}.loss returned {float(loss):g}, but the mean of {name}.each_loss is "
            f"{float(mean):g}; must be the same"
        )
    for metric in task.metrics:
        if not metric.applies(num_outputs):
            continue
        try:
            values = each_value(metric, outputs, targets)
            if (found := float(values.double().mean())) == found:
                of_mean(metric, found)
        except ConfigurationError:
            raise
        except Exception as error:  # the user's code may raise anything
            kind = ElsewhereError if isinstance(error, OF_DEVICES) else ConfigurationError
            raise kind(f"metric {metric.name}: raised {described(error)}") from error


def _described(given: object) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)} of {given.dtype}"
    return described_outputs(given)
