"""Objective: what a configuration of a study is judged by."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scipy import stats

from analysis.columns import HISTORY
from quantlab import ConfigurationError, Recipe
from quantlab.errors import brief, described
from quantlab.plain_values import plain
from sweeps.coordinates import bits
from sweeps.labels import require_label
from sweeps.storage.records import Result, TrialState


@dataclass(frozen=True)
class Objective:
    """What a configuration is judged by, over its seeds."""

    name: str
    direction: Literal["maximize", "minimize"]
    of: Callable[[Recipe, Mapping[str, Any]], float]
    """Recipe and result of a COMPLETE trial -> value."""
    of_diverged: float
    """What a diverged trial counts as, the worst that there is; leaving it out would reward it."""
    curve: str | None = None
    """Of `analysis.columns.HISTORY`, what shows it after each epoch; None if nothing does, so that
    only whole seeds can be compared."""
    cautious: float = 0.0
    """Confidence, in (0.5, 1), of a bound that stands for the mean of a configuration's seeds: with
    0.9, the mean is worse in one of ten cases. 0 takes the mean itself."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", require_label(self.name, "Objective.name"))
        if self.direction not in ("maximize", "minimize"):
            raise ConfigurationError(
                f"Objective.direction = {brief(self.direction)}: must be 'maximize' or 'minimize'"
            )
        if not callable(self.of):
            raise ConfigurationError(
                f"Objective.of = {brief(self.of)}: must be a function of a recipe and a result"
            )
        curves = [name for name, (kind, _) in HISTORY.items() if kind != "text"]
        if self.curve is not None and self.curve not in curves:
            raise ConfigurationError(
                f"Objective.curve = {brief(self.curve)}: must be None or one of {', '.join(curves)}"
            )
        for field in ("of_diverged", "cautious"):
            value = _finite(getattr(self, field))
            if value is None:
                raise ConfigurationError(
                    f"Objective.{field} = {brief(getattr(self, field))}: must be a finite number"
                )
            object.__setattr__(self, field, value)
        if self.cautious and not 0.5 < self.cautious < 1:
            raise ConfigurationError(
                f"Objective.cautious = {self.cautious!r}: must be 0, or between 0.5 and 1"
            )

    def value(self, recipe: Recipe, result: Mapping[str, Any]) -> float:
        """Of a COMPLETE trial.

        Raises:
            ConfigurationError: the function fails, or what it gives is no finite number; the
                message names its line.
        """
        try:
            found = plain(self.of(recipe, result))
        except (Exception, SystemExit) as error:  # whatever the user's code does
            keys = f"; a result has {', '.join(map(str, sorted(result)))}"
            raise ConfigurationError(
                f"objective {self.name!r}: {described(error)}"
                + (keys if isinstance(error, KeyError) else "")
            ) from error
        value = _finite(found)
        if value is None:
            code = getattr(self.of, "__code__", None)
            where = code and f" ({code.co_filename}, line {code.co_firstlineno}, in {code.co_name})"
            raise ConfigurationError(
                f"objective {self.name!r}: its value is {brief(found)}{where or ''}: must be a "
                "finite number"
            )
        return value

    def require_value(self, recipe: Recipe) -> None:
        """Try it on a result such as a trial of the recipe may leave, before anything is trained.

        Raises:
            ConfigurationError: see `value`.
        """
        made_up = Result(
            state=TrialState.COMPLETE,
            time=1.7e9,
            epochs=recipe.epochs + recipe.batchnorm_epochs,
            steps=1000,
            validation_accuracy=0.6137,
            test_accuracy=0.5871,
            bits=1.585,
        )
        try:
            self.value(recipe, made_up.as_mapping())
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error} (tried on a made-up result, before anything is trained)"
            ) from error

    def over_seeds(self, values: Sequence[float]) -> float:
        """The mean, or Student's bound of it on the bad side; one value stands for itself."""
        mean = math.fsum(values) / len(values)
        if not self.cautious or len(values) == 1:
            return mean
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        quantile = float(stats.t.ppf(self.cautious, len(values) - 1))
        distance = quantile * math.sqrt(variance / len(values))
        return mean + (distance if self.direction == "minimize" else -distance)


def _finite(value: object) -> float | None:
    """A number as Python's own; None for what is no finite number."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


VALIDATION_ACCURACY = Objective(
    "validation accuracy",
    "maximize",
    of=lambda recipe, result: float(result["validation_accuracy"]),
    of_diverged=0.0,
    curve="validation_accuracy_hard",
)
"""A fraction; the test images have no part in a search."""
BITS = Objective("bits a weight", "minimize", of=bits, of_diverged=32.0)
"""The mean over all quantized weights."""
