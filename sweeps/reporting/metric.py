"""The metrics of a report, from the tasks of recipes or the command line."""

from collections.abc import Sequence

from analysis.metric import ACCURACY, ACCURACY_TOP5, Metric
from quantlab import ConfigurationError
from quantlab.tasks import Metric as TaskMetric
from quantlab.tasks.classification import Classification, TopAccuracy
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.tasks.regression import Regression
from sweeps.spec import Cell

DIRECTIONS = {"higher": True, "lower": False}
"""Which values are better, as ``--metric NAME:DIRECTION`` takes it."""

_TASKS = (Classification(), LanguageModelling(), Regression())


def described(metric: TaskMetric) -> Metric:
    """Describe a task's metric to `analysis`."""
    if isinstance(metric, TopAccuracy):
        for known in (ACCURACY, ACCURACY_TOP5):
            if metric.name == known.name:
                return known
    return Metric(
        metric.name,
        metric.label,
        higher_is_better=metric.higher_is_better,
        unit=metric.unit,
        factor=metric.factor,
        digits=metric.digits,
        least=metric.least,
        most=metric.most,
    )


def metric_of(name: str, cells: Sequence[Cell]) -> Metric:
    """Return the main metric of the trials of a sweep.

    Args:
        name: name of the sweep, for the message.
        cells: its trials, at least one.

    Raises:
        ConfigurationError: trials have different main metrics, which cannot be compared.
    """
    first = cells[0]
    metric = first.recipe.task.metrics[0]
    for cell in cells:
        other = cell.recipe.task.metrics[0]
        if other != metric:
            raise ConfigurationError(
                f"sweep {name}: the main metric of {cell.name} is {other.name}, and that of "
                f"{first.name} is {metric.name}: must be one metric, which a report compares; give "
                "each task a sweep of its own"
            )
    return described(metric)


def further_of(cells: Sequence[Cell]) -> tuple[Metric, ...]:
    """Return the metrics that the trials' tasks have besides the main one, each once."""
    found = {
        metric.name: described(metric) for cell in cells for metric in cell.recipe.task.metrics[1:]
    }
    return tuple(found.values())


def metric_named(text: str) -> Metric:
    """Return the metric that ``--metric`` names: ``NAME``, or ``NAME:higher`` or ``NAME:lower``.

    Raises:
        ConfigurationError: it is not written like that, or the name is unknown and has no
            direction.
    """
    known = {metric.name: metric for task in _TASKS for metric in task.metrics}
    name, colon, direction = text.partition(":")
    if not name.isidentifier() or (colon and direction not in DIRECTIONS):
        raise ConfigurationError(
            f"--metric {text}: must be the NAME of the columns validation_NAME and test_NAME, with "
            ":higher or :lower for the better values"
        )
    if name in known:
        metric = described(known[name])
        if colon and metric.higher_is_better != DIRECTIONS[direction]:
            raise ConfigurationError(
                f"--metric {text}: {('lower', 'higher')[metric.higher_is_better]} values of {name} "
                "are better; omit the direction"
            )
        return metric
    if not colon:
        raise ConfigurationError(
            f"--metric {text}: must say which values are better, as {text}:higher or {text}:lower; "
            f"known without it are {', '.join(known)}"
        )
    return Metric(name, name.replace("_", " "), higher_is_better=DIRECTIONS[direction])
