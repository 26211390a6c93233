"""Tables of formatted text, which a report shows."""

from analysis.tables.table import Table, axis_label, bold, build, of

__all__ = ["Table", "axis_label", "bold", "build", "of"]
