"""LaTeX files of a report: tables with booktabs, and a document that shows all."""

import re
from collections.abc import Iterable

from analysis.tables.table import Mark, Table, marked

LONGEST = 45
"""Rows that fit on a page; longer tables are in the CSV files only."""

_WIDE_CELL = 40
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    "ρ": r"$\rho$",
    "…": r"\ldots{}",
    "ϱ": r"$\varrho$",
    "τ": r"$\tau$",
    "ω": r"$\omega$",
    "²": r"$^2$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "·": r"$\cdot$",
}
_LAST_KNOWN = "\u017f"
"""Last code point that pdflatex typesets without help: Latin letters with accents."""
_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
"""
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
"""Shrinks its content to the text width if it is wider."""


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped.

    A number at the start may be bold or underlined, ρ0 gets its index, and letters that pdflatex
    does not know are shown as their code points.
    """
    mark, number, rest = marked(text)
    if mark is Mark.NONE:
        return _escaped(rest)
    command = "textbf" if mark is Mark.BOLD else "underline"
    return rf"\{command}{{{_escaped(number)}}}{_escaped(rest)}"


def _escaped(text: str) -> str:
    escaped = "".join(map(_letter, text)).replace(r"$\rho$0", r"$\rho_0$")
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def _letter(letter: str) -> str:
    """One letter in LaTeX, or its code point if pdflatex does not know it."""
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter <= _LAST_KNOWN and letter.isprintable():
        return letter
    return f"[U+{ord(letter):04X}]"


def latex_table(table: Table) -> str:
    """A floating table with booktabs rules, shrunk to the text width if it is wider."""
    body = table.body.map(lambda cell: _cell(str(cell)))
    formats = []
    for position, column in enumerate(table.body.columns):
        longest = max((len(str(cell)) for cell in table.body[column]), default=0)
        is_text = position == 0 or not table.body[column].str.contains(r"\d").any()
        formats.append("p{4.3cm}" if longest > _WIDE_CELL else "l" if is_text else "r")
    body.columns = [_cell(str(column)) for column in body.columns]
    tabular = body.to_latex(index=False, escape=False, column_format="".join(formats))
    return (
        "\\begin{table}[htbp]\n\\centering\\small\n"
        f"\\caption{{{latex_text(table.caption)}}}\n\\label{{tab:{table.name}}}\n"
        f"{_FITTED}%\n{tabular.rstrip()}}}\n\\end{{table}}\n"
    )


def _cell(cell: str) -> str:
    text = latex_text(cell)
    # LaTeX would read these as options of the row that ends before them.
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def latex_document(
    title: str,
    tables: Iterable[Table],
    left_out: Iterable[str],
    figures: Iterable[tuple[str, str]],
) -> str:
    """A document that shows all tables and figures; it is compiled in its own folder.

    Args:
        title: title of the document.
        tables: each is read from ``NAME.tex`` beside the document.
        left_out: names of tables that are too long for a page.
        figures: path of the PDF file and caption of each figure.
    """
    lines = [_PREAMBLE, r"\begin{document}", rf"\section*{{{latex_text(title)}}}"]
    lines += [rf"\input{{{table.name}}}" for table in tables]
    if names := ", ".join(left_out):
        lines.append(latex_text(f"Tables too long for a page are in tables/*.csv: {names}."))
    for path, caption in figures:
        lines += [
            r"\begin{figure}[htbp]\centering",
            rf"{_FITTED}\includegraphics{{{path}}}}}",
            rf"\caption{{{latex_text(caption)}}}",
            r"\end{figure}",
        ]
    return "\n".join([*lines, r"\end{document}", ""])
