"""ReportFiles: the files of a report, in the requested formats."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.figures.drawn import ENDINGS, Drawn
from analysis.report.latex import (
    LONGEST,
    figure_file,
    latex_document,
    latex_figure,
    latex_table,
)
from analysis.report.latex_columns import LatexOptions, with_columns
from analysis.tables.table import Table, markdown_text

FORMATS: Mapping[str, str] = {
    "html": "report.html",
    "markdown": "report.md",
    "latex": "latex/report.tex",
    "csv": "tables/*.csv",
    "parquet": "tables/*.parquet",
    "figures": "figures/*.svg, *.pdf and *.png",
}
"""Format -> its files. In LaTeX, every table and every figure is a file that a paper can include,
and report.tex, to be compiled in its own folder, shows all of them."""


class ReportFiles:
    """Writes the files of a report, and removes those of an earlier report in the same folder.

    The file ``.report-files`` lists what was written, so that files of others are kept.
    """

    def __init__(
        self, directory: Path, formats: Collection[str], latex: LatexOptions | None = None
    ) -> None:
        """Read what an earlier report has left; the first file that is written makes the folder.

        Args:
            directory: folder of the report; files with the same names are replaced.
            formats: keys of `FORMATS`; the methods write nothing for other formats.
            latex: options of the LaTeX files.
        """
        self.directory = directory
        self.formats = tuple(formats)
        self._latex = latex or LatexOptions()
        self.written: list[Path] = []
        self._list = directory / ".report-files"
        self._older = (
            self._list.read_text(encoding="utf-8").splitlines() if self._list.exists() else []
        )

    @property
    def need_figures(self) -> bool:
        """Whether one of the formats shows figures."""
        return bool({"html", "figures", "latex"} & set(self.formats))

    def write_page(self, text: str) -> None:
        """Write the HTML page, whatever the formats."""
        self._write("report.html", text)

    def write_markdown(
        self, title: str, intro: str, tables: Iterable[Table], end: str = ""
    ) -> None:
        """Write all tables as Markdown.

        Args:
            title: heading of the file.
            intro: Markdown before the tables.
            tables: in their order; a heading starts each section.
            end: Markdown after the tables.
        """
        if "markdown" not in self.formats:
            return
        lines, section = [f"# {markdown_text(title)}\n\n{intro}\n"], ""
        for table in tables:
            if table.section != section:
                section = table.section
                lines.append(f"## {section}\n")
            lines.append(table.markdown())
        self._write("report.md", "\n".join([*lines, *([end] if end else [])]))

    def write_latex(self, title: str, tables: Sequence[Table], drawn: Iterable[Drawn]) -> None:
        """Write a file for each table and figure, and one that shows all of them.

        Raises:
            UnknownColumnError: see `with_columns`.
        """
        if "latex" not in self.formats:
            return
        name = self._latex.name
        short = [
            table
            for table in with_columns(tables, self._latex.columns)
            if len(table.body) <= LONGEST
        ]
        for table in short:
            self._write(f"latex/{table.name}.tex", latex_table(table, name))
        left_out = [table.name for table in tables if len(table.body) > LONGEST]
        figures = []
        for item in drawn:
            figures.append(f"figure_{item.name}")
            self._write(f"latex/{figures[-1]}.tex", latex_figure(item, name))
            self._path(f"latex/{figure_file(item, name)}").write_bytes(item.content("pdf"))
        names = [table.name for table in short]
        self._write("latex/report.tex", latex_document(title, names, left_out, figures))

    def write_figures(self, drawn: Iterable[Drawn]) -> None:
        """Write each figure in all file types."""
        if "figures" not in self.formats:
            return
        for item in drawn:
            for ending in ENDINGS:
                path = self._path(f"figures/{item.name}.{ending}")
                path.write_bytes(item.content(ending))

    def write_table(self, name: str, table: pd.DataFrame, *, is_named: bool = False) -> None:
        """Write a table of findings as CSV and Parquet.

        Args:
            name: file name without suffix.
            table: columns of numbers and text.
            is_named: whether page and Markdown refer to the CSV file, which is then written with
                them.
        """
        if "csv" in self.formats or (is_named and {"html", "markdown"} & set(self.formats)):
            table.to_csv(self._path(f"tables/{name}.csv"), index=False)
        if "parquet" in self.formats:
            path = self._path(f"tables/{name}.parquet")
            _plain_text(table).to_parquet(path, index=False)

    def remove_older(self) -> None:
        """Remove the files of an earlier report that this one has not written."""
        names = [str(path.relative_to(self.directory)) for path in self.written]
        for name in set(self._older) - set(names):
            (self.directory / name).unlink(missing_ok=True)
        self._list.write_text("\n".join(names) + "\n", encoding="utf-8")

    def _path(self, name: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.written.append(path)
        return path

    def _write(self, name: str, text: str) -> None:
        self._path(name).write_text(text, encoding="utf-8")


def _plain_text(table: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of mixed types to text; settings of recipes may have any type."""
    mixed = [column for column in table.columns if table[column].dtype == object]
    return table.assign(**{name: table[name].map(str, na_action="ignore") for name in mixed})
