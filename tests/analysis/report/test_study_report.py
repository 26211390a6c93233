"""A study's configurations -> a folder."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.figures.front import front_figure
from analysis.metric import Metric
from analysis.report.files import FORMATS
from analysis.report.study import study_tables, write_study_report
from analysis.schema import SchemaError
from tests.analysis.studies import made_study


def test_the_best_come_first_and_known_points_are_there() -> None:
    best, everything = study_tables(made_study())
    assert best.body["configuration"].tolist() == ["1", "0 (PC)", "2"]
    assert best.body["validation accuracy %"].tolist() == ["97.00", "95.00", "20.00"]
    assert best.body["rule"].tolist() == ["PQ", "PC", ""]
    assert everything.body["state"].tolist()[3:] == ["PRUNED", "RUNNING"]
    assert everything.body["validation accuracy %"].tolist()[3:] == ["", ""]


def test_a_known_point_that_is_bad_is_shown_with_the_best() -> None:
    study = made_study()
    many = pd.concat([study.configurations.iloc[[1]]] * 10 + [study.configurations.iloc[[0]]])
    many = many.assign(configuration=range(11))
    best, _ = study_tables(replace(study, configurations=many.reset_index(drop=True)))
    assert best.body["configuration"].tolist() == [*map(str, range(10)), "10 (PC)"]


def test_several_objectives_have_a_front() -> None:
    study = made_study(is_multi=True)
    front, _, _ = study_tables(study)
    assert front.body["configuration"].tolist() == ["1", "2"]
    assert front.body["bits a weight"].tolist() == ["1.5", "1"]
    everything, near = front_figure(study.configurations, study.objectives).axes
    lines = {line.get_label(): line for line in everything.get_lines()}
    assert list(lines["Pareto front"].get_xdata()) == [1.0, 1.5]
    assert lines["Pareto front"].get_ydata() == pytest.approx([20, 97])
    assert list(lines["PC"].get_xdata()) == [2.0]
    assert near.get_ylim()[0] < 20
    assert near.get_ylim()[1] > 97


def test_every_format_is_written_and_older_files_go(tmp_path: Path) -> None:
    study = made_study(is_multi=True)
    report = write_study_report(study, tmp_path, title="Study made", facts={"about": "<it>"})
    names = {str(path.relative_to(tmp_path)) for path in report.files}
    assert {"report.html", "report.md", "latex/report.tex", "tables/configurations.csv"} <= names
    assert {"figures/front.png", "figures/maps.pdf", "tables/configurations.parquet"} <= names
    assert set(report.formats) == set(FORMATS)
    page = (tmp_path / "report.html").read_text()
    assert "P(w*) = w* &lt;&amp;&gt;" in page
    assert "&lt;it&gt;" in page
    assert page.count('<div class="figure"') == 2
    back = pd.read_csv(tmp_path / "tables" / "configurations.csv")
    assert back["objective.bits a weight"].tolist()[:3] == [2.0, 1.5, 1.0]
    write_study_report(study, tmp_path, title="Study made", facts={}, formats=["markdown"])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"report.md", "tables/configurations.csv", ".report-files"}
    text = (tmp_path / "report.md").read_text()
    assert "- made: 3 COMPLETE" in text
    assert "```python\nQUANTIZATION = 1\n```" in text


def test_the_name_of_the_winner_stays_as_it_is(tmp_path: Path) -> None:
    study = replace(made_study(), winner="configuration 0 (PC <b> *best*)")
    write_study_report(study, tmp_path, title="A", facts={}, formats=["html", "markdown"])
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Configuration 0 (PC &lt;b&gt; *best*)</h2>" in page
    text = (tmp_path / "report.md").read_text()
    assert r"The winner is configuration 0 (PC \<b> \*best\*):" in text


def test_a_table_without_an_objective_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"column 'objective.size' is missing"):
        replace(made_study(), objectives=[Metric("size", "size", higher_is_better=False)])
