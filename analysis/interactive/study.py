"""The interactive part of a study's page: configurations, their parameters and objectives."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.interactive.dimensions import Dimension, named, numbered, of_metric
from analysis.interactive.explorer import SHAPES, Explorer, with_scripts
from analysis.study_schema import OBJECTIVE_PREFIX, PARAMETER_PREFIX, StudyMeasurements

_KNOWN, _BEST, _FRONT, _FOUND = "known point", "best", "Pareto front", "other"
_STYLES = {
    _KNOWN: ("#000000", "s"),
    _BEST: ("#d55e00", "^"),
    _FRONT: ("#d55e00", "^"),
    _FOUND: ("#0072b2", "o"),
}
"""Kind of a configuration -> colour of Okabe and Ito, and marker of matplotlib."""


def study_explorer(study: StudyMeasurements) -> Explorer | None:
    """Prepare the interactive part of a page; None if no configuration is COMPLETE.

    Args:
        study: its configurations, parameters and objectives.
    """
    if study.ranked.empty:
        return None
    return with_scripts(
        _document(study), groups="Configurations", one="configuration", has_seeds=False
    )


def _document(study: StudyMeasurements) -> dict[str, Any]:
    found = list(_dimensions(study))
    table, places = study.configurations, list(range(len(study.configurations)))
    (kinds,) = (each.names for each in found if each.key == "kind")
    names = [
        f"configuration {number}{f' ({label})' if label else ''}"
        for number, label in zip(table["configuration"], table["label"], strict=True)
    ]
    return {
        "group": "kind",
        "styles": [
            {"name": name, "colour": _STYLES[name][0], "shape": SHAPES[_STYLES[name][1]]}
            for name in kinds or ()
        ],
        "dashes": [[]],
        "panels": "",
        "settings": ["study"],
        "configurations": names,
        "trials": {
            "id": [str(number) for number in table["configuration"]],
            "configuration": places,
            "setting": [0] * len(table),
            "state": list(table["state"]),
            "isFinished": (table["state"] == "COMPLETE").tolist(),
        },
        "plural": "configurations",
        "hasSeeds": False,
        "listed": ["knob", "result"],
        "table": "configurations",
        "metric": {
            "key": f"{OBJECTIVE_PREFIX}{study.objectives[0].name}",
            "higherIsBetter": study.objectives[0].higher_is_better,
        },
        "dimensions": [each.document() for each in found],
        "curves": None,
    }


def _dimensions(study: StudyMeasurements) -> Iterator[Dimension]:
    """Kind and state of the configurations, their parameters, and their objectives."""
    table = study.configurations.assign(kind=_kinds(study))
    yield named(table, "kind", "kind", "method")
    if table["state"].nunique() > 1:
        yield named(table, "state", "state", "state")
    for column in table.columns:
        if column.startswith(PARAMETER_PREFIX) and table[column].nunique() > 0:
            label = column.removeprefix(PARAMETER_PREFIX)
            values = table[column]
            is_number = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
            yield (
                numbered(column, label, "knob", values)
                if is_number
                else named(table, column, label, "knob")
            )
    for objective in study.objectives:
        column = f"{OBJECTIVE_PREFIX}{objective.name}"
        yield of_metric(table[column].astype(float), column, objective.label, objective)
    yield numbered("seconds", "training time (s)", "result", table["seconds"])


def _kinds(study: StudyMeasurements) -> list[str]:
    """The kind of each configuration: a name of `_STYLES`."""
    leading = _FRONT if len(study.objectives) > 1 else _BEST
    return [
        _KNOWN if label else leading if is_leading else _FOUND
        for label, is_leading in zip(
            study.configurations["label"], study.configurations["on_front"], strict=True
        )
    ]
