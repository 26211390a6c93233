"""EpochLines: lines over the epochs, one for each selected configuration."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.columns import axis_columns
from analysis.figures.emphasis import add_others, emphasis_of
from analysis.figures.style import DASHES, SOFT, draw_bands, method_styles, places_of_variants
from analysis.labels import variant
from analysis.metric import Metric
from analysis.statistics.curves import Curves


class EpochLines:
    """Lines over the epochs, one for each selected configuration."""

    def __init__(
        self,
        selected: pd.DataFrame,
        trials: pd.DataFrame,
        history: pd.DataFrame,
        metric: Metric,
    ) -> None:
        """Take the values of the COMPLETE trials.

        Args:
            selected: result of `selection.select`.
            trials: the trials behind it.
            history: columns of `columns.history_columns`.
            metric: what the trials are compared by.
        """
        self._selected, self._metric = selected, metric
        self._styles = method_styles(trials["method"])
        self._further = axis_columns(selected)
        self._curves = Curves(trials, history)

    def emphasize(self, chosen: pd.DataFrame, column: str, *, positive: bool = False) -> None:
        """Choose what is drawn in colour.

        Args:
            chosen: rows of the selected configurations that the figure shows.
            column: see `draw`.
            positive: see `draw`.
        """
        curves = self._curves.of(column, positive=positive)
        drawn = chosen[chosen["configuration_id"].isin(curves)]
        self._emphasis = emphasis_of(drawn, self._metric)
        self._places = places_of_variants(self._emphasis.split(self._selected)[0], self._styles)

    def draw(
        self,
        axes: Axes,
        chosen: pd.DataFrame,
        column: str,
        factor: float,
        *,
        offset: float = 0.0,
        positive: bool = False,
    ) -> None:
        """Draw a line for each row, with a band if it is in colour, and the ends of stages.

        Args:
            axes: where to draw.
            chosen: rows of the selected configurations.
            column: column of the history to plot.
            factor: values are multiplied by it.
            offset: number that is added to them.
            positive: whether values <= 0 are left out.
        """
        known, wanted = self._curves.of(column, positive=positive), chosen["configuration_id"]
        curves = {name: offset + factor * known[name] for name in wanted if name in known}
        shown, others = self._emphasis.split(chosen)
        bands = []
        for _, row in shown.iterrows():
            curve = curves.get(row["configuration_id"])
            if curve is None:
                continue
            colour, _ = self._styles[row["method"]]
            name = variant(row, self._further)
            dash = DASHES[self._places[name] % len(DASHES)]
            axes.plot(curve["mean"], color=colour, label=name, linestyle=(0, dash))
            bands.append((curve.index, curve["min"], curve["max"], colour))
        draw_bands(axes, bands)
        grey = [curves[name]["mean"] for name in others["configuration_id"] if name in curves]
        lines = [np.column_stack([mean.index, mean]) for mean in grey]
        add_others(axes, lines, [], self._emphasis)
        for end in {self._curves.end_of_first_stage(name) for name in wanted}:
            if end is not None:
                axes.axvline(end, color=SOFT, linestyle=":", linewidth=0.8)
        axes.grid()
