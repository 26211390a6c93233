"""The HTML page: everything of a report in one file, to be read on any screen."""

from collections.abc import Mapping, Sequence

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.figures.gallery import Drawn
from analysis.finding_tables import CONFIGURATIONS, VERDICT
from analysis.findings import Findings
from analysis.schema import RECIPE_PREFIX
from analysis.sensitivity import VERDICTS
from analysis.tables import Table, points

_LONG = 40
_PIXELS_AN_INCH = 112
"""Figures are made for print; on a screen their letters must be somewhat larger."""


def render_page(
    title: str,
    facts: Mapping[str, str],
    trials: pd.DataFrame,
    findings: Findings,
    tables: Sequence[Table],
    drawn: Sequence[Drawn],
    recompute: str,
) -> str:
    """The page's text.

    Args:
        title: heading.
        facts: lines of the head.
        trials: as `schema.TRIALS` says.
        findings: what follows from them.
        tables: of the findings.
        drawn: figures of the findings.
        recompute: code that gives the accuracies back.
    """
    environment = Environment(
        loader=PackageLoader("analysis", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections: dict[str, dict[str, list[object]]] = {}
    for table in tables:
        if table.section == VERDICT:  # the page has sentences instead
            continue
        of = sections.setdefault(table.section, {"figures": [], "tables": []})
        of["tables"].append(
            {
                "name": table.name,
                "caption": table.caption,
                "rows": _rows(table),
                "kinds": [_kind(table.body.iloc[:, place]) for place in range(table.body.shape[1])],
            }
        )
    for item in drawn:
        of = sections.setdefault(item.section, {"figures": [], "tables": []})
        # An SVG element without the XML head that a file has.
        svg = Markup(item.svg[item.svg.index("<svg") :])
        width = round(_PIXELS_AN_INCH * item.figure.get_figwidth())
        of["figures"].append({"svg": svg, "caption": item.caption, "width": width})
    if CONFIGURATIONS in sections:  # always the last
        sections[CONFIGURATIONS] = sections.pop(CONFIGURATIONS)
    common, recipes = _recipes(trials, findings.configurations)
    counts = trials["state"].value_counts()
    return environment.get_template("report.html.j2").render(
        title=title,
        facts={**facts, "trials ran at": ", ".join(sorted(set(trials["git_commit"]) - {""}))},
        num_trials=len(trials),
        states=[(state, int(count)) for state, count in counts.items()],
        verdict_section=VERDICT,
        margin=100 * findings.margin,
        rules=VERDICTS,
        verdicts=findings.verdicts.to_dict("records"),
        sections=sections,
        common=common,
        recipes=recipes,
        trials=_trial_rows(trials),
        recompute=recompute,
    )


def _kind(cells: pd.Series) -> str:
    """How a column is set: numbers to the right, text to the left, long text in lines."""
    if cells.str.len().max() > _LONG:
        return "long"
    plain = cells[cells != ""].str.replace(r"\*\*|^< ", "", regex=True)
    return "number" if plain.str.match(r"[-+]?\d").all() else "text"


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


def _recipes(
    trials: pd.DataFrame, configurations: pd.DataFrame
) -> tuple[list[tuple[str, str]], list[tuple[str, list[tuple[str, str]]]]]:
    """What all recipes have in common, and name and rest of each configuration's."""
    columns = [column for column in trials.columns if column.startswith(RECIPE_PREFIX)]
    columns = [column for column in columns if column != f"{RECIPE_PREFIX}seed"]
    first = trials.drop_duplicates("configuration_id").set_index("configuration_id")
    first = first.loc[configurations["configuration_id"]]
    texts = first[columns].astype(object).where(first[columns].notna(), "").astype(str)
    same = [column for column in columns if texts[column].nunique() == 1]
    common = [(_short(column), texts[column].iloc[0]) for column in same]
    others = [column for column in columns if column not in same]
    own = []
    for (_, row), name in zip(texts[others].iterrows(), _names(first), strict=True):
        own.append((name, [(_short(column), row[column]) for column in others if row[column]]))
    return [item for item in common if item[1]], own


def _names(first: pd.DataFrame) -> list[str]:
    """A configuration's name is its first trial's, but for the seed."""
    return [name.rsplit(" seed=", 1)[0] for name in first["name"]]


def _short(column: str) -> str:
    return column.removeprefix(RECIPE_PREFIX)


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
        accuracies = [points(value) for value in (validation, test)]
        rows.append([name, state, *accuracies, f"{epochs:.0f}", f"{seconds:.1f}", trial_id])
    return rows
