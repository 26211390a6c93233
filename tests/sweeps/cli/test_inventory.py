"""`sweeps list`, `show`, `log` and `rm`, on a storage in which a user's sweep has run."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from quantlab import ConfigurationError
from sweeps.cli import rm
from sweeps.inventory.known_sweeps import (
    KnownSweep,
    forget,
    known_trials,
    names_of_trials,
    ray_folders,
    recorded,
    remember_study,
    remember_sweep,
    sweeps_of,
)
from sweeps.inventory.removal import removal_of
from sweeps.loading import load_sweep
from sweeps.searching.search import keep_recorded
from sweeps.searching.study_queue import StudyQueue
from sweeps.selection.selected import selected
from sweeps.storage import Storage, TrialState
from sweeps.storage.record_files import RecordFile
from sweeps.storage.sqlite_uri import sqlite_uri
from sweeps.tracking.experiment import mlflow  # with our settings, which it reads when imported
from sweeps.worker.trial import run_trial
from tests.conftest import Command, Ran
from tests.sweeps import made_studies
from tests.sweeps.cli.test_command import assert_one_line
from tests.sweeps.sweep_files import STUDY, TINY, WITH_CHILD, changed

pytestmark = pytest.mark.slow


def data_of(command: Command, folder: Path, *arguments: str, code: int = 0) -> Any:
    done = command(folder, *arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def paths(folder: Path) -> set[str]:
    """All files of a storage, without databases and locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".db")
    return {str(path.relative_to(folder)) for path in files if path.name[0] != "."}


def test_list_has_the_sweeps_of_the_storage_and_of_the_release(
    tiny: Ran, quick_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {row["name"]: row for row in data_of(quick_command, tiny.folder, "list")["sweeps"]}
    row = known["tiny"]
    assert row["file"] == str(tiny.folder / "tiny.py")
    assert (row["kind"], row["state"], row["trials"]) == ("sweep", "COMPLETE", 6)
    assert row["states"] == {"COMPLETE": 6}
    assert (known["digits"]["state"], known["digits_bits"]["kind"]) == ("WAITING", "study")
    monkeypatch.setenv("COLUMNS", "80")
    lines = quick_command(tiny.folder, "list").stdout.splitlines()
    assert lines[2].split() == ["tiny", "sweep", "6", "COMPLETE", "6", "COMPLETE"]
    assert "tiny is in tiny.py" in lines
    assert max(map(len, lines)) <= 80
    for command in ("show", "plan", "search"):
        done = quick_command(tiny.folder, command, "tiny")
        assert done.stderr == "sweeps: error: sweep 'tiny' is in a file: give tiny.py\n"


def test_status_and_watch_find_the_file_of_a_sweep(
    tiny: Ran, tiny_copy: Path, quick_command: Command
) -> None:
    """In any folder, as long as the file is where it was."""
    where = ("--storage", str(tiny.folder / "runs"))
    for command in ("status", "watch"):
        by_file = quick_command(tiny.folder, command, "tiny.py")
        by_name = quick_command(tiny_copy, command, "tiny", *where)
        assert by_name.returncode == by_file.returncode == 0, by_name.stderr
        assert by_name.stdout.splitlines()[1:] == by_file.stdout.splitlines()[1:]
    (tiny_copy / "tiny.py").unlink()
    done = quick_command(tiny_copy, "status", "tiny")
    assert done.stderr == "sweeps: error: sweep 'tiny' is in a file: give tiny.py\n"


def test_the_file_of_a_sweep_is_not_taken_for_what_it_does_not_define(
    tiny_copy: Path, quick_command: Command
) -> None:
    """With two epochs, the trials of the changed sweep are those that have finished."""
    done = quick_command(tiny_copy, "run", "tiny.py", "--set", "epochs=2")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in data_of(quick_command, tiny_copy, "list")["sweeps"]}
    assert rows["tiny-epochs-2"]["file"] is None
    for command in ("status", "watch", "run", "report"):
        done = quick_command(tiny_copy, command, "tiny-epochs-2")
        assert (done.returncode, done.stdout) == (2, "")
        assert "sweep 'tiny-epochs-2' has settings that --set has changed, or is" in done.stderr
    storage, file = Storage(tiny_copy / "runs"), str(tiny_copy / "tiny.py")
    changed, _ = selected(load_sweep(file), settings=["epochs=2"])
    remember_sweep(changed, file, storage)  # as earlier releases did
    rows = {row["name"]: row for row in data_of(quick_command, tiny_copy, "list")["sweeps"]}
    assert (rows["tiny-epochs-2"]["file"], rows["tiny"]["file"]) == (None, file)
    assert "tiny-epochs-2 is in" not in quick_command(tiny_copy, "list").stdout
    for command in ("status", "watch", "run", "show"):
        done = quick_command(tiny_copy, command, "tiny-epochs-2")
        assert (done.returncode, done.stdout) == (2, "")
        assert "tiny-epochs-2: its file tiny.py defines 'tiny' now; give the file," in done.stderr


