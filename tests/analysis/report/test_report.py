"""Trials -> a folder: what is in it, that its numbers can be computed again, and what it says."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.columns import HISTORY, IMPORTANCE, empty
from analysis.findings import Findings, analyse
from analysis.published import UnknownPaperError
from analysis.report.failures import FailedTrial
from analysis.report.sweep import FORMATS, Report, recompute, write_report
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from analysis.tables import Mark, marked
from analysis.tables.accuracy import method_tables, sensitivity_tables
from analysis.tables.findings import all_tables
from tests.analysis.frames import EXAMPLE, grid, trials


def written(frame: pd.DataFrame, folder: Path, **options: Any) -> Report:
    return write_report(Measurements(frame), folder, title="Made", facts={}, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on `EXAMPLE` in all formats; nobody changes what is in its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return written(trials(EXAMPLE), folder, paper="proxconnect")


def test_tables_have_the_papers_layout() -> None:
    findings = analyse(Measurements(trials(EXAMPLE)))
    table = findings.configurations
    (methods,) = method_tables(findings.selected)
    assert list(methods.body.columns) == ["model", "set", "BC", "PC", "PQ"]
    assert methods.body.iloc[0].tolist() == [
        "ConvNet",
        "binary",
        "91.00 (1.41)",
        "__94.00 (1.41)__ at 1e-2",  # PQ has one seed, from which no method can be told
        "70.00 [n = 1; 1 diverged] at 1e-6",
    ]
    assert "n full precision: ConvNet 97.00 (1.41)" in methods.caption
    pc, pq = sensitivity_tables(table)
    assert "PC, end-to-end, Digits" in pc.caption
    assert list(pc.body.columns) == ["model", "set", "1e-2", "0.1"]
    assert pc.body.iloc[0].tolist()[2:] == ["**94.00 (1.41)**", "80.50 (0.71)"]
    assert list(pq.body.columns) == ["model", "set", "1e-6"]
    assert "| ConvNet | binary |" in pc.markdown()


def test_two_networks_in_full_precision_are_told_apart() -> None:
    accuracies = {("FP", ""): 0.97, ("FP-taught", ""): 0.98, ("PC", "binary"): 0.9}
    both = trials(
        (method, levels, 0.1 if levels else None, seed, accuracy + 0.01 * seed)
        for (method, levels), accuracy in accuracies.items()
        for seed in (0, 1)
    )
    (methods,) = method_tables(select(configurations(both)))
    full = "ConvNet FP 97.50 (0.71), ConvNet FP-taught 98.50 (0.71)."
    assert methods.caption.endswith(f"In full precision: {full}")


def test_a_cell_with_fewer_seeds_says_so() -> None:
    frame = grid(
        lambda method, levels, place, seed: (0.8, 0.9, 0.85)[place],
        methods=("PC",),
        sets=("binary",),
    )
    table = configurations(frame.drop(index=0).reset_index(drop=True))
    (over_rho0,) = sensitivity_tables(table)
    assert over_rho0.body["1e-3"].tolist() == ["80.00 (0.00) [n = 2; 1 absent]"]


def test_a_best_rho0_says_how_many_others_have_not_finished() -> None:
    frame = grid(lambda method, levels, place, seed: 0.8 + 0.01 * seed, sets=("binary",))
    late = (frame["method"] == "PC") & (frame["rho0"] > 1e-3)
    frame = frame.assign(state=frame["state"].mask(late, "WAITING"))
    (methods,) = method_tables(select(configurations(frame)))
    of = methods.body.iloc[0]
    assert of["PC"] == "81.00 (1.00) [2 ρ0 unfinished] at 1e-3"
    assert of["PQ"] == "81.00 (1.00) at 1e-3"
    assert "In brackets: how many other ρ0" in methods.caption
    whole = method_tables(select(configurations(frame[~late])))[0]
    assert "In brackets" not in whole.caption


def test_captions_say_that_few_seeds_tell_little() -> None:
    for seeds in (3, 4):
        frame = grid(lambda *_: 0.9, sets=("binary",), noise=0.01, seeds=seeds)
        findings = analyse(Measurements(frame))
        tables = [
            *method_tables(findings.selected),
            *sensitivity_tables(findings.configurations),
        ]
        for table in tables:
            weak = f"With {seeds} seeds, this comparison is weak" in table.mark_note
            assert weak is (seeds == 3)
            assert table.mark_note in table.caption


def test_further_axes_stay_apart() -> None:
    first = trials(EXAMPLE[2:8], **{"axis.lr": "0.1"})
    second = trials(EXAMPLE[2:8], **{"axis.lr": "0.2"})
    second[["trial_id", "configuration_id"]] += "b"
    selected = select(configurations(pd.concat([first, second], ignore_index=True)))
    assert len(selected) == 4
    (methods,) = method_tables(selected)
    assert list(methods.body.columns) == ["model", "set", "lr", "BC", "PC"]
    assert len(methods.body) == 2
    assert '"axis.lr"' in recompute(Measurements(first))


def test_every_format_has_its_files(whole: Report) -> None:
    folder = whole.directory
    files = {str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file()}
    assert files == {str(path.relative_to(folder)) for path in whole.files}
    tables = {"trials", "history", *(name for name, _ in whole.findings.tables())}
    assert tables >= {"configurations", "selected", "verdicts", "sensitivity", "claims", "beside"}
    assert files == {
        "report.html",
        "report.md",
        "latex/report.tex",
        *(f"latex/{table.name}.tex" for table in whole.tables),
        *(f"latex/figure_{name}.tex" for name in ("sensitivity", "heat_map")),
        *(f"latex/{name}.pdf" for name in ("sensitivity", "heat_map")),
        *(f"tables/{name}.{ending}" for name in tables for ending in ("csv", "parquet")),
        *(
            f"figures/{name}.{ending}"
            for name in ("sensitivity", "heat_map")
            for ending in ("svg", "pdf", "png")
        ),
    }


def test_top5_accuracies_are_shown_where_there_are_any(whole: Report, tmp_path: Path) -> None:
    frame = trials(EXAMPLE)
    top5 = [0.987] + [float("nan")] * (len(frame) - 1)
    written(frame.assign(test_accuracy_top5=top5), tmp_path, formats=["html"])
    for folder, name in ((whole.directory, ""), (tmp_path, "test top-5 %")):
        text = (folder / "report.html").read_text()
        header = re.search(r'data-name="trials">\s*<thead><tr>(.*?)</tr>', text, re.DOTALL)
        assert header is not None
        assert ('<th class="number">test top-5 %</th>' in header[1]) == bool(name)
        assert "validation top-5" not in header[1]
        assert ('<td class="number">98.70</td>' in text) == bool(name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_by_itself(tmp_path: Path, name: str) -> None:
    written(trials(EXAMPLE), tmp_path, formats=[name])
    top = {path.name for path in tmp_path.glob("[!.]*")}
    expected = {
        "html": {"report.html", "tables"},  # for the trials, which it names
        "markdown": {"report.md", "tables"},
        "latex": {"latex"},
        "csv": {"tables"},
        "parquet": {"tables"},
        "figures": {"figures"},
    }
    assert top == expected[name]


def test_accuracies_can_be_recomputed(whole: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = whole.directory
    lines = recompute(Measurements(trials(EXAMPLE)))
    assert lines in (folder / "report.md").read_text()
    monkeypatch.chdir(folder)
    load, compute = lines.split("\n")
    scope: dict[str, Any] = {"pd": pd}
    exec(load, scope)
    recomputed = eval(compute, scope).round(2).reset_index()
    pc = recomputed[(recomputed["method"] == "PC") & (recomputed["rho0"] == 0.01)].iloc[0]
    text = f"{pc['mean']:.2f} ({pc['std']:.2f})"
    assert text == "94.00 (1.41)"
    assert text in (folder / "report.md").read_text()
    assert text in (folder / "report.html").read_text()
    assert text in (folder / "latex" / "methods_1.tex").read_text()
    for read, ending in ((pd.read_csv, "csv"), (pd.read_parquet, "parquet")):
        again = read(folder / "tables" / f"configurations.{ending}")
        assert again["test_mean"].tolist() == pytest.approx(
            whole.findings.configurations["test_mean"].tolist()
        )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_written_trials_are_trials_again(tmp_path: Path, ending: str) -> None:
    written(trials(EXAMPLE), tmp_path, formats=[ending])
    path = tmp_path / "tables" / f"trials.{ending}"
    again = configurations(pd.read_csv(path) if ending == "csv" else pd.read_parquet(path))
    pd.testing.assert_frame_equal(again, configurations(trials(EXAMPLE)))
    assert again.loc[0, "set"] == ""


def test_another_report_leaves_nothing_of_the_one_before(whole: Report, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.directory, tmp_path / "copy")
    assert (folder / "tables" / "claims.csv").exists()
    (folder / "tables" / "mine.csv").write_text("of somebody else")
    report = written(trials(EXAMPLE), folder, formats=["csv"])
    left = {path for path in folder.rglob("[!.]*") if path.is_file()}
    assert left == {*report.files, folder / "tables" / "mine.csv"}
    assert not (folder / "tables" / "claims.csv").exists()


def test_numbers_are_the_same_in_every_format(whole: Report) -> None:
    for table in whole.tables:
        markdown = table.markdown()
        for cell in table.body.to_numpy().flatten():
            mark, number, rest = marked(cell)
            shown = f"<ins>{number}</ins>{rest}" if mark is Mark.UNDERLINED else cell
            assert f" {shown} " in markdown


def test_the_same_trials_give_the_same_files(whole: Report, tmp_path: Path) -> None:
    formats = ["html", "figures", "csv"]
    report = written(trials(EXAMPLE), tmp_path, paper="proxconnect", formats=formats)
    for path in report.files:
        other = whole.directory / path.relative_to(tmp_path)
        assert path.read_bytes() == other.read_bytes(), path.name


@pytest.mark.parametrize(
    ("open_methods", "formats"),
    [
        ({"PC"}, ["markdown", "html"]),
        ({"PC", "PQ", "BC"}, FORMATS),
        ({"FP", "BC", "PQ"}, ["markdown", "html"]),
    ],
)
def test_a_half_finished_sweep_has_a_report(
    tmp_path: Path, open_methods: set[str], formats: Collection[str]
) -> None:
    """Its page has all figures and tables, which other formats only write in other ways."""
    frame = trials(EXAMPLE)
    open_ones = frame["method"].isin(open_methods)
    frame.loc[open_ones, "state"] = "WAITING"
    frame.loc[open_ones, ["validation_accuracy", "test_accuracy"]] = None
    written(frame, tmp_path, paper="proxconnect", formats=formats)
    text = (tmp_path / "report.md").read_text()
    assert f"{open_ones.sum()} WAITING" in text
    assert "unfinished" in text
    assert (tmp_path / "report.html").exists()


def test_a_sweep_of_which_nothing_has_finished_has_a_report(tmp_path: Path) -> None:
    frame = trials(EXAMPLE, state="WAITING", validation_accuracy=None, test_accuracy=None)
    numbers = ["validation_accuracy", "test_accuracy"]
    frame[numbers] = frame[numbers].astype(float)
    report = written(frame, tmp_path, paper="proxconnect")
    names = [table.name for table in report.tables]
    over_rho0 = ("over_rho0_1", "over_rho0_2")
    assert names == [
        *(
            "verdicts",
            "verdict_rules",
            *over_rho0,
            "sensitivity",
            "claims",
            "oddities",
            "configurations",
        )
    ]
    assert report.findings.verdicts["verdict"].tolist() == ["unfinished"]
    assert set(report.findings.claims["verdict"]) == {"not in this sweep"}


def test_what_a_paper_does_not_have_is_named(tmp_path: Path) -> None:
    rows = [
        (name, "binary", None, seed, 0.9) for name in ("MD-tanh-S", "Mine", "BC") for seed in (0, 1)
    ]
    frame = trials(rows, **{"axis.theta": "0.5"})
    report = written(frame, tmp_path, paper="mirror-descent-view", formats=["markdown"])
    captions = {table.name: table.caption for table in report.tables}
    assert "The paper does not have MD-tanh-S (but MD-tanh-s), Mine." in captions["claims"]
    assert "which the paper does not have: theta." in captions["beside"]


def test_an_axis_may_be_called_as_a_column_is(tmp_path: Path) -> None:
    frame = trials(EXAMPLE[2:8], **{"axis.model": "small", "axis.n": "7"})
    formats = ["html", "parquet"]
    report = written(frame, tmp_path, paper="proxconnect", formats=formats)
    (table,) = [table for table in report.tables if table.name == "configurations"]
    assert {"model", "axis model", "n", "axis n"} <= set(table.body.columns)


def test_settings_of_any_kind_are_written(tmp_path: Path) -> None:
    frame = trials(EXAMPLE)
    frame["recipe.odd"] = [1, "a", None, 2.5, True] * 2
    written(frame, tmp_path, formats=["parquet", "html"])
    assert pd.read_parquet(tmp_path / "tables" / "trials.parquet")["recipe.odd"][1] == "a"


def test_html_is_escaped(tmp_path: Path) -> None:
    frame = trials([("<script>alert(1)</script>", "binary", 0.1, 0, 0.9)])
    failed = [FailedTrial(f"PC seed={n}", f"{n:016}", "too <large>", "../o.txt") for n in range(4)]
    failed.insert(0, FailedTrial("<PQ>", "abc", "no file"))
    options = {"title": "<b>", "facts": {"a": "<i>"}, "formats": ["html"], "failed": failed}
    write_report(Measurements(frame), tmp_path, **options)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<b></title>" not in page
    assert 'href="#failed"' in page
    section = page[page.index('id="failed"') : page.index('id="recipes"')]
    reasons = re.findall(r'FAILED">(\d+)</span> × <code>(.*?)</code>', section)
    assert reasons == [("4", "too &lt;large&gt;"), ("1", "no file")]
    assert re.findall('<a href="../o.txt">(.*?)</a>', section) == [one.name for one in failed[1:]]
    assert "&lt;PQ&gt; <code>abc</code>" in section


def test_the_recipe_behind_each_row_is_in_the_page(tmp_path: Path) -> None:
    frame = trials(EXAMPLE, **{"recipe.epochs": 30})
    frame["recipe.rule"] = frame["method"] + " rule"
    written(frame, tmp_path, formats=["html"])
    page = (tmp_path / "report.html").read_text()
    common, own = page[page.index('id="recipes"') :].split("configurations differ")
    assert "<code>epochs</code>" in common
    assert "<code>PC rule</code>" in own
    assert "<summary>PC binary 0.01</summary>" in own


def test_the_plus_of_a_commit_is_explained_wherever_it_is(tmp_path: Path) -> None:
    facts = {"analysed at": "abc+", "made by": "a+b"}
    for commit, explained in (("def+", 2), ("def", 1)):
        frame = trials(EXAMPLE, git_commit=commit)
        write_report(Measurements(frame), tmp_path, title="Made", facts=facts, formats=["html"])
        page = (tmp_path / "report.html").read_text()
        assert page.count("(+: with uncommitted changes)") == explained


def test_an_unknown_paper_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownPaperError, match=r"'nobody' .*one of proxconnect"):
        written(trials(EXAMPLE), tmp_path, paper="nobody")


def test_380_trials_make_a_page_under_five_megabytes(tmp_path: Path) -> None:
    """With 200 epochs of history each, and recipes of the paper's size."""
    frame = grid(
        lambda method, levels, place, seed: 0.9 - 0.01 * place,
        methods=("PQ", "rPC", "PC", "X", "Y"),
        sets=("binary", "ternary", "quaternary", "more", "most"),
        rho0=(1e-4, 1e-3, 1e-2, 1e-1, 1, 10),
        noise=0.005,
    )[:380]
    frame = frame.assign(**{f"recipe.group.setting_{i}": f"value {i}" for i in range(60)})
    frame["recipe.quantization.sharpness.rho0"] = frame["rho0"]
    epochs = pd.DataFrame({"epoch": range(1, 201)})
    history = frame[["trial_id", "test_accuracy"]].merge(epochs, how="cross")
    history = history.assign(
        stage="quantize",
        step=history["epoch"] * 391,
        validation_accuracy_hard=history["test_accuracy"] * history["epoch"] / 200,
        quantization_gap=1 / history["epoch"],
    )
    history = history.reindex(columns=list(HISTORY), fill_value=0.5)
    report = write_report(
        Measurements(frame, history=history),
        tmp_path,
        title="Large",
        facts={},
        formats=["html"],
        paper="proxconnect",
    )
    assert (report.directory / "report.html").stat().st_size < 5e6
    page = (report.directory / "report.html").read_text()
    assert len(re.findall('<div class="figure"', page)) == 7
    assert "All 380 trials" in page


