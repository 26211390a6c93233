"""A written report as JSON data: its files and the numbers of its tables."""

import json
from typing import Any

from analysis.report.study import StudyReport
from analysis.report.sweep import Report


def report_data(report: Report | StudyReport) -> dict[str, Any]:
    """Return where a report is, and of a sweep's report also the metric and the tables.

    The tables are those that the report writes as CSV, apart from the trials and their histories:
    name -> rows, whose accuracies are fractions.
    """
    data: dict[str, Any] = {
        "directory": str(report.directory),
        "files": [str(path) for path in report.files],
    }
    if isinstance(report, StudyReport):
        return data
    metric = report.findings.metric
    return {
        **data,
        "metric": {
            "name": metric.name,
            "label": metric.label,
            "higher_is_better": metric.higher_is_better,
        },
        "tables": {
            name: json.loads(frame.to_json(orient="records", double_precision=15))
            for name, frame in report.findings.tables()
        },
    }
