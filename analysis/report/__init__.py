"""Reports: folders with an HTML page, Markdown, LaTeX, figures and all tables."""

from analysis.report.sweep import Report, write_report

__all__ = ["Report", "write_report"]
