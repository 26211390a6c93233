"""Emphasis: which variants a figure of many shows in colour; the others are thin grey lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.columns import axis_columns
from analysis.figures.style import sets_of
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import SETTING, stacks_of
from analysis.statistics.ties import with_ties

MOST = 12
"""Up to this number of variants, a figure shows all in colour."""
BEST = 6
"""Of more variants, it shows so many: their bands can still be told apart on the grey lines."""
_DASHES = (0, (8, 4))
"""Of grey lines, in widths of a line."""
_HALF_TICK = 1.06
"""Factor by which a grey mark, which stands for a line of one point, extends to both sides."""
_GREY, _OPACITY, _WIDTH = "#808080", 0.45, 0.6
"""With opacity, so that the lines are soft on bright and on dark pages."""
_BELOW_BANDS = 0.9

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Emphasis:
    """The variants of a figure that it shows in colour, with bands and entries in its legend."""

    names: frozenset[str]
    """Names as `labels.variant` returns them; at most `MOST`."""
    num_others: int
    """Number of variants that are grey."""
    reason: str = ""
    """What those in colour are the best by."""

    def split(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows of the variants in colour, and those of the others.

        Args:
            table: with `method` and columns of further axes.
        """
        if not self.num_others:
            return table, table.iloc[:0]
        is_shown = np.isin(_variants(table), list(self.names))
        return table[is_shown], table[~is_shown]

    @property
    def label(self) -> str:
        """The entry of the grey lines in a legend: ``48 other methods``."""
        return f"{self.num_others} other method{'s' if self.num_others > 1 else ''}"

    @property
    def note(self) -> str:
        """A sentence for a caption; empty if all variants are in colour."""
        if not self.num_others:
            return ""
        others = "the other one is" if self.num_others == 1 else f"the {self.num_others} others are"
        return (
            f"The {len(self.names)} methods with the {self.reason} are in colour, and {others} "
            "grey."
        )


class OtherLines(LineCollection):
    """The grey lines of a panel.

    Those of a style are one line with gaps, which is drawn much faster than many lines.
    """

    def __init__(
        self, solid: Sequence[Floats], dashed: Sequence[Floats], emphasis: Emphasis
    ) -> None:
        """Make the lines.

        Args:
            solid: solid lines, (points, 2) each.
            dashed: dashed ones.
            emphasis: names the other variants in the legend and the caption.
        """
        styles = [(lines, style) for lines, style in ((solid, "solid"), (dashed, _DASHES)) if lines]
        super().__init__(
            [_with_gaps(lines) for lines, _ in styles],
            colors=_GREY,
            alpha=_OPACITY,
            linewidths=_WIDTH,
            linestyles=[style for _, style in styles],
            zorder=_BELOW_BANDS,
            label=emphasis.label,
        )
        self.note = emphasis.note


def _with_gaps(lines: Sequence[Floats]) -> Floats:
    """Join lines to one with a missing point after each, at which it is interrupted."""
    gap = np.full((1, 2), np.nan)
    return np.concatenate([part for line in lines for part in (line, gap)])


def emphasis_of(table: pd.DataFrame, metric: Metric = ACCURACY) -> Emphasis:
    """Choose the `BEST` variants by their mean rank over the panels of a figure, or all of `MOST`.

    In a panel, which is a set of a setting, variants are ranked by their best test value there. A
    method in full precision stands in all panels of its setting. Of equal mean ranks, the first by
    name goes before.

    Args:
        table: with the columns of a configuration, and values in `test_mean`; rows without one are
            left out.
        metric: what the trials are compared by.
    """
    known = table[table["test_mean"].notna()]
    scores = with_ties(metric.sign * known["test_mean"].to_numpy(float))
    rows = known[[*SETTING, "set"]].assign(name=_variants(known), score=scores)
    panels = pd.concat(
        [rows[rows["set"].isin((name, ""))].assign(set=name) for name in sets_of(known)]
    )
    panel = [*SETTING, "set"]
    best = panels.groupby([*panel, "name"])["score"].max()
    ranks = best.groupby(level=panel).rank(ascending=False).groupby(level="name").mean()
    of_names = {str(name): float(rank) for name, rank in ranks.items()}
    return emphasis_by(of_names, f"best mean rank by test {metric.label} over the panels")


def emphasis_by(ranks: Mapping[str, float], reason: str) -> Emphasis:
    """Choose the `BEST` variants with the lowest ranks, or all of up to `MOST`.

    Of equal ranks, the first by name goes before.

    Args:
        ranks: name of each variant -> its rank.
        reason: see `Emphasis`.
    """
    best_first = sorted(ranks, key=lambda name: (ranks[name], name))
    shown = best_first if len(best_first) <= MOST else best_first[:BEST]
    return Emphasis(frozenset(shown), len(best_first) - len(shown), reason)


def draw_others(
    axes: Axes,
    others: pd.DataFrame,
    emphasis: Emphasis,
    columns: tuple[str, str],
    ends: tuple[float, float],
    factor: float = 1.0,
) -> None:
    """Draw the grey lines of a panel, all in one collection.

    Args:
        axes: the panel.
        others: its rows of the variants that are not in colour.
        emphasis: of the figure.
        columns: those of the horizontal axis, which is logarithmic, and of the vertical one. A
            variant without values of the first is a dashed line across the panel.
        ends: of dashed lines.
        factor: of the vertical values.
    """
    across, up = (others[column].to_numpy(float) for column in columns)
    solid: list[Floats] = []
    dashed: list[Floats] = []
    for _, places in stacks_of(pd.factorize(_variants(others))[0]):
        x, y = across[places], factor * up[places]
        is_dashed = np.isnan(x).all(axis=1)
        dashed += [np.column_stack([ends, [height, height]]) for height in y[is_dashed, 0]]
        x, y = x[~is_dashed], y[~is_dashed]
        if x.shape[1] == 1:
            x, y = np.hstack([x / _HALF_TICK, x * _HALF_TICK]), np.repeat(y, 2, axis=1)
        order = np.argsort(x, axis=1, kind="stable")
        solid += list(np.take_along_axis(np.stack([x, y], axis=2), order[..., None], axis=1))
    add_others(axes, solid, dashed, emphasis)


def add_others(
    axes: Axes, solid: Sequence[Floats], dashed: Sequence[Floats], emphasis: Emphasis
) -> None:
    """Add grey lines to a panel, if there are any.

    Args:
        axes: the panel.
        solid: solid lines, (points, 2) each.
        dashed: dashed ones.
        emphasis: of the figure.
    """
    if solid or dashed:
        axes.add_collection(OtherLines(solid, dashed, emphasis))
        axes.autoscale_view()


def note_of(figure: Figure) -> str:
    """A sentence on the grey lines of a figure; empty if it has none."""
    return next(
        (
            lines.note
            for axes in figure.axes
            for lines in axes.collections
            if isinstance(lines, OtherLines)
        ),
        "",
    )


def _variants(table: pd.DataFrame) -> NDArray[np.object_]:
    """The name of each row's variant, as `labels.variant` returns it."""
    further = axis_columns(table)
    columns = {name: table[name].tolist() for name in ("method", *further)}
    if not further:
        return np.array(columns["method"], object)
    rows = zip(*columns.values(), strict=True)
    return np.array(
        [variant(dict(zip(columns, row, strict=True)), further) for row in rows], object
    )
