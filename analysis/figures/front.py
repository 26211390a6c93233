"""The configurations of a study with two objectives, and their Pareto front."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import drawable_labels, method_styles, panels, shared_legend
from analysis.metric import Metric

_BEST, _OTHER = "#0072b2", "#bbbbbb"


def front_figure(configurations: pd.DataFrame, objectives: Sequence[Metric]) -> Figure:
    """Plot the first objective against the second, with the Pareto front as a line.

    The left panel has every configuration, the right one the surroundings of the front.

    Args:
        configurations: columns of `study_schema.CONFIGURATIONS`; rows without values are not shown.
        objectives: two, in the order of the axes.
    """
    first, second = objectives
    across, up = f"objective.{second.name}", f"objective.{first.name}"
    tried = configurations.dropna(subset=[across, up])
    tried = tried[np.isfinite(tried[[across, up]].to_numpy(float)).all(axis=1)]
    tried = tried.assign(**{across: second.factor * tried[across], up: first.factor * tried[up]})
    front = tried[tried["on_front"]].sort_values(across)
    known = tried[tried["label"] != ""]
    styles, names = method_styles(known["label"]), drawable_labels(known["label"])
    # Between two points, only the value of the one with the lower cost is reached.
    where: Literal["post", "pre"] = "pre" if second.higher_is_better else "post"
    figure, grid = panels(1, 2)
    figure.set_size_inches(6.8, 3.0)
    for axes in grid[0]:
        axes.plot(tried[across], tried[up], "o", color=_OTHER, markersize=3, label="others")
        axes.step(front[across], front[up], where=where, color=_BEST, linewidth=0.8)
        axes.plot(front[across], front[up], "o", color=_BEST, label="Pareto front")
        for label, x, y in known[["label", across, up]].itertuples(index=False):
            colour, marker = styles[label]
            style = {"color": colour, "markerfacecolor": "none", "markersize": 8}
            axes.plot(x, y, marker or "d", label=names[label], linestyle="none", **style)
        axes.set_xlabel(second.with_unit)
        axes.grid()
    grid[0, 0].set_ylabel(first.with_unit)
    grid[0, 0].set_title("every configuration")
    grid[0, 1].set_title("around the front")
    low, high = front[up].min(), front[up].max()
    beyond = 0.5 * (high - low) or 0.01 * abs(high) or 1.0
    grid[0, 1].set_ylim(low - beyond, high + beyond)
    shared_legend(figure, grid.flat)
    return figure
