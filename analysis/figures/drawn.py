"""Drawn: a figure with its caption and its section in a report."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.figures.style import SOFT

ENDINGS: Final = ("pdf", "png", "svg")
"""Endings of the files of a figure."""


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
        with self._at_print_size():
            FigureCanvasSVG(self.figure).print_svg(text, metadata={"Date": None})
        return text.getvalue()

    @cached_property
    def pdf(self) -> bytes:
        """The content of the figure's PDF file; the same trials give the same content."""
        content = io.BytesIO()
        with self._at_print_size():
            FigureCanvasPdf(self.figure).print_pdf(content, metadata={"CreationDate": None})
        return content.getvalue()

    @property
    def png(self) -> bytes:
        """The content of the figure's PNG file."""
        content = io.BytesIO()
        with self._at_print_size():
            FigureCanvasAgg(self.figure).print_png(content)
        return content.getvalue()

    def content(self, ending: str) -> bytes:
        """The content of one of the figure's files.

        Args:
            ending: one of `ENDINGS`.
        """
        return {
            "pdf": lambda: self.pdf,
            "png": lambda: self.png,
            "svg": lambda: self.svg.encode("utf-8"),
        }[ending]()

    @contextmanager
    def _at_print_size(self) -> Iterator[None]:
        """Give the figure the resolution of files.

        `Figure.savefig` does so, too, but draws the figure once more, for the layout that a frozen
        figure has already.
        """
        before, wanted = self.figure.dpi, rcParams["savefig.dpi"]
        self.figure.dpi = before if wanted == "figure" else wanted
        try:
            yield
        finally:
            self.figure.dpi = before

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