def test_details_are_asked_for_only_if_figures_are_drawn(tmp_path: Path) -> None:
    """They get the findings, so that histograms are read for the selected configurations alone."""
    asked: list[list[str]] = []

    def details(findings: Findings) -> dict[str, pd.DataFrame]:
        asked.append(findings.selected["configuration_id"].tolist())
        histogram = {"trial_id": "t", "epoch": 1, "weight": [-1.0, 1.0], "fraction": [0.5, 0.5]}
        return {"histograms": pd.DataFrame({"configuration_id": asked[0][0], **histogram})}

    frame = trials(EXAMPLE)
    written(frame, tmp_path / "tables", formats=["csv"], details=details)
    assert asked == []
    report = written(frame, tmp_path / "figures", formats=["figures"], details=details)
    assert asked == [report.findings.selected["configuration_id"].tolist()]
    assert any(file.name.startswith("weights") for file in report.files)


def test_of_many_methods_the_page_has_the_pairs_with_the_best() -> None:
    frame = grid(
        lambda method, levels, place, seed: 0.9 - 0.01 * int(method[1:]) + 0.001 * seed,
        methods=[f"M{number}" for number in range(14)],
        rho0=(0.1,),
        sets=("binary",),
        seeds=2,
    )
    few = frame[frame["method"].isin([f"M{number}" for number in range(12)])]
    for part, pairs, shown in ((frame, 91, 13), (few, 66, 66)):
        found = analyse(Measurements(part))
        (table,) = (
            one for one in all_tables(found, empty(IMPORTANCE)) if one.name == "comparisons"
        )
        assert (len(found.comparisons), len(table.body)) == (pairs, shown)
        assert ("only the pairs with the best are shown" in table.caption) == (shown < pairs)
        assert table.body["methods"].str.startswith("M0 - ").sum() == len(set(part["method"])) - 1
