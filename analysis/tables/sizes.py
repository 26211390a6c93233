"""Table of the sizes of exported networks, beside their accuracy or other value."""

import pandas as pd

from analysis.findings import Findings
from analysis.statistics.aggregate import SETTING
from analysis.statistics.pareto import pareto_front
from analysis.tables.accuracy import section
from analysis.tables.table import FAMILY, Columns, Table, build

_OPTIONAL: Columns = {
    "times smaller": lambda row: _number(row["compression"], 1),
    "bits a weight": lambda row: _number(row["code_bits"], 2),
}
"""Header -> format of columns that results of earlier releases lack."""
_NEEDED = {"times smaller": "compression", "bits a weight": "code_bits"}


def sizes_table(findings: Findings) -> Table:
    """The bytes of each method's exported network at its selected ρ0; no rows if none are known.

    Args:
        findings: result of `findings.analyse`.
    """
    metric, selected = findings.metric, findings.selected
    known = selected.assign(file_bytes=selected.get("file_bytes", float("nan")))
    known = known[known["file_bytes"].notna() & (known["n"] > 0)]
    fronts = [
        pareto_front(part, "file_bytes", metric)["configuration_id"]
        for _, part in known.groupby(list(SETTING), sort=False)
    ]
    on_front = set(pd.concat(fronts)) if fronts else set()
    columns: Columns = {
        **FAMILY,
        "bytes": lambda row: f"{row['file_bytes']:,.0f}",
        **{name: of for name, of in _OPTIONAL.items() if _NEEDED[name] in known},
        f"test {metric.head}": lambda row: metric.mean_and_std(row["test_mean"], row["test_std"]),
        "on the front": lambda row: "✓" if row["configuration_id"] in on_front else "",
    }
    return build(
        "sizes",
        section(metric),
        "Bytes of the exported network of each method at its chosen ρ0. How many times it is "
        "smaller is relative to the network in float32, and the bits of a quantized weight include "
        "its share of levels and scales. No network on the Pareto front is both larger and worse "
        "than another.",
        known,
        columns,
    )


def _number(value: float, decimals: int) -> str:
    return "" if pd.isna(value) else f"{value:.{decimals}f}"
