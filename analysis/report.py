"""A folder of results for people and programs: CSV, Markdown, the figure, and an HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.aggregate import KEYS, axis_columns, configurations
from analysis.figures import sensitivity_figure
from analysis.schema import validate_history, validate_trials
from analysis.tables import Table, method_tables, sensitivity_tables


def recompute(trials: pd.DataFrame) -> str:
    """Two lines of pandas that give every number of the tables back from trials.csv."""
    keys = ", ".join(f'"{key}"' for key in [*KEYS, *axis_columns(trials)])
    return (
        'trials = pd.read_csv("trials.csv")\n'
        f"100 * trials.groupby([{keys}], dropna=False)"
        '["test_accuracy"].agg(["mean", "std"])'
    )


@dataclass(frozen=True)
class Report:
    """What was written, and the tables to show."""

    tables: list[Table]
    directory: Path

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.directory / "report.html"


def write_report(
    trials: pd.DataFrame,
    history: pd.DataFrame,
    directory: Path,
    *,
    title: str,
    facts: Mapping[str, str],
) -> Report:
    """Write trials, history and table as CSV, table.md, the figure, and report.html.

    The page holds everything it shows; it opens from disk, without a network.

    Args:
        trials: as `schema.TRIALS` says.
        history: as `schema.HISTORY` says; may be empty.
        directory: made if it is not there; files of the same names are replaced.
        title: heading of the page, usually the sweep's name.
        facts: lines of the page's head, such as the storage and the command that makes it again.

    Raises:
        SchemaError: a table is not as the schema says.
    """
    trials, history = validate_trials(trials), validate_history(history)
    table = configurations(trials)
    tables = [*method_tables(table), *sensitivity_tables(table)]
    directory.mkdir(parents=True, exist_ok=True)
    trials.to_csv(directory / "trials.csv", index=False)
    history.to_csv(directory / "history.csv", index=False)
    table.to_csv(directory / "table.csv", index=False)
    counts = trials["state"].value_counts().to_dict()
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    markdown = [f"# {title}\n\n{len(trials)} trials: {states}.\n"]
    markdown += [item.markdown() for item in tables]
    markdown.append(f"Every number from `trials.csv`:\n\n```python\n{recompute(trials)}\n```\n")
    (directory / "table.md").write_text("\n".join(markdown), encoding="utf-8")
    figure = sensitivity_figure(table)
    figure.savefig(directory / "sensitivity.png", dpi=150)
    figure.savefig(directory / "sensitivity.svg", metadata={"Date": None})
    environment = Environment(
        loader=PackageLoader("analysis", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        states=states,
        num_trials=len(trials),
        facts=facts,
        figure=Markup(_inline((directory / "sensitivity.svg").read_text(encoding="utf-8"))),
        tables=[(item.caption, _rows(item)) for item in tables],
        trials=_trial_rows(trials),
        recompute=recompute(trials),
    )
    (directory / "report.html").write_text(page, encoding="utf-8")
    return Report(tables, directory)


def _inline(svg: str) -> str:
    """An SVG file's content without its XML head, as HTML wants it."""
    return svg[svg.index("<svg") :]


def _rows(table: Table) -> list[list[Markup]]:
    """Header and cells, with ``**`` turned into bold type."""

    def cell(text: str) -> Markup:
        if text.startswith("**"):
            inner, _, rest = text[2:].partition("**")
            return Markup("<b>{}</b>{}").format(inner, rest)
        return escape(text)

    body = table.body
    return [
        [escape(column) for column in body.columns],
        *([cell(str(value)) for value in row] for row in body.itertuples(index=False)),
    ]


def _trial_rows(trials: pd.DataFrame) -> list[list[str]]:
    columns = [
        "name",
        "state",
        "validation_accuracy",
        "test_accuracy",
        "epochs",
        "seconds",
        "trial_id",
    ]
    rows = [["trial", "state", "validation %", "test %", "epochs", "seconds", "fingerprint"]]
    for name, state, validation, test, epochs, seconds, trial_id in trials[columns].itertuples(
        index=False
    ):
        percents = ["" if pd.isna(value) else f"{100 * value:.2f}" for value in (validation, test)]
        rows.append([name, state, *percents, f"{epochs:.0f}", f"{seconds:.1f}", trial_id])
    return rows
