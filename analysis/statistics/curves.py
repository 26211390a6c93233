"""Curves over epochs: the mean over the trials of a configuration, the lowest and the highest."""

from collections.abc import Hashable

import pandas as pd

from analysis.statistics.aggregate import completed


class Curves:
    """The curves of all configurations, of any column of the history."""

    def __init__(self, trials: pd.DataFrame, history: pd.DataFrame) -> None:
        """Take the values of the COMPLETE trials.

        Args:
            trials: columns of `columns.trials_columns`.
            history: columns of `columns.history_columns`.
        """
        configuration = completed(trials).set_index("trial_id")["configuration_id"]
        epochs = history.assign(configuration_id=history["trial_id"].map(configuration))
        self._epochs = epochs.dropna(subset="configuration_id")
        by_stage = self._epochs.groupby(["stage", "configuration_id"])["epoch"].max()
        self._last = {stage: dict(of.droplevel(0)) for stage, of in by_stage.groupby(level=0)}
        self._known: dict[tuple[str, bool], dict[Hashable, pd.DataFrame]] = {}

    def of(self, column: str, *, positive: bool = False) -> dict[Hashable, pd.DataFrame]:
        """Return the curves of a column.

        Args:
            column: column of the history.
            positive: whether values <= 0 are left out.

        Returns:
            configuration_id -> mean, min, max and count over its trials, of those with values; the
            index is the epoch.
        """
        if (column, positive) not in self._known:
            epochs = self._epochs
            values = epochs[epochs[column] > 0] if positive else epochs
            of_epochs = values.groupby(["configuration_id", "epoch"])[column]
            found = of_epochs.agg(["mean", "min", "max", "count"])
            self._known[column, positive] = {
                name: curve.droplevel(0) for name, curve in found.groupby(level=0)
            }
        return self._known[column, positive]

    def end_of_first_stage(self, configuration: Hashable) -> float | None:
        """The epoch after which weights are hard-quantized; None if no second stage follows.

        Args:
            configuration: its id.
        """
        first, second = (self._last.get(stage, {}) for stage in ("quantize", "batchnorm"))
        return (
            float(first[configuration]) if {configuration} <= first.keys() & second.keys() else None
        )
