"""Objective: a value that a study maximizes or minimizes."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from scipy import stats

from analysis.columns import HISTORY, HISTORY_MAY_HAVE
from analysis.metric import Metric as Shown
from quantlab import ConfigurationError, Point, Recipe
from quantlab.errors import brief, described
from quantlab.plain_values import finite_number, plain, require_count, require_number
from quantlab.tasks import Metric
from quantlab.tasks.classification import TopAccuracy
from quantlab.training.records import measured
from sweeps.coordinates import bits
from sweeps.labels import require_label, require_text
from sweeps.storage.records import Epoch, Result, TrialState

_CURVE = re.compile(r"validation_[a-z0-9_]+_(latent|proximal|hard)")
"""Column of the table of epochs with the values of a metric."""


@dataclass(frozen=True)
class Objective:
    """A value that a study maximizes or minimizes, over the trials of a configuration.

    It is the mean over the seeds and, if the study has them, over the values of its knobs; or what
    `cautious` or `quantile` put in its place. Settings count alike: it is the mean over them.
    Those that give a configuration the same recipe are one.
    """

    name: str
    """Name in tables and figures."""
    direction: Literal["maximize", "minimize"]
    of: Callable[[Recipe, Mapping[str, Any]], float]
    """Function of the recipe and the result of a COMPLETE trial."""
    of_diverged: float
    """Value of a diverged trial: the worst possible, as leaving the trial out would reward it. It
    may be infinite."""
    curve: str | None = None
    """Column of the table of epochs, see `analysis.columns`, that is reported to the pruner after
    each epoch, such as ``"validation_accuracy_hard"``; None to report only after whole seeds."""
    cautious: float = 0.0
    """Confidence, in (0.5, 1), of a bound that replaces the mean over the seeds: with 0.9, the true
    mean is worse in one of ten cases. 0 takes the mean itself."""
    quantile: float | None = None
    """Share, in [0, 1), of the trials that may be worse than the value that replaces the mean over
    seeds and knobs: 0 is the worst trial. It is always the value of a trial. None takes the
    mean."""
    unit: str = ""
    """Unit of printed values, such as ``"%"``."""
    factor: float = 1.0
    """Factor of a value when it is printed, such as 100 for a fraction in percent."""
    digits: int | None = None
    """Decimals of printed values; None for four significant digits."""

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
        is_of_metric = isinstance(self.curve, str) and _CURVE.fullmatch(self.curve)
        if self.curve is not None and self.curve not in curves and not is_of_metric:
            raise ConfigurationError(
                f"Objective.curve = {brief(self.curve)}: must be None or one of "
                f"{', '.join(curves)}, or validation_METRIC_POINT for another metric"
            )
        worst = math.inf if self.direction == "minimize" else -math.inf
        for field in ("of_diverged", "cautious", "factor"):
            if field == "of_diverged" and plain(self.of_diverged) == worst:
                object.__setattr__(self, field, worst)
                continue
            value = require_number(self, field, least=-math.inf)
            object.__setattr__(self, field, float(value))
        require_text(self.unit, "Objective.unit")
        if self.digits is not None:
            require_count(self, "digits", 0)
        if self.cautious and not 0.5 < self.cautious < 1:
            raise ConfigurationError(
                f"Objective.cautious = {self.cautious!r}: must be 0, or between 0.5 and 1"
            )
        if self.quantile is not None:
            share = require_number(self, "quantile", most=1.0)
            object.__setattr__(self, "quantile", float(share))
            if share == 1 or self.cautious:
                raise ConfigurationError(
                    f"Objective.quantile = {self.quantile!r}: must be None, or from 0 to less than "
                    "1 with cautious = 0"
                )

    @property
    def shown(self) -> Shown:
        """How `analysis` names, compares and writes the values."""
        return Shown(
            self.name,
            self.name,
            higher_is_better=self.direction == "maximize",
            unit=self.unit,
            factor=self.factor,
            digits=self.digits,
        )

    def at(self, epoch: Epoch) -> float:
        """Return the value of the `curve` after an epoch; NaN if it has none.

        Args:
            epoch: of a trial.
        """
        assert self.curve is not None
        split, _, name = self.curve.partition("_")
        if split == "validation":
            return epoch.validation.get(name, math.nan)
        return float(getattr(epoch, self.curve))

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

    def of_trial(self, recipe: Recipe, result: Mapping[str, Any]) -> float:
        """Return the value of a trial that has ended: `value`, or `of_diverged` if it diverged.

        Args:
            recipe: the trial's recipe.
            result: the fields of its ``result.json``.

        Raises:
            ConfigurationError: see `value`.
        """
        is_complete = result["state"] == TrialState.COMPLETE.value
        return self.value(recipe, result) if is_complete else self.of_diverged

    def worst_of(self, values: Iterable[float]) -> float:
        """Return the worst of several values."""
        return max(values) if self.direction == "minimize" else min(values)

    def require_value(self, recipe: Recipe, data_dir: Path | None = None) -> None:
        """Require a value for a made-up result of the recipe, before anything is trained.

        Args:
            recipe: the recipe.
            data_dir: folder of the datasets; None to read none. Then, metrics that a small number
                of classes does not have are there, unless the number is known without reading.

        Raises:
            ConfigurationError: see `value`; or the task of the recipe does not have the `curve`.
        """
        curves = [measured(recipe.task.metrics[0].name, point) for point in Point]
        curves = [f"validation_{name}" for name in curves]
        if self.curve is not None and _CURVE.fullmatch(self.curve) and self.curve not in curves:
            raise ConfigurationError(
                f"objective {self.name!r}: curve = {self.curve!r}: the task "
                f"{type(recipe.task).__name__} has {', '.join(curves)}; "
                "use validation_objective(METRIC) with its main metric, or curve=None"
            )
        data, known = recipe.dataset, recipe.dataset.dimensions
        if known is not None or data_dir is None:
            self._require_value(recipe, None if known is None else known.num_classes)
            return
        try:
            self._require_value(recipe, 1)
        except ConfigurationError:
            is_there = all((data_dir / name).exists() for name in data.files)
            outputs = data.find_dimensions(data_dir).num_classes if is_there else None
            self._require_value(recipe, outputs)

    def _require_value(self, recipe: Recipe, outputs: int | None) -> None:
        """Require a value for a number of outputs; None if that is unknown."""
        task = recipe.task
        metrics = [one for one in task.metrics if outputs is None or one.applies(outputs)]
        made_up = Result(
            state=TrialState.COMPLETE,
            time=1.7e9,
            epochs=recipe.epochs + recipe.batchnorm_epochs,
            steps=1000,
            validation={metric.name: 0.6137 for metric in metrics},
            test={metric.name: 0.5871 for metric in metrics},
            bits=1.585,
            network_bits=2.161,
            file_bytes=1234,
            code_bits=1.641,
            compression=14.81,
            classes=10 if outputs is None else outputs,
            training_images=1000,
        )
        try:
            self.value(recipe, made_up.as_mapping())
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error} (found with a made-up result, before anything was trained)"
            ) from error

    def over_trials(self, settings: Iterable[Sequence[float]]) -> float:
        """Return the mean over settings of the value in each, see `over_seeds`.

        Args:
            settings: for each setting, the values of the trials there.
        """
        values = [self.over_seeds(values) for values in settings]
        return math.fsum(values) / len(values)

    def over_seeds(self, values: Sequence[float]) -> float:
        """Return the mean over trials, or what `cautious` or `quantile` put in its place.

        Args:
            values: one value per trial, at least one. A single value has no confidence bound and is
                returned.
        """
        if self.quantile is not None:
            worst_first = sorted(values, reverse=self.direction == "minimize")
            return worst_first[int(self.quantile * len(values) + 1e-9)]  # 0.29 * 100 is below 29
        mean = math.fsum(values) / len(values)
        if not self.cautious or len(values) == 1 or math.isinf(mean):
            return mean
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        quantile = float(stats.t.ppf(self.cautious, len(values) - 1))
        distance = quantile * math.sqrt(variance / len(values))
        return mean + (distance if self.direction == "minimize" else -distance)


def worst(objective: Objective, quantile: float = 0.0) -> Objective:
    """Return an objective that judges a configuration by its worst trials, not by their mean.

    Args:
        objective: such as `VALIDATION_ACCURACY`.
        quantile: see `Objective.quantile`.

    Raises:
        ConfigurationError: the objective is cautious, or the quantile is not allowed.
    """
    name = f"{quantile:g} quantile of the {objective.name}" if quantile else objective.name
    return replace(objective, name=name if quantile else f"worst {name}", quantile=quantile)


def validation_objective(metric: Metric) -> Objective:
    """Return the objective of a metric on the validation images; the test images are not used.

    Args:
        metric: the main metric of the recipes' task, such as ``Regression().metrics[0]``. The
            pruner receives its values at the hard weights. Other metrics have no curve, so that
            ``dataclasses.replace(..., curve=None)`` is needed for them.
    """
    column = f"validation_{metric.name}"
    worst = metric.least if metric.higher_is_better else metric.most
    if worst is None:
        worst = -math.inf if metric.higher_is_better else math.inf
    return Objective(
        f"validation {metric.label}",
        "maximize" if metric.higher_is_better else "minimize",
        of=lambda recipe, result: float(result[column]),
        of_diverged=worst,
        curve=f"validation_{measured(metric.name, Point.HARD)}",
        unit=metric.unit,
        factor=metric.factor,
        digits=metric.digits,
    )


VALIDATION_ACCURACY = validation_objective(TopAccuracy())
"""Accuracy on the validation images, as a fraction; a search does not use the test images."""
BITS = Objective("bits a weight", "minimize", of=bits, of_diverged=32.0)
"""Bits per weight, as the mean over all quantized weights."""
FILE_BYTES = Objective(
    "bytes of the file",
    "minimize",
    of=lambda recipe, result: float(result["file_bytes"]),
    of_diverged=math.inf,
    digits=0,
)
"""Bytes of the exported network."""
