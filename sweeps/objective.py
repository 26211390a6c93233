"""Objective: a value that a study maximizes or minimizes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scipy import stats

from analysis.columns import HISTORY, HISTORY_MAY_HAVE
from quantlab import ConfigurationError, Recipe
from quantlab.errors import brief, described
from quantlab.plain_values import finite_number, plain, require_number
from sweeps.coordinates import bits
from sweeps.labels import require_label
from sweeps.storage.records import Result, TrialState


@dataclass(frozen=True)
class Objective:
    """A value that a study maximizes or minimizes, as a mean over the seeds of a configuration."""

    name: str
    """Name in tables and figures."""
    direction: Literal["maximize", "minimize"]
    of: Callable[[Recipe, Mapping[str, Any]], float]
    """Function of the recipe and the result of a COMPLETE trial."""
    of_diverged: float
    """Value of a diverged trial: the worst possible, as leaving the trial out would reward it."""
    curve: str | None = None
    """Column of the table of epochs, see `analysis.columns`, that is reported to the pruner after
    each epoch; None to report only after whole seeds."""
    cautious: float = 0.0
    """Confidence, in (0.5, 1), of a bound that replaces the mean over the seeds: with 0.9, the true
    mean is worse in one of ten cases. 0 takes the mean itself."""

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
        known = {**HISTORY, **HISTORY_MAY_HAVE}
        curves = [name for name, (kind, _) in known.items() if kind != "text"]
        if self.curve is not None and self.curve not in curves:
            raise ConfigurationError(
                f"Objective.curve = {brief(self.curve)}: must be None or one of {', '.join(curves)}"
            )
        for field in ("of_diverged", "cautious"):
            value = require_number(self, field, least=-math.inf)
            object.__setattr__(self, field, float(value))
        if self.cautious and not 0.5 < self.cautious < 1:
            raise ConfigurationError(
                f"Objective.cautious = {self.cautious!r}: must be 0, or between 0.5 and 1"
            )

    def value(self, recipe: Recipe, result: Mapping[str, Any]) -> float:
        """Evaluate the objective for a COMPLETE trial.

        Args:
            recipe: the trial's recipe.
            result: the fields of its ``result.json``.

        Raises:
            ConfigurationError: the function raised an error or returned no finite number; the
                message names its line.
        """
        try:
            found = plain(self.of(recipe, result))
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            keys = f"; a result has the keys {', '.join(map(str, sorted(result)))}"
            raise ConfigurationError(
                f"objective {self.name!r}: {described(error)}"
                + (keys if isinstance(error, KeyError) else "")
            ) from error
        value = finite_number(found)
        if value is None:
            code = getattr(self.of, "__code__", None)
            where = code and f" ({code.co_filename}, line {code.co_firstlineno}, in {code.co_name})"
            raise ConfigurationError(
                f"objective {self.name!r}: the value {brief(found)}{where or ''} must be a finite "
                "number"
            )
        return float(value)

    def require_value(self, recipe: Recipe) -> None:
        """Require a value for a made-up result of the recipe, before anything is trained.

        Raises:
            ConfigurationError: see `value`.
        """
        made_up = Result(
            state=TrialState.COMPLETE,
            time=1.7e9,
            epochs=recipe.epochs + recipe.batchnorm_epochs,
            steps=1000,
            validation={metric.name: 0.6137 for metric in recipe.task.metrics},
            test={metric.name: 0.5871 for metric in recipe.task.metrics},
            bits=1.585,
        )
        try:
            self.value(recipe, made_up.as_mapping())
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error} (found with a made-up result, before anything was trained)"
            ) from error

    def over_seeds(self, values: Sequence[float]) -> float:
        """Return the mean over seeds, or Student's confidence bound on its bad side (`cautious`).

        Args:
            values: one value per seed, at least one; a single value has no bound and is returned.
        """
        mean = math.fsum(values) / len(values)
        if not self.cautious or len(values) == 1:
            return mean
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        quantile = float(stats.t.ppf(self.cautious, len(values) - 1))
        distance = quantile * math.sqrt(variance / len(values))
        return mean + (distance if self.direction == "minimize" else -distance)


VALIDATION_ACCURACY = Objective(
    "validation accuracy",
    "maximize",
    of=lambda recipe, result: float(result["validation_accuracy"]),
    of_diverged=0.0,
    curve="validation_accuracy_hard",
)
"""Accuracy on the validation images, as a fraction; a search does not use the test images."""
BITS = Objective("bits a weight", "minimize", of=bits, of_diverged=32.0)
"""Bits per weight, as the mean over all quantized weights."""