def test_both_that_a_file_defines_can_be_looked_at(tiny_copy: Path, quick_command: Command) -> None:
    """The study, unless options or a name say that it is the sweep."""
    (tiny_copy / "tiny.py").write_text(STUDY)
    for arguments in (("tiny",), ("tiny.py", "--only", "seed>=0")):
        done = quick_command(tiny_copy, "status", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("tiny: 6 COMPLETE\n")
    for command in ("show", "verify"):
        done = quick_command(tiny_copy, command, "tiny")
        assert (done.returncode, done.stderr) == (0, "")
    done = quick_command(tiny_copy, "show", "tiny.py")
    assert "tiny.py defines the sweep tiny and the study tiny-study, which is mea" in done.stderr


def test_show_and_log(tiny: Ran, quick_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sweep, and of a trial with and without its sweep."""
    shown = data_of(quick_command, tiny.folder, "show", "tiny.py")
    (cell,) = (
        cell
        for cell in load_sweep(str(tiny.folder / "tiny.py")).cells
        if cell.name == "MD rho0=0.5 seed=1"
    )
    block = shown["blocks"][1]
    assert (block["label"], block["axes"], block["seeds"]) == (
        "MD",
        {"rho0": ["0.5", "1"]},
        [0, 1],
    )
    assert shown["states"] == {"COMPLETE": 6}
    assert shown["recipe"]["epochs"] == 2
    assert "seed" not in shown["recipe"]
    trial = data_of(quick_command, tiny.folder, "show", "--trial", cell.fingerprint[:8])
    assert (trial["name"], trial["sweeps"], trial["state"]) == (cell.name, ["tiny"], "COMPLETE")
    assert trial["recipe"]["quantization.sharpness.rho0"] == 0.5
    assert 0 <= trial["result"]["test_accuracy"] <= 1
    assert [epoch["epoch"] for epoch in trial["epochs"]] == [1, 2, 3]
    assert trial == data_of(
        quick_command, tiny.folder, "show", "tiny.py", "--trial", cell.fingerprint
    )
    monkeypatch.setenv("COLUMNS", "80")
    text = quick_command(tiny.folder, "show", "--trial", cell.fingerprint).stdout
    assert "validation accuracy by epoch" in text
    assert "  quantization.sharpness.rho0 = 0.5\n" in text
    log = data_of(quick_command, tiny.folder, "log", cell.fingerprint)
    assert (log["name"], log["failure"], log["output"]) == (cell.name, None, "")
    text = quick_command(tiny.folder, "log", cell.fingerprint).stdout
    assert text.endswith("It printed nothing.\n")
    for arguments, message in {
        ("show",): "give the name or the file of a sweep or study, or --trial FINGERPRINT",
        ("log", "x"): "trial x: no trial has a fingerprint with these first digits; ",
        ("show", "--trial", ""): "argument --trial: '': must not be empty",
    }.items():
        done = quick_command(tiny.folder, *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(f"sweeps: error: {message}")
        assert done.stderr.count("\n") == 1


def test_the_folder_of_a_trial_in_another_storage_is_refused(
    tiny_copy: Path, quick_command: Command
) -> None:
    """Such as that of a trial that was reproduced, which has the fingerprint of the original."""
    shutil.copytree(tiny_copy / "runs", tiny_copy / "theirs")
    fingerprint = next((tiny_copy / "runs" / "trials").iterdir()).name
    theirs = f"theirs/trials/{fingerprint}"
    for arguments in (("log", theirs), ("show", "--trial", theirs), ("reproduce", theirs)):
        done = quick_command(tiny_copy, *arguments)
        assert done.returncode == 2
        assert f"{theirs}: is not in --storage {tiny_copy / 'runs'}; give the" in done.stderr
    for storage, path in (("theirs", theirs), ("runs", f"runs/trials/{fingerprint}/")):
        log = data_of(quick_command, tiny_copy, "log", path, "--storage", storage)
        assert log["folder"] == str(tiny_copy / storage / "trials" / fingerprint)


def test_rm_removes_a_sweep_with_its_runs(tiny_copy: Path, quick_command: Command) -> None:
    """Nothing changes without --yes, nor while another command uses the storage."""
    storage = Storage(tiny_copy / "runs")
    (tiny_copy / "runs" / "reports" / "tiny").mkdir(parents=True)
    (tiny_copy / "runs" / "reports" / "tiny" / "report.html").write_text("a report")
    before = paths(storage.root)
    planned = data_of(quick_command, tiny_copy, "rm", "tiny.py")
    assert paths(storage.root) == before
    assert not planned["removed"]
    assert {trial["state"] for trial in planned["trials"]} == {"COMPLETE"}
    assert len(planned["trials"]) == len(planned["mlflow_runs"]) == 6
    assert planned["bytes"] > sum(trial["bytes"] for trial in planned["trials"]) > 50_000
    text = quick_command(tiny_copy, "rm", "tiny.py").stdout
    assert text.startswith("sweep tiny: 6 trials (6 COMPLETE) and 6 MLflow runs would be removed;")
    with storage.locked(shared=True):
        refused = quick_command(tiny_copy, "rm", "tiny.py", "--yes")
        assert refused.returncode == 2
        assert paths(storage.root) == before
    done = data_of(quick_command, tiny_copy, "rm", "tiny.py", "--yes")
    assert {**done, "removed": False} == planned
    assert not list((storage.root / "trials").iterdir())
    assert not [path for path in paths(storage.root) if not path.startswith("ray/")]
    client = mlflow.MlflowClient(tracking_uri=sqlite_uri(storage.root / "mlflow.db"))
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    assert not client.search_runs([experiment.experiment_id])
    known = {row["name"] for row in data_of(quick_command, tiny_copy, "list")["sweeps"]}
    assert "tiny" not in known


def test_rm_keeps_the_runs_of_another_storage(
    tiny_copy: Path,
    quick_command: Command,
    empty_database: Callable[[Path], str],
    tmp_path: Path,
) -> None:
    """Which count for this one's trials at the same server, too."""
    uri = empty_database(tmp_path / "shared.db")
    server = ("--tracking-uri", uri)
    shutil.copytree(tiny_copy / "runs" / "trials", tiny_copy / "theirs" / "trials")
    for storage in ("runs", "theirs"):
        done = quick_command(tiny_copy, "run", "tiny.py", "--storage", storage, *server)
        assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    arguments = ("rm", "tiny.py", "--yes", *server)
    for storage, num_runs, left in (("theirs", 0, 6), ("runs", 6, 0)):
        done = data_of(quick_command, tiny_copy, *arguments, "--storage", storage)
        assert (len(done["trials"]), len(done["mlflow_runs"])) == (6, num_runs)
        assert len(client.search_runs([experiment.experiment_id])) == left


def test_rm_keeps_what_is_trained_or_needed(tiny_copy: Path, quick_command: Command) -> None:
    """What other trials need is removed with --force, which says so."""
    (tiny_copy / "child.py").write_text(changed(WITH_CHILD, 'name="tiny"', 'name="other"'))
    child = load_sweep(str(tiny_copy / "child.py")).cells[-1]
    storage = Storage(tiny_copy / "runs")
    run_trial(child.recipe, storage.trial(child.fingerprint), data_dir=tiny_copy)
    trained = storage.trial(load_sweep(str(tiny_copy / "tiny.py")).cells[0].fingerprint)
    trained.result.path.unlink()
    with trained.locked():
        planned = data_of(quick_command, tiny_copy, "rm", "tiny.py")
        kept = {row["fingerprint"]: row["reason"] for row in planned["kept"]}
        assert kept == {
            trained.fingerprint: "it is trained now",
            child.parents[0]: f"trial {child.fingerprint} was trained with its network",
        }
        forced = data_of(quick_command, tiny_copy, "rm", "tiny.py", "--force", "--yes", code=1)
    assert [row["fingerprint"] for row in forced["kept"]] == [trained.fingerprint]
    (needed,) = (row for row in forced["trials"] if row["needed"])
    assert (needed["fingerprint"], needed["needed"]) == (child.parents[0], kept[child.parents[0]])
    left = {path.name for path in (storage.root / "trials").iterdir()}
    assert left == {trained.fingerprint, child.fingerprint}


def test_rm_keeps_what_a_kept_trial_needs(tiny_copy: Path) -> None:
    """The sweep has a trial that another sweep has, too, and the trial from which it starts."""
    (tiny_copy / "child.py").write_text(WITH_CHILD)
    sweep = load_sweep(str(tiny_copy / "child.py"))
    child = sweep.cells[-1]
    storage = Storage(tiny_copy / "runs")
    run_trial(child.recipe, storage.trial(child.fingerprint), data_dir=tiny_copy)
    (trial,) = known_trials([child])
    other = KnownSweep(name="other", kind="sweep", time=1.0, trials=(trial,))
    wanted = {cell.fingerprint: cell.name for cell in sweep.cells}
    kept = {one.fingerprint: one.reason for one in removal_of(wanted, storage, [other]).kept}
    assert kept == {
        child.fingerprint: "it is a trial of other, too",
        child.parents[0]: f"trial {child.fingerprint} was trained with its network",
    }
    forced = removal_of(wanted, storage, [other], force=True)
    assert [one.warning for one in forced.trials if one.warning] == [kept[child.fingerprint]]


def test_rm_keeps_the_trials_of_sweeps_that_an_earlier_version_ran(tmp_path: Path) -> None:
    """It recorded no sweeps, but Ray has left a folder for each run."""
    storage = Storage(tmp_path)
    (tmp_path / "ray" / "methods_smoke-20260131-235959").mkdir(parents=True)
    both = {cell.fingerprint: cell for cell in load_sweep("digits").cells}
    shared = {cell.fingerprint for cell in load_sweep("methods_smoke").cells} & both.keys()
    for name in both:
        storage.trial(name).make()
    others = [known for known in sweeps_of(storage) if known.name != "digits"]
    removal = removal_of({name: cell.name for name, cell in both.items()}, storage, others)
    assert shared
    assert {kept.fingerprint for kept in removal.kept} == shared
    assert {kept.reason for kept in removal.kept} == {"it is a trial of methods_smoke, too"}


def test_the_folders_of_ray_belong_to_the_sweep_that_they_name(tmp_path: Path) -> None:
    folders = [tmp_path / "ray" / f"{name}-20260131-235959-1a2b3c" for name in ("q", "q-2bits")]
    for folder in folders:
        folder.mkdir(parents=True)
    assert ray_folders("q", Storage(tmp_path)) == folders[:1]


def test_rm_of_orphans_keeps_the_trials_of_known_sweeps(
    tiny_copy: Path, quick_command: Command
) -> None:
    """Of those that the storage has no record of, MLflow knows the name."""
    before = paths(tiny_copy / "runs")
    assert not data_of(quick_command, tiny_copy, "rm", "--orphans")["trials"]
    record = tiny_copy / "runs" / "sweeps" / "tiny.json"
    text = record.read_text()
    record.unlink()
    kept = data_of(quick_command, tiny_copy, "rm", "--orphans")["kept"]
    assert {row["reason"] for row in kept} == {
        "it is of the sweep tiny, whose file is needed: give it with --keep"
    }
    assert len(kept) == 6
    assert not data_of(quick_command, tiny_copy, "rm", "--orphans", "--keep", "tiny.py")["kept"]
    record.write_text(text)
    (tiny_copy / "tiny.py").write_text(changed(TINY, "(0.5, 1.0)", "(1.0,)"))
    assert quick_command(tiny_copy, "run", "tiny.py").returncode == 0
    planned = quick_command(tiny_copy, "rm", "--orphans").stdout
    assert "2 trials (2 COMPLETE) and 2 MLflow runs would be removed" in planned
    assert "tiny: MD rho0=0.5 seed=0" in planned
    assert planned.splitlines()[-1].endswith("rm --orphans --yes") or "--yes" in planned
    assert paths(tiny_copy / "runs") == before
    assert len(data_of(quick_command, tiny_copy, "rm", "--orphans", "--yes")["trials"]) == 2
    verified = quick_command(tiny_copy, "verify", "tiny.py")
    assert verified.stdout == "tiny: 4 finished trials, 0 problems\n"


def test_trials_that_options_have_chosen_stay_known(tiny_copy: Path) -> None:
    """Until the sweep is removed, whether or not the file has them."""
    sweep, storage = load_sweep(str(tiny_copy / "tiny.py")), Storage(tiny_copy / "runs")
    more, _ = selected(sweep, seeds="1-2")
    remember_sweep(more, "tiny.py", storage)
    remember_sweep(sweep, "tiny.py", storage)
    (known,) = (one for one in sweeps_of(storage) if one.name == "tiny")
    assert {trial.fingerprint for trial in known.trials} == {
        cell.fingerprint for cell in sweep.cells
    }
    assert len(known.all_trials) == 6 + 3
    assert sorted(known.states(storage).values(), key=str)[-3:] == [TrialState.WAITING] * 3


def test_rm_without_yes_makes_no_database_and_knows_a_file_by_every_path(
    tiny_copy: Path, quick_command: Command
) -> None:
    (tiny_copy / "below").mkdir()
    (tiny_copy / "runs" / "mlflow.db").unlink()
    where = ("--storage", "../runs")
    planned = data_of(quick_command, tiny_copy / "below", "rm", "../tiny.py", *where)
    assert (len(planned["trials"]), planned["kept"], planned["mlflow_runs"]) == (6, [], [])
    assert not (tiny_copy / "runs" / "mlflow.db").exists()


def test_a_sweep_of_the_same_name_in_another_file_is_another(
    tiny_copy: Path, quick_command: Command, tmp_path: Path
) -> None:
    """Unless the file was moved."""
    (tmp_path / "other.py").write_text(changed(TINY, "seeds=(0, 1)", "seeds=(5,)"))
    other = str(tmp_path / "other.py")
    assert not data_of(quick_command, tiny_copy, "rm", other)["trials"]
    (tiny_copy / "tiny.py").rename(tiny_copy / "moved.py")
    record = tiny_copy / "runs" / "sweeps" / "tiny.json"
    remember_sweep(
        load_sweep(str(tiny_copy / "moved.py")),
        str(tiny_copy / "tiny.py"),
        Storage(tiny_copy / "runs"),
    )
    assert len(data_of(quick_command, tiny_copy, "rm", "moved.py", "--yes")["trials"]) == 6
    assert not record.exists()


def documented(command: str) -> set[str]:
    """The fields of an object in docs/json.md."""
    text = (Path(__file__).parents[3] / "docs" / "json.md").read_text()
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {command} |"))
    fields = re.sub(r"\([^()]*\)", "", row.split("|")[2])
    return set(re.findall(r"`(\w+)`", fields.partition(", a list: ")[0]))


def test_objects_have_the_documented_fields(
    tiny_copy: Path, quick_command: Command, tmp_path: Path
) -> None:
    """Of commands with --only too, which chooses trials."""
    trial = next((tiny_copy / "runs" / "trials").iterdir()).name
    part = ("tiny.py", "--only", "rho0=0.5")
    commands = {
        "`plan`": ("plan", *part),
        "`status` of a sweep": ("status", *part),
        "`list`": ("list",),
        "`show` of a sweep": ("show", *part),
        "`show --trial`": ("show", "--trial", trial),
        "`log`": ("log", trial),
        "`report` of a sweep or a table": ("report", *part, "--format", "csv"),
        "`export`": ("export", *part, "--best", "--out", str(tmp_path)),
        "`verify`": ("verify", *part),
        "`archive`": ("archive", *part, "--archive", f"memory://{tmp_path.name}"),
        "`rm`": ("rm", *part),
    }
    found = {}
    for name, arguments in commands.items():
        found[name] = data_of(quick_command, tiny_copy, *arguments)
        assert set(found[name]) == documented(name), name
    assert found["`status` of a sweep"]["states"] == {"COMPLETE": 2}
    assert [row["label"] for row in found["`show` of a sweep"]["blocks"]] == ["MD"]
    assert found["`verify`"]["finished"] == len(found["`rm`"]["trials"]) == 2
    report = found["`report` of a sweep or a table"]
    assert report["mlflow"]["run"].startswith("sweep tiny")
    (row,) = report["tables"]["configurations"]
    assert (row["method"], row["n"]) == ("MD", 2)
    assert 0 <= row["test_mean"] <= 1
    assert Path(found["`export`"]["file"]).stat().st_size == found["`export`"]["bytes"]


MADE_STUDY = """
from tests.sweeps import made_studies

STUDY = made_studies.spec(configurations=3)
"""


def test_rm_removes_a_study(tmp_path: Path, quick_command: Command) -> None:
    """With it, Optuna's study, so that the next search starts from nothing."""
    (tmp_path / "made.py").write_text(MADE_STUDY)
    storage = Storage(tmp_path / "runs")
    storage.require_writable()
    queue = StudyQueue(made_studies.spec(configurations=3), storage)
    made_studies.run(queue, storage)
    queue.close()
    rows = data_of(quick_command, tmp_path, "list")["sweeps"]
    assert "made" in [row["name"] for row in rows if row["kind"] == "study"]
    refused = quick_command(tmp_path, "rm", "--orphans")
    assert "the trials of the study 'made' are unknown; give its file with --keep" in refused.stderr
    assert not data_of(quick_command, tmp_path, "rm", "--orphans", "--keep", "made.py")["trials"]
    shown = data_of(quick_command, tmp_path, "show", "made.py")
    assert set(shown) == documented("`status` of a study, `show` of a study")
    assert shown == data_of(quick_command, tmp_path, "status", "made.py")
    assert shown["states"] == {"COMPLETE": 3}
    assert shown["configuration_list"][shown["best"]]["values"]
    done = data_of(quick_command, tmp_path, "rm", "made.py", "--yes")
    assert len(done["trials"]) == 9
    assert not list((storage.root / "trials").iterdir())
    status = quick_command(tmp_path, "status", "made.py")
    assert "study made: not found in " in status.stderr


def test_rm_of_a_study_needs_its_optuna_storage_and_can_be_repeated(
    tmp_path: Path, quick_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made.py").write_text(MADE_STUDY)
    storage, url = Storage(tmp_path / "runs"), f"sqlite:///{tmp_path / 'other.db'}"
    storage.require_writable()
    queue = StudyQueue(made_studies.spec(configurations=3), storage, url)
    made_studies.run(queue, storage)
    remember_study("made", str(tmp_path / "made.py"), queue.cells, storage)
    before = paths(storage.root)
    for name in ("made", "made.py"):
        refused = quick_command(tmp_path, "rm", name, "--yes")
        assert refused.returncode == 2
        assert "but its trials are in" in refused.stderr
        assert "give the --study-storage with which it was started" in refused.stderr
    other = ("rm", "made", "--yes", "--storage", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere" / "trials").mkdir(parents=True)
    remember_study("made", "made.py", queue.cells, Storage(tmp_path / "elsewhere"))
    assert "are in another folder" in quick_command(tmp_path, *other, "--study-storage", url).stderr
    assert paths(storage.root) == before
    assert not (storage.root / "optuna.db").exists()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    again = ("rm", "made", "--yes", "--study-storage", url)
    for module, part in ((optuna, "delete_study"), (rm, "forget")):
        with monkeypatch.context() as patch:
            patch.setattr(module, part, killed)
            assert quick_command(tmp_path, *again).returncode == 130
        assert not list((storage.root / "trials").iterdir())
    done = quick_command(tmp_path, *again)
    assert done.returncode == 0, done.stderr
    assert not paths(storage.root)
    assert not optuna.get_all_study_names(url)


def test_trials_of_a_killed_search_are_no_orphans(tmp_path: Path, quick_command: Command) -> None:
    """Also if Optuna's storage is a server, which `sweeps rm --orphans` does not know."""
    (tmp_path / "made.py").write_text(MADE_STUDY)
    storage, url = Storage(tmp_path / "runs"), f"sqlite:///{tmp_path / 'other.db'}"
    storage.require_writable()
    made = made_studies.spec(configurations=3)
    for _ in range(2):  # each is killed after two trials
        queue = StudyQueue(made, storage, url)
        keep_recorded(queue, str(tmp_path / "made.py"), storage)
        for _ in range(2):
            (cell,) = queue.next()
            queue.ended(cell, made_studies.finish(storage, cell))
        queue.close()
    trained = paths(storage.root / "trials")
    assert quick_command(tmp_path, "rm", "--orphans", "--yes").returncode == 0
    assert paths(storage.root / "trials") == trained
    # Another search records all that have begun, and forgets what nobody has trained.
    (known,) = recorded(storage)
    assert len(known.trials) == 5
    keep_recorded(StudyQueue(made, storage, url), str(tmp_path / "made.py"), storage)
    (known,) = recorded(storage)
    assert {trial.fingerprint for trial in known.trials} == names_of_trials(storage)


def test_a_sweep_and_a_study_need_two_names(tmp_path: Path, quick_command: Command) -> None:
    """Earlier releases let both have one; `sweeps rm` removes the one that is given."""
    (tmp_path / "made.py").write_text(MADE_STUDY)
    (tmp_path / "tiny.py").write_text(changed(TINY, 'name="tiny"', 'name="made"'))
    storage, sweep = Storage(tmp_path / "runs"), load_sweep(str(tmp_path / "tiny.py"))
    storage.require_writable()
    remember_sweep(sweep, str(tmp_path / "tiny.py"), storage)
    with pytest.raises(ConfigurationError, match=r"study 'made': .*has a sweep of this name of .*"):
        remember_study("made", str(tmp_path / "made.py"), (), storage)
    started = quick_command(tmp_path, "search", "made.py")
    assert started.returncode == 2
    assert "give the study another name or another --storage" in started.stderr
    assert not (storage.root / "optuna.db").exists()
    queue = StudyQueue(made_studies.spec(configurations=1, seeds=(0,)), storage)
    made_studies.run(queue, storage)
    trained = storage.trial(sweep.cells[0].fingerprint)
    trained.make()
    refused = quick_command(tmp_path, "rm", "made", "--yes")
    assert "has a sweep and a study of this name; give the file" in refused.stderr
    expected = [cell.fingerprint for cell in queue.cells]
    removed = data_of(quick_command, tmp_path, "rm", "made.py", "--yes")["trials"]
    assert [trial["fingerprint"] for trial in removed] == expected
    assert trained.path.is_dir()
    assert [known.kind for known in recorded(storage)] == ["sweep"]


def test_a_record_of_a_renamed_sweep_is_found_by_both_names(tmp_path: Path) -> None:
    """Until a study takes the old name, and then too."""
    storage, (cell, *_) = Storage(tmp_path), load_sweep("digits").cells
    (trial,) = known_trials([cell])
    old, new = "mirror_descent_search", "mirror_descent_hyperparameters"
    earlier = KnownSweep(name="x", kind="sweep", chosen=(trial,))
    file = tmp_path / "sweeps" / f"{old}.json"
    remember_study("x", "", (), storage)
    RecordFile(file, KnownSweep, if_damaged="").write(replace(earlier, name=old, time=7.0))

    def known() -> list[tuple[str, str, int]]:
        found = [one for one in recorded(storage) if one.name != "x"]
        return [(one.name, one.kind, len(one.chosen)) for one in found]

    assert known() == [(new, "sweep", 1)]
    remember_study(old, old, (), storage)
    assert known() == [(new, "sweep", 1), (old, "study", 0)]
    forget(old, "sweep", storage)
    forget(new, "sweep", storage)
    assert known() == [(old, "study", 0)]


@pytest.mark.parametrize("command", ["status", "watch", "archive", "verify", "show", "rm"])
def test_a_storage_of_studies_is_refused_for_a_sweep(
    command: str, tmp_path: Path, quick_command: Command
) -> None:
    (tmp_path / "runs" / "trials").mkdir(parents=True)
    archive = ("--archive", "memory://none") if command == "archive" else ()
    done = quick_command(tmp_path, command, "digits", *archive, "--study-storage", "sqlite://")
    assert_one_line(done, "--study-storage: applies to studies, but digits is not one", tmp_path)
