"""A file with a sweep and a study: which one is meant, and how often its code runs for that."""

from pathlib import Path

import pytest

from sweeps.control.commands import registered
from sweeps.control.requests import Requests
from sweeps.inventory.known_sweeps import remember_sweep
from sweeps.loading import load_sweep
from sweeps.storage import Storage
from sweeps.storage.records import Origin
from tests.conftest import Command
from tests.sweeps.sweep_files import STUDY, TINY

FILE = "both.py"
COUNTS = "\nopen(__file__ + '.loads', 'a').write('x')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file, which neither a sweep nor a search has trained."""
    (tmp_path / FILE).write_text(STUDY + COUNTS)
    return tmp_path


@pytest.fixture
def storage(folder: Path) -> Storage:
    """A storage that remembers the sweep."""
    storage = Storage(folder / "runs")
    storage.require_writable()
    remember_sweep(load_sweep(str(folder / FILE)), str(folder / FILE), storage)
    loads(folder)
    return storage


def loads(folder: Path) -> int:
    """How often the file has been loaded since this was asked."""
    log = folder / f"{FILE}.loads"
    number = len(log.read_text()) if log.exists() else 0
    log.unlink(missing_ok=True)
    return number


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (("status", f"{FILE}:tiny"), "tiny: 6 WAITING"),
        (("plan", f"{FILE}:tiny"), "tiny\nblock  trials "),
        (("show", f"{FILE}:tiny"), "tiny\nblock  axes"),
        (("taxonomy", f"{FILE}:tiny"), "tiny"),
        (("status", FILE, "--only", "seed>=0"), "tiny: 6 WAITING"),
    ],
)
def test_the_sweep_is_named_before_it_has_run(
    folder: Path, quick_command: Command, arguments: tuple[str, ...], shows: str
) -> None:
    done = quick_command(folder, *arguments)
    assert done.returncode in (0, 1), done.stderr
    assert shows in done.stdout
    assert "is meant here" not in done.stderr
    assert loads(folder) == 1


def test_a_command_says_that_the_study_is_meant_and_how_the_sweep_is_named(
    folder: Path, quick_command: Command
) -> None:
    for command in ("show", "slurm"):
        said = quick_command(folder, command, FILE).stderr
        assert f"{FILE} defines the sweep tiny and the study tiny-study, which is meant" in said
        assert f"for the sweep, give {FILE}:tiny" in said
        assert loads(folder) == 1


@pytest.mark.parametrize(
    ("command", "name", "says"),
    [
        ("show", "tin", f"{FILE}:tin: the file defines tiny-study and tiny, and nothing of"),
        (
            "search",
            "tiny",
            f"takes the study of the file, which is 'tiny-study'; give {FILE}:tiny-",
        ),
        ("show --seeds 0", "tiny-study", f"to sweeps, but {FILE}:tiny-study is a study; omit"),
        ("run", "tiny-study", f"takes the sweep of the file, which is 'tiny'; give {FILE}:tiny"),
    ],
)
def test_another_name_is_refused_in_a_line(
    folder: Path, quick_command: Command, command: str, name: str, says: str
) -> None:
    done = quick_command(folder, *command.split(), f"{FILE}:{name}")
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ((f"{FILE}:tiny",), f"sweeps run {FILE}:tiny --address"),
        ((f"{FILE}:tiny-study",), f"sweeps search {FILE}:tiny-study --address"),
        ((FILE,), f"sweeps search {FILE}:tiny-study --address"),
        (
            (FILE, "--", "--storage", "seeds"),
            f"sweeps search {FILE}:tiny-study --storage seeds --address",
        ),
        ((FILE, "--", "--only", "seed=0"), f"sweeps run {FILE}:tiny --only seed=0 --address"),
        ((FILE, "--", "--set=epochs=3"), f"sweeps run {FILE}:tiny --set=epochs=3 --address"),
    ],
)
def test_a_job_of_slurm_runs_what_is_meant(
    folder: Path, quick_command: Command, arguments: tuple[str, ...], command: str
) -> None:
    done = quick_command(folder, "slurm", "--output", "job", *arguments)
    assert done.returncode == 0, done.stderr
    assert f"exec {command} " in (folder / "job").read_text()
    assert loads(folder) == 1
    is_told = arguments[0] == FILE and "search" in command
    assert ("is meant here" in done.stderr) == is_told


def test_a_remembered_name_loads_the_file_once(
    storage: Storage, folder: Path, quick_command: Command
) -> None:
    for command, shows in (("status", "6 WAITING"), ("show", "tiny\nblock  axes")):
        done = quick_command(folder, command, "tiny")
        assert shows in done.stdout, done.stderr
        assert loads(folder) == 1


def test_a_request_to_chosen_trials_loads_the_file_once(
    storage: Storage, folder: Path, quick_command: Command
) -> None:
    requests = Requests(storage, "tiny")
    with registered(requests, Origin(command=f"sweeps run {FILE}:tiny")):
        said = quick_command(folder, "pause", FILE, "--only", "seed=0", "--wait", "0").stdout
        assert "paused" in said
        assert loads(folder) == 1
        said = quick_command(folder, "resume", f"{FILE}:tiny", "--only", "seed=0").stdout
        assert "3 trials of tiny are resumed." in said
        assert loads(folder) == 1
    assert not requests.paused()


@pytest.mark.parametrize("command", ["pause", "cancel", "resume"])
@pytest.mark.parametrize("name", ["tin", "tiny-"])
def test_a_request_to_another_name_is_refused(
    storage: Storage, folder: Path, quick_command: Command, command: str, name: str
) -> None:
    """Also if the file has one thing alone, which is recorded."""
    if name == "tin":
        (folder / FILE).write_text(TINY)
    done = quick_command(folder, command, f"{FILE}:{name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{FILE}:{name}: the file defines tiny" in done.stderr
    assert not Requests(storage, "tiny").paused()


def test_a_name_of_what_is_kept_is_one_of_its_file(
    storage: Storage, folder: Path, quick_command: Command
) -> None:
    done = quick_command(folder, "rm", "--orphans", "--keep", f"{FILE}:tin")
    assert done.returncode == 2
    assert f"{FILE}:tin: the file defines tiny-study and tiny, and nothing of this" in done.stderr
    assert quick_command(folder, "rm", "--orphans", "--keep", f"{FILE}:tiny").returncode == 0


def test_a_file_with_a_sweep_alone_is_loaded_once_for_a_job(
    tmp_path: Path, quick_command: Command
) -> None:
    (tmp_path / FILE).write_text(TINY + COUNTS)
    assert quick_command(tmp_path, "slurm", FILE).returncode == 0
    assert loads(tmp_path) == 1
    assert f"sweeps run {FILE} --address" in (tmp_path / "tiny.sbatch").read_text()
