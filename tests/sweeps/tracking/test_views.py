"""The saved views of MLflow's UI, without a browser; tests/test_browser.py opens them."""

import base64
import json
import zlib
from typing import Any

from sweeps.tracking.run import rounded
from sweeps.tracking.views import has_views, link, views

TAG = "mlflow.sharedViewState."


def state_of(tags: dict[str, str], view: str) -> dict[str, Any]:
    value = json.loads(tags[TAG + view])
    kind, _, packed = value["state"].partition(";")
    assert kind == "deflate"
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_columns_are_the_labels_and_the_results() -> None:
    labels = [{"method": "PC", "set": "", "rho0": "0.1", "width": "16"}, {"method": "FP"}]
    tags = views("bits_per_byte", False, labels, ["PC width=16", "FP"], created=7)
    assert has_views(tags)
    trials = state_of(tags, "trials")
    assert trials["selectedColumns"] == [
        *(f"params.`{name}`" for name in ("method", "set", "rho0", "width", "seed")),
        "metrics.`test_bits_per_byte`",
        "metrics.`validation_bits_per_byte`",
    ]
    assert (trials["orderByKey"], trials["orderByAsc"]) == ("metrics.`test_bits_per_byte`", True)
    parallel, *others = trials["compareRunCharts"]
    assert parallel["selectedParams"] == ["method", "set", "rho0", "width"]
    removed = {chart["metricKey"] for chart in others if chart["deleted"]}
    assert {"rho0", "seed"} < removed
    grouped = state_of(tags, "configurations")
    assert grouped["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "configuration"}]
    closed = {"tag.configuration.PC width=16": False, "tag.configuration.FP": False}
    assert grouped["groupsExpanded"] == closed


def test_views_of_thousands_of_configurations_fit_into_a_tag() -> None:
    names = [f"method {number**3 % 7919} rho0={1 / (1 + number)}" for number in range(3000)]
    tags = views("accuracy", True, [{"method": name} for name in names], names, created=0)
    assert max(map(len, tags.values())) <= 5000
    assert "groupsExpanded" not in state_of(tags, "configurations")


def test_a_link_names_the_view() -> None:
    page = link("http://127.0.0.1:5000", "12", "trials")
    assert page.startswith("http://127.0.0.1:5000/#/experiments/12/runs?viewStateShareKey=trials&")


def test_results_are_rounded_to_what_a_column_shows() -> None:
    numbers = {0.98888889: 0.9889, 23.456789: 23.4568, 5691.0: 5691.0, 0.0123456: 0.01235, 0: 0}
    assert {number: rounded(number) for number in numbers} == numbers
    assert rounded(-1.23456e-7) == -1.235e-7
