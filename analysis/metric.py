"""Metric: what the trials of a report are compared by, and how its values are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

_SIGNIFICANT = 4
"""Significant digits of a typical value, if a metric does not say how many decimals it has."""
_MOST_DIGITS = 12
_WIDEST = 1e7
"""Printed values from this one on are written with `_SIGNIFICANT` digits only."""

_VALUES: Final = (
    "validation_mean",
    "test_mean",
    "best",
    "worst",
    "chance",
    "slope",
    "best_of_test",
    "left_out",
    "difference",
    "single",
    "guess",
    "full_precision",
    "change",
    "other_change",
)
"""Columns of the statistics that hold scores, or differences of two that may have either sign."""
_INTERVALS: Final = (
    ("test_t_low", "test_t_high"),
    ("test_bootstrap_low", "test_bootstrap_high"),
    ("low", "high"),
    ("single_low", "single_high"),
)
"""Columns with the ends of an interval of such a number."""


@dataclass(frozen=True)
class Metric:
    """A measure of quality of finished networks.

    The statistics compute with scores, of which higher ones are better: the values, or their
    negatives. What a report shows are values.
    """

    name: str
    """Name in columns: the table of trials has ``test_<name>`` and ``validation_<name>``."""
    label: str
    """Name in sentences and figures."""
    higher_is_better: bool
    unit: str = ""
    """Unit of printed values, such as ``"%"``; empty for none."""
    factor: float = 1.0
    """Factor of a value when it is printed, such as 100 for a fraction in percent."""
    digits: int | None = None
    """Decimals of printed values; None takes as many as four significant digits need."""
    least: float | None = None
    """The lowest possible value; None if there is none."""
    most: float | None = None
    """The highest possible value; None if there is none."""
    plural: str = ""
    """Plural of the label; ``<label> values`` if empty."""
    heading: str = ""
    """What follows the split above a column of values, such as ``"%"``; the unit or label if
    empty."""
    guess_by_classes: bool = False
    """Whether random guessing has the value 1 / classes, unless the table says it in `chance`."""

    # Scores

    @property
    def sign(self) -> int:
        """1 if higher values are better, and -1 otherwise."""
        return 1 if self.higher_is_better else -1

    @property
    def span(self) -> float:
        """Difference of the highest and the lowest possible value; infinite if one is missing."""
        return math.inf if self.least is None or self.most is None else self.most - self.least

    def column(self, split: str) -> str:
        """Return the column of values in the table of trials.

        Args:
            split: ``"validation"`` or ``"test"``.
        """
        return f"{split}_{self.name}"

    def column_at(self, point: str) -> str:
        """Return the column of validation values in the table of epochs.

        Args:
            point: ``"latent"``, ``"proximal"`` or ``"hard"``.
        """
        return f"{self.column('validation')}_{point}"

    def scores(self, trials: pd.DataFrame, split: str) -> pd.Series:
        """Return the scores of trials.

        Args:
            trials: columns of `columns.trials_columns`.
            split: ``"validation"`` or ``"test"``.
        """
        return self.sign * trials[self.column(split)]

    def scores_of_guessing(self, table: pd.DataFrame) -> pd.Series | None:
        """Return the score of random guessing for each row; None if the table does not tell.

        Args:
            table: of configurations, with its scores in a column `chance`, or with `classes`, which
                tell it where the other column is empty.
        """
        return self._guessing(table, self.sign)

    def values_of_guessing(self, table: pd.DataFrame) -> pd.Series | None:
        """Return the value of random guessing for each row; None if the table does not tell.

        Args:
            table: as for `scores_of_guessing`, with values in its column `chance`.
        """
        return self._guessing(table, 1)

    def _guessing(self, table: pd.DataFrame, sign: int) -> pd.Series | None:
        by_classes = sign / table["classes"] if self._knows_classes(table) else None
        if "chance" not in table:
            return by_classes
        return table["chance"] if by_classes is None else table["chance"].fillna(by_classes)

    def _knows_classes(self, table: pd.DataFrame) -> bool:
        return self.guess_by_classes and "classes" in table

    def margin(self, share: float, best: float) -> float:
        """Return a margin as a difference of scores.

        Args:
            share: of the metric's span or, without one, of the best score.
            best: the best score.
        """
        return share * (self.span if math.isfinite(self.span) else abs(best))

    def clipped(self, low: float, high: float) -> tuple[float, float]:
        """Return the ends of an interval of values, cut at the lowest and the highest possible."""
        return (
            low if self.least is None else max(low, self.least),
            high if self.most is None else min(high, self.most),
        )

    def measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of statistics with values in place of scores.

        Distances from the best score, such as ranges and regrets, are never negative and stay.

        Args:
            table: result of a function of `analysis.statistics`. Its columns `low` and `high`, if
                there are any, are the ends of an interval of scores.
        """
        if self.higher_is_better:
            return table
        # Subtracting from 0 leaves no -0.
        changed = {name: 0.0 - table[name] for name in _VALUES if name in table}
        for low, high in _INTERVALS:
            if low in table:
                changed |= {low: 0.0 - table[high], high: 0.0 - table[low]}
        return table.assign(**changed)

    # Numbers as text

    def with_digits(self, values: Sequence[float] | pd.Series) -> "Metric":
        """Return the metric with the decimals that some values need, if it has no number of them.

        Args:
            values: values of trials; missing ones are left out.
        """
        if self.digits is not None:
            return self
        sizes = np.abs(self.factor * np.asarray(values, dtype=float))
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        if not len(sizes):
            return replace(self, digits=2)
        digits = _SIGNIFICANT - 1 - math.floor(math.log10(float(np.median(sizes))))
        return replace(self, digits=min(max(digits, 0), _MOST_DIGITS))

    def text(self, value: float, *, fewer: int = 0, sign: bool = False) -> str:
        """Return a value, or a difference of values, as text without its unit.

        Args:
            value: NaN gives an empty text.
            fewer: how many decimals to leave out.
            sign: also write a plus sign.
        """
        if math.isnan(value):
            return ""
        printed = self.factor * value
        plus = "+" if sign else ""
        if abs(printed) >= _WIDEST or self.digits is None:
            return f"{printed:{plus}.{_SIGNIFICANT}g}"
        return f"{printed:{plus}.{max(self.digits - fewer, 0)}f}"

    def mean_and_std(self, mean: float, std: float) -> str:
        """``94.00 (1.41)``: a mean, and the standard deviation if there is one."""
        return self.text(mean) if math.isnan(std) else f"{self.text(mean)} ({self.text(std)})"

    def shown(self, value: float, *, fewer: int = 0) -> str:
        """Return a value with its unit: ``98.61 %``."""
        return f"{self.text(value, fewer=fewer)} {self.unit}".rstrip()

    def shown_difference(self, value: float, *, fewer: int = 0) -> str:
        """Return a difference with its unit: ``1.92 points``."""
        return f"{self.text(value, fewer=fewer)} {self.points}".rstrip()

    def shown_margin(self, share: float) -> str:
        """Describe a margin: ``3 points of test accuracy``, or a share of the best mean."""
        if math.isfinite(self.span):
            size = f"{self.factor * self.span * share:g} {self.points}".rstrip()
            return f"{size} of test {self.label}"
        return f"{100 * share:g} % of the {self.highest} mean test {self.label} over ρ0"

    # Words

    @property
    def with_unit(self) -> str:
        """Label and unit: ``accuracy (%)``."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def labelled(self) -> str:
        """Label and unit above a column of values: ``accuracy %``."""
        return f"{self.label} {self.unit}".rstrip()

    @property
    def title(self) -> str:
        """The label as a heading: ``Accuracy``."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def values(self) -> str:
        """The plural of the label."""
        return self.plural or f"{self.label} values"

    @property
    def points(self) -> str:
        """Unit of differences: ``points`` of percentages, or that of the values."""
        return "points" if self.unit == "%" else self.unit

    @property
    def in_points(self) -> str:
        """What differences are given in: ``points of test accuracy``."""
        return f"{self.points} of test {self.label}" if self.points else f"test {self.label}"

    @property
    def in_unit(self) -> str:
        """``, in points``: the unit of differences in a caption; empty without one."""
        return f", in {self.points}" if self.points else ""

    @property
    def head(self) -> str:
        """What follows the split above a column of values: ``%``."""
        return self.heading or self.unit or self.label

    @property
    def highest(self) -> str:
        """Word for the best value: ``highest`` or ``lowest``."""
        return "highest" if self.higher_is_better else "lowest"

    @property
    def lowest(self) -> str:
        """Word for the worst value: ``lowest`` or ``highest``."""
        return "lowest" if self.higher_is_better else "highest"

    @property
    def above(self) -> str:
        """Word for a better value: ``above`` or ``below``."""
        return "above" if self.higher_is_better else "below"

    @property
    def drop(self) -> str:
        """Word for a change to the worse: ``drop`` or ``rise``."""
        return "drop" if self.higher_is_better else "rise"


ACCURACY: Final = Metric(
    "accuracy",
    "accuracy",
    higher_is_better=True,
    unit="%",
    factor=100.0,
    digits=2,
    least=0.0,
    most=1.0,
    plural="accuracies",
    guess_by_classes=True,
)
"""Accuracies, which are fractions and are printed in percent; the metric of tables that name no
other."""
ACCURACY_TOP5: Final = replace(
    ACCURACY,
    name="accuracy_top5",
    label="top-5 accuracy",
    plural="top-5 accuracies",
    heading="top-5 %",
    guess_by_classes=False,
)
"""Shown beside the accuracy in the list of trials."""
