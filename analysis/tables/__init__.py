"""Tables of formatted text, which a report shows."""

from analysis.tables.table import Mark, Table, axis_labels, build, marked, of

__all__ = ["Mark", "Table", "axis_labels", "build", "marked", "of"]
