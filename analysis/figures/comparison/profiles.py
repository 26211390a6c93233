"""Performance profiles: the share of all runs over several tasks that are above a score."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.emphasis import add_others, emphasis_by
from analysis.figures.style import (
    DASHES,
    draw_bands,
    drawable_labels,
    method_styles,
    panels,
    shared_legend,
)

_WIDTH, _HEIGHT = 4.2, 2.6


def profile_figure(profiles: pd.DataFrame, methods: Iterable[str] = ()) -> Figure:
    """Plot the performance profile of each method, with its interval as a band.

    Of more methods than `emphasis.MOST`, those with the largest area under the profile, which is
    the mean score, are in colour and the others are grey.

    Args:
        profiles: result of `across_settings.AcrossSettings.profiles`.
        methods: all methods of the sweep, which determine the colours.
    """
    figure, grid = panels(1, 1)
    figure.set_size_inches(_WIDTH, _HEIGHT)
    (axes,) = grid.flat
    styles = method_styles([*methods, *profiles["method"].unique()])
    labels = drawable_labels(profiles["variant"].unique())
    areas = profiles.groupby("variant", sort=False)["share"].mean()
    ranks = {str(name): -float(area) for name, area in areas.items()}
    emphasis = emphasis_by(ranks, "largest area under the profile")
    used: dict[str, int] = {}
    others, bands = [], []
    for name, profile in profiles.groupby("variant", sort=False):
        if name not in emphasis.names:
            others.append(100 * profile[["threshold", "share"]].to_numpy(float))
            continue
        colour, _ = styles[profile["method"].iloc[0]]
        place = used.setdefault(colour, 0)
        used[colour] += 1
        scores = 100 * profile["threshold"]
        axes.plot(
            scores,
            100 * profile["share"],
            color=colour,
            linestyle=(0, DASHES[place % len(DASHES)]),
            label=labels[str(name)],
        )
        low, high = 100 * profile["share_low"], 100 * profile["share_high"]
        bands.append((scores, low, high, colour))
    draw_bands(axes, bands)
    add_others(axes, others, [], emphasis)
    axes.set_xlabel("score (%)")
    axes.set_ylabel("runs above it (%)")
    axes.grid()
    shared_legend(figure, [axes])
    return figure
