"""Saved views of MLflow's UI: the columns, the order and the charts of an experiment's runs.

MLflow stores a saved view as a tag of the experiment, whose value is JSON with the name of the view
and its compressed state. A link with the view's identifier opens the UI with this state.

A view does not choose the format of numbers or the order of names, so runs have rounded results
and names that start with the seed (see `sweeps.tracking.run`).
"""

import base64
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

TRIALS = "trials"
"""Identifier of the view with a row for each trial, the best first."""
CONFIGURATIONS = "configurations"
"""Identifier of the view with a row for each configuration, with its means over the seeds."""

CONFIGURATION = "configuration"
"""Tag of a run with the name of its configuration, such as ``PC ternary rho0=0.01``."""

_TAG = "mlflow.sharedViewState."
_LONGEST_VALUE = 5000
"""Longest value of an experiment's tag, in characters, that every database accepts."""
_FIRST = ("method", "set", "rho0")
"""Params that are columns of every sweep."""
_RUN_NAME = "attributes.`Run Name`"
_CREATED, _DURATION = "runDateAndNestInfo", "duration"
"""Identifiers of columns that cannot be removed."""
_SINGLE_NUMBERS = ("seconds_total", "selected_epoch", "file_bytes", "code_bits", "compression")
"""Metrics of a finished trial, of which a curve would have a single point."""
_EARLIER_METRICS = ("rho0", "seed")
"""Metrics of runs of earlier releases, which are params now."""
_SECTION, _REST = "sweep", "model-metrics"


def views(
    metric: str,
    higher_is_better: bool,
    labels: Sequence[Mapping[str, str]],
    configurations: Collection[str],
    created: int,
) -> dict[str, str]:
    """Return the tags of an experiment that are its saved views.

    Args:
        metric: name of the main metric of the trials' task.
        higher_is_better: its direction.
        labels: the labels of each trial, see `sweeps.tracking.run.labels`.
        configurations: the names of all configurations.
        created: when the experiment was created, in milliseconds since 1970.
    """
    axes = [name for one in labels for name in one if name not in _FIRST]
    params = [*_FIRST, *dict.fromkeys(axes)]
    results = results_of(metric)
    widths = {
        _column("params", name): _width(name, *(one.get(name, "") for one in labels))
        for name in params
    }
    widths[_column("params", "seed")] = _width("seed")
    for name in results:
        widths[_column("metrics", name)] = _width(name)
    order = {"orderByKey": _column("metrics", results[0]), "orderByAsc": not higher_is_better}
    trials = {
        **order,
        **_columns(widths, name_width=185),
        **_charts([_parallel(params, results), *_curves(metric)], metric),
    }
    means = {_column("metrics", name): _width(name) for name in results}
    grouped = {
        **order,
        **_columns(means, name_width=_width(*configurations) + 60),
        **_charts([_bars(results[0]), *_curves(metric)], metric),
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": CONFIGURATION}],
        },
    }
    closed = {f"tag.{CONFIGURATION}.{name}": False for name in configurations}
    tag = _value("Configurations", {**grouped, "groupsExpanded": closed}, created)
    if len(tag) > _LONGEST_VALUE:  # then the groups are open
        tag = _value("Configurations", grouped, created)
    return {
        _TAG + TRIALS: _value("Trials", trials, created),
        _TAG + CONFIGURATIONS: tag,
    }


def results_of(metric: str) -> tuple[str, str]:
    """Return the names of the results of a trial that are columns: on test and validation data."""
    return f"test_{metric}", f"validation_{metric}"


def has_views(tags: Mapping[str, str]) -> bool:
    """Return whether an experiment with these tags has the saved views."""
    return all(_TAG + view in tags for view in (TRIALS, CONFIGURATIONS))


def link(server: str, experiment_id: str, view: str) -> str:
    """Return the address at which the UI of a server shows a saved view of an experiment."""
    return (
        f"{server}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}"
        "&compareRunsMode=TABLE&workflowType=machine_learning"
    )


def _value(name: str, state: Mapping[str, Any], created: int) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), level=9)).decode()
    return json.dumps(
        {"name": name, "createdAt": created, "updatedAt": created, "state": f"deflate;{packed}"}
    )


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _width(*texts: str) -> int:
    """Return the width in pixels of a column for texts."""
    return min(320, 26 + 8 * max((len(text) for text in texts), default=0))


def _columns(widths: Mapping[str, int], name_width: int) -> dict[str, Any]:
    return {
        "selectedColumns": list(widths),
        "columnOrder": [_RUN_NAME, _CREATED, *widths, _DURATION],
        "columnWidths": {_RUN_NAME: name_width, _CREATED: 80, **widths, _DURATION: 80},
    }


def _charts(prepared: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Return the charts of a view.

    MLflow adds a chart for every other metric, except for those whose charts were removed.
    """
    removed = (*_EARLIER_METRICS, *_SINGLE_NUMBERS, *results_of(metric))
    return {
        "compareRunCharts": [
            *({**chart, **_card(f"prepared-{number}")} for number, chart in enumerate(prepared)),
            *(
                {"type": "BAR", "metricKey": name, **_card(name, section=_REST), "deleted": True}
                for name in removed
            ),
        ],
        "compareRunSections": [
            {**_section(_SECTION, "Comparison"), "columns": 1, "cardHeight": 420},
            _section(_REST, "Model metrics"),
            _section("system-metrics", "System metrics"),
        ],
        "isAccordionReordered": True,
        "runsHiddenMode": "SHOW_ALL",
    }


def _card(identifier: str, section: str = _SECTION) -> dict[str, Any]:
    return {
        "uuid": identifier,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
    }


def _section(identifier: str, name: str) -> dict[str, Any]:
    return {
        "uuid": identifier,
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": list(reversed(metrics)),  # the last one gives the lines their colours
        "showAllRuns": True,
    }


def _bars(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric}


def _curves(metric: str) -> list[dict[str, Any]]:
    name = f"validation_{metric}_hard"
    return [{"type": "LINE", "metricKey": name, "selectedMetricKeys": [name]}]
