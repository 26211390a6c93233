"""Drawn: a figure with its caption and its section in a report."""

import io
import re
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure

from analysis.figures.style import SOFT


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

    @property
    def inline_svg(self) -> str:
        """The figure as an element of an HTML page, in the colours of the page's theme.

        Black, the colour of lines that guide the eye, and the white of backgrounds become the CSS
        variables ``--ink``, ``--soft`` and ``--paper``. Text without a colour inherits ``fill``.
        """
        element = self.svg[self.svg.index("<svg") :]  # without the XML declaration of a file
        element = _BACKGROUND.sub(r"\1var(--paper)", element)
        return element.replace("#000000", "var(--ink)").replace(SOFT, "var(--soft)")


_BACKGROUND = re.compile(r'(<g id="patch_\d+">\s*<path [^>]*fill: )#ffffff')
"""The white background of a figure, of its axes, or of a legend."""
