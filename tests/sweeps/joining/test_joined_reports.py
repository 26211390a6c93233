"""Reports on several sweeps, folders of results and tables, from the command line to the files."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from sweeps.deciding.record import record
from sweeps.loading import load_sweep
from sweeps.storage import Storage
from tests.conftest import Command
from tests.sweeps.sweep_files import TINY

pytestmark = pytest.mark.slow


def test_a_sweep_is_joined_with_another_storage_and_a_table(
    tiny_copy: Path, quick_command: Command
) -> None:
    """The sweep is not trained in its own storage; a trial has another result in the table."""
    done = quick_command(tiny_copy, "report", "tiny.py", "--format", "csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tiny_copy / "runs" / "reports" / "tiny" / "tables" / "trials.csv")
    other = table.iloc[2:4].copy()
    other.loc[2, "test_accuracy"] = 0.125
    other.to_csv(tiny_copy / "zeros.csv", index=False)
    (tiny_copy / "runs").rename(tiny_copy / "theirs")
    options = ("--where", "seed == 0 or method != 'MD'", "--format", "csv,html", "--json")
    done = quick_command(tiny_copy, "report", "zeros.csv", "old=theirs", "tiny.py", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sources"] == [
        {"name": "tiny", "trials": 0},
        {"name": "tiny in theirs", "trials": 4},
        {"name": "zeros.csv", "trials": 0},
    ]
    twice = next(name for name in table["name"] if name == "MD rho0=0.5 seed=0")
    assert found["notes"] == [
        "6 trials in several sources, and counted once",
        "1 trial with different results in two sources, of which that of the first in the "
        f"alphabet counts: {twice}",
        "--where \"seed == 0 or method != 'MD'\" leaves out 2 of 6 trials: 2 of MD",
    ]
    folder = Path(found["directory"])
    assert folder.parent == tiny_copy / "runs" / "reports"
    assert folder.name.startswith("old-and-tiny-and-zeros-where-seed")
    joined = pd.read_csv(folder / "tables" / "trials.csv")
    kept = table[(table["seed"] == 0) | (table["method"] != "MD")]
    assert set(joined["trial_id"]) == set(kept["trial_id"])
    assert list(joined["test_accuracy"].sort_values()) == list(kept["test_accuracy"].sort_values())
    epochs = pd.read_csv(folder / "tables" / "history.csv")
    assert set(epochs["trial_id"]) == set(kept["trial_id"])
    page = (folder / "report.html").read_text()
    assert "leaves out 2 of 6 trials: 2 of MD" in page
    assert f"../../../theirs/trials/{kept['trial_id'].iloc[0]}/" in page
    assert "sweeps report zeros.csv old=theirs tiny.py --where" in page


def test_a_configuration_with_seeds_in_two_storages_has_one_histogram(
    tiny_copy: Path, quick_command: Command
) -> None:
    shutil.copytree(tiny_copy / "runs", tiny_copy / "theirs")
    for cell in load_sweep(str(tiny_copy / "tiny.py")).cells:
        other = "theirs" if cell.seed == 0 else "runs"
        shutil.rmtree(tiny_copy / other / "trials" / cell.fingerprint)
    done = quick_command(tiny_copy, "report", "tiny.py", "theirs", "--format", "figures")
    assert done.returncode == 0, done.stderr
    assert list((tiny_copy / "runs" / "reports").glob("*/figures/weights.svg"))


def test_joined_reports_have_folders_of_their_own_and_the_margin_of_their_sweeps(
    tiny_copy: Path, quick_command: Command
) -> None:
    """Of a sweep with an axis, of two folders of the same name, and under the name of a sweep."""
    storage, theirs = Storage(tiny_copy / "runs"), tiny_copy / "theirs" / "runs"
    record("tiny", storage, margin=2.5, most_seeds=8)
    shutil.copytree(storage.root, theirs)
    (tiny_copy / "theirs" / "tiny.py").write_text(TINY)

    def reported(*arguments: str) -> tuple[str, set[str], list[str]]:
        done = quick_command(tiny_copy, "report", *arguments, "--format", "markdown", "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        page = (Path(found["directory"]) / "report.md").read_text()
        margins = set(re.findall(r"margin(?: is| of) ([\d.]+) points", page))
        return Path(found["directory"]).name, margins, found["notes"]

    names = [name for name, margins, _ in map(reported, ("runs", "theirs/runs", "tiny=runs"))]
    assert len({"runs", "tiny", *names}) == 5
    name, margins, notes = reported("tiny.py", "--by", "sweep")
    assert (name, margins, notes) == ("tiny-by-sweep", {"2.5"}, [])
    record("tiny", Storage(theirs), margin=2.0, most_seeds=8)
    _, margins, notes = reported("runs", "theirs/runs")
    assert margins == {"3"}
    assert notes[-1] == (
        "the sweeps were run until decided with different margins (tiny in runs: 2.5, tiny in "
        "theirs/runs: 2), and the report has 3; give --margin for another one"
    )
    _, margins, notes = reported("runs", "theirs/runs", "--margin", "2")
    assert margins == {"2"}
    assert not any("margin" in note for note in notes)


def test_what_a_folder_has_and_cannot_be_loaded_is_told(
    tiny_copy: Path, quick_command: Command
) -> None:
    (tiny_copy / "tiny.py").rename(tiny_copy / "moved.py")
    done = quick_command(tiny_copy, "report", "runs", "--format", "csv")
    assert done.returncode == 2
    assert (
        "runs: no sweep was run in this folder that can be reported on (sweep tiny in runs is"
        in (done.stderr)
    )
    done = quick_command(tiny_copy, "report", "moved.py", "--where", "sweep == 'tini'")
    assert done.returncode == 2
    assert done.stderr.startswith("sweeps: error: --where sweep == 'tini': no trial has 'tini' in")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny.py", "digits_quantizers"), "digits_quantizers: is a study, which is not joined"),
        (("tiny.py", "no.csv"), "no.csv: the file cannot be read"),
        (("tiny.py", "no"), "sweep 'no' is unknown"),
        (("tiny.py", "trials.csv", "--seeds", "0"), "--seeds: applies to sweeps, but trials.csv"),
        (("tiny.py", "t.csv", "--metric", "perplexity"), "--metric perplexity: applies to tables"),
        (("a/b=tiny.py", "tiny.py"), "a/b=tiny.py: must be a sweep, a file or a folder, or one"),
        (("tiny.py", "--where", "sed < 1"), "--where sed < 1: there is no column 'sed' (did you m"),
        (("tiny.py", "--where", "seed > 9"), "--where seed > 9: none of the 6 trials fulfils it"),
        (("tiny.py", "--by", "name"), "argument --by: 'name' is unknown"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    tiny_copy: Path, quick_command: Command, arguments: tuple[str, ...], message: str
) -> None:
    done = quick_command(tiny_copy, "report", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
