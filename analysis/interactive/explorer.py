"""The interactive part of a sweep's page: its data and its scripts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from importlib.resources import files
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.figures.style import DASHES, method_styles
from analysis.interactive.curves import curves_document
from analysis.interactive.dimensions import dimensions
from analysis.interactive.library import chart_library
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING

_SCRIPTS = ("chart.js", "panels.js", "values.js", "curves.js", "parallel.js", "explorer.js")
SHAPES: Mapping[str, str] = {
    "s": "M-.9,-.9H.9V.9H-.9Z",
    "o": "M0,-1A1,1,0,1,1,0,1A1,1,0,1,1,0,-1Z",
    "^": "M0,-1L1,.8H-1Z",
    "v": "M0,1L1,-.8H-1Z",
    "D": "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "P": "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
    "X": "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z",
    "*": "M0,-1.1L.3,-.4L1,-.35L.45,.15L.65,.9L0,.5L-.65,.9L-.45,.15L-1,-.35L-.3,-.4Z",
    "": "M-1,-.4H1V.4H-1Z",
}
"""Marker of matplotlib -> path in a square from -1 to 1."""


@dataclass(frozen=True)
class Explorer:
    """What the page needs beside its markup."""

    data: Markup
    """The trials as JSON, for an element ``script``."""
    library: Markup
    """The chart library."""
    code: Markup
    """The scripts of the charts."""
    groups: str = "Methods"
    """What the colours tell; heading of the choice of them."""
    one: str = "trial"
    """What a line stands for, in sentences."""
    has_seeds: bool = True
    """Whether a mark is the mean over several lines."""
    has_curves: bool = False
    """Whether there are learning curves."""


def explorer(measurements: Measurements, selected: pd.DataFrame) -> Explorer | None:
    """Prepare the interactive part of a page; None if no trial has a value of the metric.

    Args:
        measurements: the trials, their metrics and histories, with labels in place of names.
        selected: result of `selection.select`; the configurations that have learning curves.
    """
    trials, metric = measurements.trials, measurements.metric
    if trials[metric.column("test")].isna().all():
        return None
    document = _document(measurements, selected)
    return with_scripts(document, has_curves=document["curves"] is not None)


def with_scripts(document: Mapping[str, Any], **words: Any) -> Explorer:
    """The interactive part that shows a document.

    Args:
        document: what ``explorer.js`` reads.
        words: further fields of `Explorer`.
    """
    return Explorer(
        data=Markup(_json(document)),
        library=Markup(chart_library()),
        code=Markup("\n".join(map(_script, _SCRIPTS))),
        **words,
    )


def _script(name: str) -> str:
    """The text of a script in this folder."""
    return files("analysis.interactive").joinpath(name).read_text(encoding="utf-8")


def _document(measurements: Measurements, selected: pd.DataFrame) -> dict[str, Any]:
    trials, metric = measurements.trials, measurements.metric
    found = list(dimensions(measurements))
    (methods,) = (each.names for each in found if each.key == "method")
    styles = method_styles(trials["method"].unique())
    columns = [trials[key] for key in SETTING]
    # Columns of text are added, as joining each row would take long for thousands of trials.
    settings, names = pd.factorize(reduce(lambda one, other: one + " · " + other, columns))
    configurations, ids = pd.factorize(trials["configuration_id"])
    places = {name: place for place, name in enumerate(ids)}
    first = trials.drop_duplicates("configuration_id")
    return {
        "group": "method",
        "styles": [
            {"name": name, "colour": styles[name][0], "shape": SHAPES[styles[name][1]]}
            for name in methods or ()
        ],
        "dashes": [list(dash) for dash in DASHES],
        "panels": "set",
        "settings": list(names),
        "configurations": [name.rsplit(" seed=", 1)[0] for name in first["name"]],
        "trials": {
            "id": trials["trial_id"].tolist(),
            "configuration": configurations.tolist(),
            "setting": settings.tolist(),
            "state": trials["state"].tolist(),
            "isFinished": (trials["state"] == "COMPLETE").tolist(),
        },
        "plural": "trials",
        "hasSeeds": True,
        "listed": ["seed", "result"],
        "table": "trials",
        "metric": {"key": metric.column("test"), "higherIsBetter": metric.higher_is_better},
        "dimensions": [each.document() for each in found],
        "curves": curves_document(measurements, selected, places),
    }


def _json(document: Mapping[str, Any]) -> str:
    """JSON that cannot end the element of a page in which it stands."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c")
