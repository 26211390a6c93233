"""The choice of trials on the command line, from the options to the reports."""

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Command, Ran
from tests.sweeps.sweep_files import WITH_CHILD, changed

pytestmark = pytest.mark.slow

HALF = ("--only", "method=MD,rho0=0.5")


def test_commands_see_the_chosen_trials_only(tiny_copy: Path, quick_command: Command) -> None:
    plan = json.loads(quick_command(tiny_copy, "plan", "tiny.py", "--json", *HALF).stdout)
    names = ["MD rho0=0.5 seed=0", "MD rho0=0.5 seed=1"]
    assert [trial["name"] for trial in plan["trial_list"]] == names
    assert (plan["name"], plan["finished"]) == ("tiny", 2)
    for command, says in (
        ("status", "tiny: 2 COMPLETE\nspent: TIME of slots on 2 trials\n"),
        ("verify", "tiny: 2 finished trials, 0 problems\n"),
        ("run", "tiny: 2 trials, 0 to run\ntiny: 2 COMPLETE\n"),
    ):
        done = quick_command(tiny_copy, command, "tiny.py", *HALF)
        shown = re.sub(r"(?<=spent: )[\d.]+ m?s", "TIME", done.stdout)
        assert (done.returncode, shown) == (0, says), done.stderr


def test_the_best_of_the_chosen_trials_is_exported(
    tiny: Ran, quick_command: Command, tmp_path: Path
) -> None:
    done = quick_command(
        tiny.folder, "export", "tiny.py", *HALF, "--only=seed=1", "--best", "--out", str(tmp_path)
    )
    assert done.stdout.startswith("MD rho0=0.5 seed=1 "), done.stderr


def test_a_report_on_some_trials_stands_beside_that_on_all(
    tiny_copy: Path, quick_command: Command
) -> None:
    columns = "configurations=method,rho0,test"
    options = ("--format", "csv,html,latex", *HALF, "--seeds", "0-2", "--columns", columns)
    done = quick_command(tiny_copy, "report", "tiny.py", *options)
    assert done.returncode == 0, done.stderr
    folder = tiny_copy / "runs" / "reports" / "tiny-seeds-0-2_only-method-MD_rho0-0_5"
    trials = pd.read_csv(folder / "tables" / "trials.csv")
    assert list(trials["state"]) == ["COMPLETE", "COMPLETE", "WAITING"]
    assert not (folder.parent / "tiny").exists()
    chosen = shlex.join(["--seeds", "0-2", *HALF])
    page = (folder / "report.html").read_text()
    assert f"sweeps run tiny.py {chosen}" in page
    assert f"sweeps report tiny.py {chosen} --columns {columns} --format" in page
    table = (folder / "latex" / "configurations.tex").read_text()
    assert r"method & $\rho_0$ & test \% \\" in table
    assert rf"\label{{tab:{folder.name}:configurations}}" in table
    path = str(folder / "tables" / "trials.csv")
    done = quick_command(tiny_copy, "report", path, "--only", "seed<1", "--format", "csv")
    assert done.returncode == 0, done.stderr
    again = pd.read_csv(folder.parent / "trials-only-seed-below-1" / "tables" / "trials.csv")
    assert list(again["seed"]) == [0]
    done = quick_command(tiny_copy, "report", path, "--only", "rho0=7")
    assert "--only rho0=7: no trial of table trials.csv has rho0 '7'; there are m" in done.stderr


def test_changed_and_further_trials_are_trained(
    tiny_copy: Path, quick_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of another sweep; with more seeds, only their cells are trained.

    With two epochs, the trials of this file are those of `tiny`, but for two seeds and a child.
    """
    text = changed(WITH_CHILD, "epochs=2,", "epochs=1,")
    text = changed(text, "seeds=(0, 1),", "seeds=(0, 1, 2, 3),")
    text = changed(text, '"MD rho0=0.5 seed=0"', '"MD rho0=0.5 seed=2"')
    (tiny_copy / "child.py").write_text(changed(text, "seeds=(0,))", "seeds=(2,))"))
    before = {folder.name for folder in (tiny_copy / "runs" / "trials").iterdir()}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    options = ("--only", "block=FP|child", "--set", "epochs=2")
    automatic = ("--pack", "auto", "--gpus-per-trial", "auto", "--concurrency", "1")
    done = quick_command(tiny_copy, "run", "child.py", *options, *automatic)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny-epochs-2: 6 trials, 4 to run"
    # Two trials for one slot are measured, and are too short for more than that.
    assert lines[1].startswith(
        "--gpus-per-trial auto: this machine has no GPU, so trials run on CPUs"
    )
    measured = r"2 trials of ConvNet on Digits are trained one by one \(.*: 1: 1\.00 \(.*\)\)"
    assert any(re.fullmatch(measured, line) for line in lines), lines
    assert lines[-1] == "tiny-epochs-2: 6 COMPLETE"
    assert "sweeps: with epochs=2, the trials are those of another sweep, tiny-epochs-2" in (
        done.stderr
    )
    assert "sweeps: 'MD rho0=0.5 seed=2': included, because chosen trials need" in done.stderr
    after = {folder.name for folder in (tiny_copy / "runs" / "trials").iterdir()}
    assert before < after
    new = after - before
    assert len(new) == 4
    files = [tiny_copy / "runs" / "trials" / name / "recipe.json" for name in new]
    recipes = [json.loads(file.read_text())["recipe"] for file in files]
    assert {recipe["epochs"] for recipe in recipes} == {2}
    parents = [(recipe["initial_weights"] or {}).get("fingerprint") for recipe in recipes]
    assert new & set(parents)
    status = quick_command(tiny_copy, "status", "child.py", *options)
    assert status.returncode == 0
    first, spent, *_ = status.stdout.splitlines()
    assert first == "tiny-epochs-2: 5 COMPLETE"
    assert spent.endswith(" of slots on 5 trials")
    report = quick_command(tiny_copy, "report", "child.py", *options, "--format", "csv")
    assert "ui tiny-epochs-2, run 'sweep tiny-epochs-2" in report.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "tiny.py", "--only", "rho0"], r"--only rho0: 'rho0' is no condition: must be"),
        (["run", "tiny.py", "--only", "set=ternary"], r".*has set 'ternary'.*; there are method ="),
        (["run", "tiny.py", "--seeds", "x"], r"--seeds x: 'x' must be a seed or a range"),
        (
            ["run", "tiny.py", "--set", "epochs=0"],
            r"--set epochs=0: 'FP seed=0': Recipe.epochs",
        ),
        (["status", "digits_bits", "--seeds", "0"], r"--seeds: applies to sweeps, but .* a study;"),
        (["report", "trials.csv", "--seeds", "0"], r"--seeds: applies to sweeps, .* a table of"),
        (["report", "tiny.py", "--columns", "methods_1"], r"--columns methods_1: must be a table"),
        (["report", "tiny.py", "--columns", "a=b"], r"--columns: there is no table 'a'; the tab"),
    ],
)
def test_a_wrong_choice_trains_nothing(
    tiny: Ran, quick_command: Command, arguments: list[str], says: str
) -> None:
    done = quick_command(tiny.folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(f"sweeps: error: {says}", done.stderr)
    assert done.stderr.count("\n") == 1
