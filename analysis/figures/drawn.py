"""Drawn: a figure with its caption and its section in a report."""

import io
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure with its caption and its section in a report."""

    name: str
    """Name of its files."""
    section: str
    """Heading of the section of a report that shows it."""
    caption: str
    """Sentences, of which the first names the content."""
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The text of the figure's SVG file; the same trials give the same text."""
        text = io.StringIO()
        self.figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()
