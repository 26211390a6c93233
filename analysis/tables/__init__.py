"""Tables for people: finished text in rows and columns."""

from analysis.tables.table import Table, axis_label, bold, build, mean_of, of

__all__ = ["Table", "axis_label", "bold", "build", "mean_of", "of"]
