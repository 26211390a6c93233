"""Reports: folders with a page, Markdown, LaTeX, figures and every table."""

from analysis.report.sweep import Report, write_report

__all__ = ["Report", "write_report"]
