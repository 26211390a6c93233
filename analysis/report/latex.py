"""LaTeX files of a report: tables with booktabs, and a document that shows all."""

import re
from collections.abc import Iterable

from analysis.figures.drawn import Drawn
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
_UNKNOWN = frozenset("«»ÐðÞþĐđĄąĘęĮįŲųŊŋĦħĸĿŀŉŦŧſ")
"""Those before it that it does not: its usual fonts lack them, and a paper may have no others."""
PACKAGES = ("booktabs", "graphicx")
"""What the files of tables and figures need besides LaTeX itself."""
_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,margin=2cm]{geometry}
""" + "".join(f"\\usepackage{{{name}}}\n" for name in PACKAGES)
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
"""Shrinks its content to the width of the text if it is wider."""
_COLUMN, _LETTER, _BETWEEN = 245.0, 4.6, 8.0
"""Width of a column of a two-column paper, and about that of a letter and of the space between the
columns of a table, in points."""
_LEAST = 0.8
"""What is shrunk more than this in one column spans both columns."""
_NUMBER = re.compile(r"[*_]*[-+<]? ?\d")
"""Start of a cell that is set to the right, with those below and above it."""
_POWER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e(-?)0*(\d+)(?![\w.]*\w)")
_SYMBOL = re.compile(r"(?<!\w)(P_Q\(w\*\)|P\(w\*\)|w_b|w_r|w\*)")
_SYMBOLS = {"w*": "w^*", "P(w*)": "P(w^*)", "P_Q(w*)": "P_Q(w^*)"}


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped.

    A number at the start may be bold or underlined, ρ0 gets its index, 1e-4 is a power of ten, and
    letters that pdflatex does not know are shown as their code points.
    """
    mark, number, rest = marked(text)
    if mark is Mark.NONE:
        return _escaped(rest)
    command = "textbf" if mark is Mark.BOLD else "underline"
    return rf"\{command}{{{_escaped(number)}}}{_escaped(rest)}"


def _escaped(text: str) -> str:
    parts, end = [], 0
    for match in _POWER.finditer(text):
        parts += [_plain(text[end : match.start()]), _power(*match.groups())]
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def _power(factor: str, sign: str, exponent: str) -> str:
    r"""A number with an exponent, such as ``$5\cdot 10^{-3}$``."""
    times = "" if factor == "1" else rf"{factor}\cdot "
    return f"${times}10^{{{sign}{exponent}}}$"


def _plain(text: str) -> str:
    escaped = "".join(map(_letter, text)).replace(r"$\rho$0", r"$\rho_0$")
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def _caption(text: str) -> str:
    """A caption of this package, in which the symbols of weights are mathematics."""
    parts = _SYMBOL.split(text)
    return "".join(
        f"${_SYMBOLS.get(part, part)}$" if number % 2 else latex_text(part)
        for number, part in enumerate(parts)
    )


def _letter(letter: str) -> str:
    """One letter in LaTeX, or its code point if pdflatex does not know it."""
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter <= _LAST_KNOWN and letter.isprintable() and letter not in _UNKNOWN:
        return letter
    return f"[U+{ord(letter):04X}]"


def latex_table(table: Table, name: str = "") -> str:
    """A floating table with booktabs rules, of one or both columns of a paper.

    It is shrunk to the width of the text if it is wider.

    Args:
        table: the table.
        name: what its label begins with.
    """
    formats, width, columns = [], 0.0, []
    for position, header in enumerate(table.body.columns):
        cells = list(map(str, table.body.iloc[:, position].tolist()))
        longest = max(map(len, cells), default=0)
        is_text = position == 0 or not all(_NUMBER.match(cell) for cell in cells if cell)
        formats.append("p{4.3cm}" if longest > _WIDE_CELL else "l" if is_text else "r")
        width += _LETTER * max(min(longest, _WIDE_CELL), len(str(header))) + _BETWEEN
        columns.append(list(map(_cell, [str(header), *cells])))
    head, *rows = (f"{' & '.join(row)} \\\\" for row in zip(*columns, strict=True))
    tabular = "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join(formats)}}}",
            *(r"\toprule", head, r"\midrule", *rows, r"\bottomrule"),
            r"\end{tabular}",
        ]
    )
    star = "*" if width * _LEAST > _COLUMN else ""
    return (
        f"{_HEAD}\\begin{{table{star}}}[htbp]\n\\centering\\small\\setlength{{\\tabcolsep}}{{4pt}}\n"
        f"\\caption{{{_caption(table.caption)}}}\n\\label{{tab:{_key(name, table.name)}}}\n"
        f"\\smallskip\n{_FITTED}%\n{tabular}}}\n\\end{{table{star}}}\n"
    )


def latex_figure(figure: Drawn, name: str = "") -> str:
    """A floating figure with its caption, of one or both columns of a paper.

    Args:
        figure: the figure; its PDF file is `figure_file`.
        name: what its label and its file begin with.
    """
    inches = float(figure.figure.get_size_inches()[0])
    star = "*" if inches * 72.27 * _LEAST > _COLUMN else ""
    file = figure_file(figure, name)
    return (
        f"{_HEAD}% LaTeX must find {file}: \\graphicspath{{{{FOLDER/}}}} names its folder.\n"
        f"\\begin{{figure{star}}}[htbp]\n\\centering\n{_FITTED}\\includegraphics{{{file}}}}}\n"
        f"\\caption{{{_caption(figure.caption)}}}\n\\label{{fig:{_key(name, figure.name)}}}\n"
        f"\\end{{figure{star}}}\n"
    )


def figure_file(figure: Drawn, name: str = "") -> str:
    """The name of a figure's PDF file, which begins with that of the sweep."""
    return f"{_key(name, figure.name, '-')}.pdf"


_HEAD = f"% Packages: {', '.join(PACKAGES)}\n"


def _key(name: str, of: str, sign: str = ":") -> str:
    first = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    return f"{first}{sign}{of}" if first else of


def _cell(cell: str) -> str:
    text = latex_text(cell)
    # LaTeX would read these as options of the row that ends before them.
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def latex_document(
    title: str, tables: Iterable[str], left_out: Iterable[str], figures: Iterable[str]
) -> str:
    """A document that shows all tables and figures; it is compiled in its own folder.

    Args:
        title: title of the document.
        tables: names of the files of tables beside the document, without their ending.
        left_out: names of tables that are too long for a page.
        figures: names of the files of figures, as for tables.
    """
    lines = [_PREAMBLE, r"\begin{document}", rf"\section*{{{latex_text(title)}}}"]
    lines += [rf"\input{{{name}}}" for name in tables]
    if names := ", ".join(left_out):
        lines.append(latex_text(f"Tables too long for a page are in tables/*.csv: {names}."))
    lines += [rf"\input{{{name}}}" for name in figures]
    return "\n".join([*lines, r"\end{document}", ""])
