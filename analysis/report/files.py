"""ReportFiles: the folder of a report, in whichever formats were asked for."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.figures.drawn import Drawn
from analysis.report.latex import LONGEST, latex_document, latex_table
from analysis.tables.table import Table

FORMATS: Mapping[str, str] = {
    "html": "report.html",
    "markdown": "report.md",
    "latex": "latex/report.tex",
    "csv": "tables/*.csv",
    "parquet": "tables/*.parquet",
    "figures": "figures/*.svg, *.pdf and *.png",
}
"""What a report can be written as -> its files. LaTeX has a file a table, for other papers, and one
that reads them all and shows the figures; it is compiled in its own folder."""

_FIGURES: Mapping[str, tuple[str, ...]] = {"figures": ("svg", "pdf", "png"), "latex": ("pdf",)}


class ReportFiles:
    """A report's files; a list of them lies beside them, by which the next one knows its own."""

    def __init__(self, directory: Path, formats: Collection[str]) -> None:
        """Make the folder.

        Args:
            directory: files of the same names are replaced.
            formats: keys of `FORMATS`; nothing is written for others.

        Raises:
            OSError: it cannot be made.
        """
        self.directory = directory
        self.formats = tuple(formats)
        self.written: list[Path] = []
        directory.mkdir(parents=True, exist_ok=True)
        self._list = directory / ".report-files"
        self._older = (
            self._list.read_text(encoding="utf-8").splitlines() if self._list.exists() else []
        )

    @property
    def need_figures(self) -> bool:
        """Whether any format shows figures."""
        return bool({"html", "figures", "latex"} & set(self.formats))

    def write_page(self, text: str) -> None:
        """The HTML page."""
        self._write("report.html", text)

    def write_markdown(
        self, title: str, intro: str, tables: Iterable[Table], end: str = ""
    ) -> None:
        """All tables, with what stands before and behind them."""
        if "markdown" not in self.formats:
            return
        lines, section = [f"# {title}\n\n{intro}\n"], ""
        for table in tables:
            if table.section != section:
                section = table.section
                lines.append(f"## {section}\n")
            lines.append(table.markdown())
        self._write("report.md", "\n".join([*lines, *([end] if end else [])]))

    def write_latex(self, title: str, tables: Sequence[Table], drawn: Iterable[Drawn]) -> None:
        """A file a table, and one that shows them all with the figures."""
        if "latex" not in self.formats:
            return
        short = [table for table in tables if len(table.body) <= LONGEST]
        for table in short:
            self._write(f"latex/{table.name}.tex", latex_table(table))
        left_out = [table.name for table in tables if len(table.body) > LONGEST]
        figures = [(f"../figures/{item.name}.pdf", item.caption) for item in drawn]
        self._write("latex/report.tex", latex_document(title, short, left_out, figures))

    def write_figures(self, drawn: Iterable[Drawn]) -> None:
        """As files of their own; LaTeX needs the PDF ones."""
        endings = {ending for name in self.formats for ending in _FIGURES.get(name, ())}
        for item in drawn:
            for ending in sorted(endings):
                path = self._path(f"figures/{item.name}.{ending}")
                if ending == "svg":
                    path.write_text(item.svg, encoding="utf-8")
                    continue
                # Without a date in it, the same trials give the same file.
                metadata = {"CreationDate": None} if ending == "pdf" else None
                item.figure.savefig(path, metadata=metadata)

    def write_table(self, name: str, table: pd.DataFrame, *, is_named: bool = False) -> None:
        """As CSV and Parquet.

        Args:
            name: without ending.
            table: of numbers and text.
            is_named: the page and the Markdown speak of its CSV file, which they then need.
        """
        if "csv" in self.formats or (is_named and {"html", "markdown"} & set(self.formats)):
            table.to_csv(self._path(f"tables/{name}.csv"), index=False)
        if "parquet" in self.formats:
            path = self._path(f"tables/{name}.parquet")
            _plain_text(table).to_parquet(path, index=False)

    def remove_older(self) -> None:
        """Of an earlier report, what this one has not written again."""
        names = [str(path.relative_to(self.directory)) for path in self.written]
        for name in set(self._older) - set(names):
            (self.directory / name).unlink(missing_ok=True)
        self._list.write_text("\n".join(names) + "\n", encoding="utf-8")

    def _path(self, name: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        self.written.append(path)
        return path

    def _write(self, name: str, text: str) -> None:
        self._path(name).write_text(text, encoding="utf-8")


def _plain_text(table: pd.DataFrame) -> pd.DataFrame:
    """With text only in columns that have some, as recipes' settings may be of any kind."""
    mixed = [column for column in table.columns if table[column].dtype == object]
    return table.assign(**{name: table[name].map(str, na_action="ignore") for name in mixed})
