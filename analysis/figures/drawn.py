"""Drawn: a figure with its place in a report."""

import io
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure and where it goes."""

    name: str
    """Of its files."""
    section: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The figure as an SVG file; the same trials give the same text."""
        text = io.StringIO()
        self.figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()
