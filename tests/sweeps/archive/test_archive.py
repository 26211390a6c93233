"""Finished trials in an archive: written once, checked when they are read, and taken from there."""

import io
import math
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem

from quantlab import ConfigurationError
from sweeps.archive.archive import Archive, is_same_result
from sweeps.archive.place import ArchiveError, place_of
from sweeps.archive.taking import Taking, take_finished, take_one
from sweeps.archive.trial_file import TrialFile, unpack
from sweeps.archive.upload import Upload, uploading
from sweeps.loading import load_sweep
from sweeps.placement.packing import ALONE
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import SweepSpec
from sweeps.spending.attempts import attempts_of, keep
from sweeps.storage import Storage, TrialFolder, TrialState, damage
from sweeps.storage.records import Attempt, Running
from sweeps.storage.sealed_json import DamagedError
from sweeps.tracking.delivery import Delivery
from tests.conftest import Command, Ran
from tests.services import S3Server, s3_server, wait_until
from tests.sweeps.trial_files import ended

WEIGHTS = "weights.pt"


@pytest.fixture
def sweep(tiny: Ran) -> SweepSpec:
    return load_sweep(str(tiny.folder / "tiny.py"))


@pytest.fixture
def trained(tiny: Ran) -> Storage:
    """The storage of `tiny`, which nobody changes."""
    return Storage(tiny.folder / "runs")


def new_folder(path: Path) -> str:
    """Make a folder for an archive, and return its URL."""
    path.mkdir()
    return path.as_uri()


@pytest.fixture
def local(tmp_path: Path, sweep: SweepSpec, trained: Storage) -> Archive:
    """An archive in a folder, with all trials."""
    damage.forget_warnings()
    archive = Archive(new_folder(tmp_path / "archive"))
    assert all(archive.put(trained.trial(cell.fingerprint)) for cell in sweep.cells)
    return archive


def contents(folder: TrialFolder) -> dict[str, bytes]:
    """The files that an archive has of a trial."""
    names = ("result.json", "recipe.json", "history.jsonl", "sources.zip", WEIGHTS)
    return {name: (folder.path / name).read_bytes() for name in names}


def object_of(archive: Archive, fingerprint: str) -> Path:
    """The file of a trial in an archive in a folder."""
    (found,) = archive.objects()[fingerprint]
    return Path(found.path)


def test_a_new_storage_takes_what_another_has_archived(
    tiny: Ran,
    tmp_path: Path,
    quick_command: Command,
    storage_with_store: Callable[[Path], Path],
    sweep: SweepSpec,
    trained: Storage,
) -> None:
    url = f"memory://{tmp_path.name}"
    for written in (6, 0):
        done = quick_command(tiny.folder, "archive", "tiny.py", "--archive", url)
        assert done.returncode == 0, done.stderr
        assert f"tiny: {written} trials written\n{url}: has 6 of 6 trials\n" == done.stdout
    new = storage_with_store(tmp_path / "new")
    where = ("tiny.py", "--storage", str(new), "--archive", url)
    assert (
        f"6 of the finished trials are in {url}"
        in quick_command(tiny.folder, "plan", *where).stdout
    )
    done = quick_command(tiny.folder, "status", *where)
    assert done.returncode == 1
    assert f"6 WAITING\n{url}: has 6 of 6 trials" in done.stdout
    done = quick_command(tiny.folder, "run", *where)
    assert done.returncode == 0, done.stderr
    assert f"6 trials taken from {url}\ntiny: 6 trials, 0 to run\n" in done.stdout
    for cell in sweep.cells:
        own = Storage(new).trial(cell.fingerprint)
        assert contents(own) == contents(trained.trial(cell.fingerprint))
        assert own.delivery.exists()  # MLflow has it, too
        assert not list(own.path.glob("*.partial"))
    done = quick_command(tiny.folder, "archive", *where, "--check")
    assert (done.returncode, done.stdout) == (
        0,
        f"tiny: 6 trials intact\n{url}: has 6 of 6 trials\n",
    )


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_at_a_file(path: Path) -> None:
    """Leave out the last file of a trial, as a whole."""
    data = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(data[: last.offset] + bytes(1024))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def give_another(path: Path) -> None:
    """Put the object of another trial in its place."""
    other = next(one for one in path.parents[1].glob("*/*.tar") if one != path)
    shutil.copyfile(other, path)


def change(path: Path) -> None:
    """Change a byte of the network."""
    with tarfile.open(path) as tar:
        network = tar.getmember(WEIGHTS)
    data = bytearray(path.read_bytes())
    data[network.offset_data + network.size // 2] ^= 1  # beyond it is padding without an effect
    path.write_bytes(data)


def rename(path: Path) -> None:
    """Give it the name of another result."""
    path.rename(path.with_name("0123456789abcdef.tar"))


@pytest.mark.parametrize(
    "harm",
    [truncate, cut_at_a_file, empty, give_another, change, rename],
    ids=lambda one: one.__name__,
)
def test_a_damaged_object_is_named_and_not_trusted(
    harm: Callable[[Path], None],
    local: Archive,
    sweep: SweepSpec,
    trained: Storage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cell, *others = sweep.cells
    harm(object_of(local, cell.fingerprint))
    new = Storage(tmp_path / "new")
    assert take_finished(local, sweep.cells, new) == len(others)
    name = object_of(local, cell.fingerprint).relative_to(tmp_path / "archive")
    errors = capsys.readouterr().err
    assert f"sweeps: warning: {local.url}/{name}: cannot be used (" in errors
    assert errors.count("\n") == 1
    assert new.trial(cell.fingerprint).state() is TrialState.WAITING
    assert {path.name for path in new.trial(cell.fingerprint).path.iterdir()} == {".lock"}
    assert all(new.trial(one.fingerprint).is_done() for one in others)
    assert local.num_intact(local.objects()[cell.fingerprint]) == 0
    assert local.put(trained.trial(cell.fingerprint))
    assert local.num_intact(local.objects()[cell.fingerprint]) == 1
    assert not local.put(trained.trial(cell.fingerprint))


def test_a_damaged_object_keeps_no_trial_out_that_was_trained_again(
    local: Archive, sweep: SweepSpec, trained: Storage, tmp_path: Path
) -> None:
    name = sweep.cells[0].fingerprint
    change(object_of(local, name))
    again = copy_with_another_result(trained, name, tmp_path / "again")
    assert local.put(again)
    assert [local.num_intact([one]) for one in local.objects()[name]] in ([0, 1], [1, 0])
    new = Storage(tmp_path / "new")
    assert take_finished(local, sweep.cells, new) == len(sweep.cells)
    assert contents(new.trial(name)) == contents(again)


def test_a_trial_without_its_recipe_keeps_no_other_one_out(
    tiny_copy: Path, quick_command: Command, tmp_path: Path
) -> None:
    first, *_ = load_sweep(str(tiny_copy / "tiny.py")).cells
    folder = Storage(tiny_copy / "runs").trial(first.fingerprint)
    folder.recipe.unlink()
    url = new_folder(tmp_path / "archive")
    done = quick_command(tiny_copy, "archive", "tiny.py", "--archive", url)
    assert done.returncode == 1
    assert done.stdout.startswith("tiny: 5 trials written\n")
    assert f"sweeps: error: {first.name}: {folder.recipe}: is missing" in done.stderr


def test_a_check_writes_damaged_objects_again_that_the_storage_has(
    local: Archive, sweep: SweepSpec, tiny: Ran, quick_command: Command, tmp_path: Path
) -> None:
    change(object_of(local, sweep.cells[0].fingerprint))
    check = ("archive", "tiny.py", "--archive", local.url, "--check")
    line = f"{local.url}: has 6 of 6 trials\n"
    elsewhere = quick_command(tiny.folder, *check, "--storage", str(tmp_path / "empty"))
    assert (elsewhere.returncode, elsewhere.stdout) == (1, f"tiny: 5 trials intact\n{line}")
    assert "`sweeps archive --check` in the storage that wrote it" in elsewhere.stderr
    done = quick_command(tiny.folder, *check)
    expected = f"tiny: 5 trials intact, 1 written again\n{line}"
    assert (done.returncode, done.stdout) == (1, expected)
    done = quick_command(tiny.folder, *check)
    assert (done.returncode, done.stdout) == (0, f"tiny: 6 trials intact\n{line}")


def test_every_changed_byte_is_noticed_or_without_effect(
    trained: Storage, sweep: SweepSpec, tmp_path: Path
) -> None:
    folder = trained.trial(sweep.cells[0].fingerprint)
    file, whole = TrialFile(folder), io.BytesIO()
    file.write(whole)
    assert len(whole.getvalue()) == file.num_bytes
    chance, noticed = random.Random(0), 0
    for number in range(60):
        data = bytearray(whole.getvalue())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        target = TrialFolder(tmp_path / str(number) / folder.fingerprint)
        target.make()
        try:
            unpack(io.BytesIO(data), target, file.digest)
        except DamagedError:
            noticed += 1
            assert not list(target.path.iterdir())
        else:
            assert contents(target) == contents(folder)
    assert noticed > 20


def test_names_of_files_cannot_lead_out_of_a_trial_folder(
    trained: Storage, sweep: SweepSpec, tmp_path: Path
) -> None:
    folder = trained.trial(sweep.cells[0].fingerprint)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(folder.path / WEIGHTS, "../outside")
    target = TrialFolder(tmp_path / "trials" / folder.fingerprint)
    target.make()
    with pytest.raises(DamagedError):
        unpack(io.BytesIO(data.getvalue()), target, "0")
    assert [path.name for path in tmp_path.iterdir()] == ["trials"]


def copy_with_another_result(
    trained: Storage, fingerprint: str, root: Path, **changes: object
) -> TrialFolder:
    """The folder of a trial that was trained again, in another storage."""
    folder = Storage(root).trial(fingerprint)
    shutil.copytree(trained.trial(fingerprint).path, folder.path)
    result = folder.result.read()
    assert result is not None
    folder.result.write(replace(result, time=result.time + 1, **changes))  # type: ignore[arg-type]
    return folder


def test_the_first_result_of_a_trial_stays(
    local: Archive,
    trained: Storage,
    sweep: SweepSpec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, other_name = (cell.fingerprint for cell in sweep.cells[:2])
    same = copy_with_another_result(trained, name, tmp_path / "same")
    assert not local.put(same)
    assert capsys.readouterr().err == ""
    differs = copy_with_another_result(
        trained, other_name, tmp_path / "differs", test={"accuracy": 0.125}
    )
    assert not local.put(differs)
    assert "has another result of the trial, computed on" in capsys.readouterr().err
    assert {len(found) for found in local.objects().values()} == {1}


def test_two_commands_that_write_a_trial_do_not_disturb_each_other(tmp_path: Path) -> None:
    require_undisturbed(tmp_path.as_uri())


def require_undisturbed(url: str) -> None:
    """Let writers of a file fail while another one writes it, and afterwards."""
    place = place_of(url)
    path = f"{place.folder}/trials/a/b.tar"

    def fail() -> None:
        with pytest.raises(ArchiveError, match="2 of 4 bytes"), place.writing(path, 4) as cut:
            cut.write(b"sa")
        with suppress(KeyboardInterrupt), place.writing(path, 4) as cut:
            cut.write(b"sa")
            raise KeyboardInterrupt

    with place.writing(path, 4) as stream:
        stream.write(b"same")
        fail()
    fail()
    assert [info.path for info in place.files_in("trials")] == [path]
    with place.reading(path) as stream:
        assert stream.read(9) == b"same"


class Unkind(MemoryFileSystem):  # type: ignore[misc]
    """A file system whose errors are those of a package, as those of paramiko are."""

    protocol = "unkind"

    class Error(Exception):
        pass

    def _open(self, path: str, *arguments: object, **options: object) -> object:
        raise self.Error("the server has closed\nthe connection")


class Unreachable(MemoryFileSystem):  # type: ignore[misc]
    """A file system that needs a connection at once."""

    protocol = "unreachable"

    def __init__(self, *arguments: object, **options: object) -> None:
        raise Unkind.Error("no banner")


def test_errors_of_any_package_are_one_line(
    sweep: SweepSpec, trained: Storage, tiny: Ran, quick_command: Command
) -> None:
    for each in (Unkind, Unreachable):
        register_implementation(each.protocol, each, clobber=True)
    with pytest.raises(ArchiveError, match="unkind://x: the server has closed the connection"):
        Archive("unkind://x").put(trained.trial(sweep.cells[0].fingerprint))
    done = quick_command(tiny.folder, "run", "tiny.py", "--archive", "unreachable://x")
    assert done.returncode == 3
    assert done.stderr == "sweeps: error: --archive unreachable://x: no banner\n"


def test_results_without_a_value_are_the_same() -> None:
    result = replace(ended(TrialState.COMPLETE), validation={"loss": math.nan})
    assert is_same_result(result, replace(result, validation={"loss": float("nan")}))
    assert not is_same_result(result, replace(result, validation={"loss": 1.0}))


def test_results_that_contradict_each_other_are_named_and_not_trusted(
    local: Archive,
    trained: Storage,
    sweep: SweepSpec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two storages may write a trial at the same moment, and each sees no object of the other."""
    agrees, contradicts, *_ = (cell.fingerprint for cell in sweep.cells)
    second = Archive(new_folder(tmp_path / "second"))
    second.put(copy_with_another_result(trained, agrees, tmp_path / "other"))
    second.put(
        copy_with_another_result(trained, contradicts, tmp_path / "other", test={"accuracy": 0.125})
    )
    shutil.copytree(tmp_path / "second", tmp_path / "archive", dirs_exist_ok=True)
    new = Storage(tmp_path / "new")
    assert take_finished(local, sweep.cells, new) == len(sweep.cells) - 1
    assert contents(new.trial(agrees)) == contents(trained.trial(agrees))  # the earlier one
    assert new.trial(contradicts).state() is TrialState.WAITING
    assert "neither is used; remove the wrong one" in capsys.readouterr().err


def test_a_damaged_object_contradicts_no_whole_one(
    local: Archive, trained: Storage, sweep: SweepSpec, tmp_path: Path
) -> None:
    """A storage that cannot take it trains the trial again, with other bits on other hardware."""
    name = sweep.cells[0].fingerprint
    change(object_of(local, name))
    other = {"test": {"accuracy": 0.125}}
    again = copy_with_another_result(trained, name, tmp_path / "again", **other)
    assert local.put(again)
    new = Storage(tmp_path / "new")
    assert take_finished(Archive(local.url), sweep.cells, new) == len(sweep.cells)
    assert contents(new.trial(name)) == contents(again)


def test_a_check_names_results_that_contradict_each_other(
    local: Archive, trained: Storage, sweep: SweepSpec, quick_command: Command, tmp_path: Path
) -> None:
    name = sweep.cells[0].fingerprint
    second = Archive(new_folder(tmp_path / "second"))
    other = {"test": {"accuracy": 0.125}}
    second.put(copy_with_another_result(trained, name, tmp_path / "other", **other))
    shutil.copytree(tmp_path / "second", tmp_path / "archive", dirs_exist_ok=True)
    check = ("archive", "tiny.py", "--archive", local.url, "--check")
    done = quick_command(trained.root.parent, *check)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "tiny: 7 trials intact")
    assert "neither is used; remove the wrong one" in done.stderr


def test_attempts_to_train_a_trial_are_kept_when_it_is_taken(
    trained: Storage, sweep: SweepSpec, tmp_path: Path
) -> None:
    """Otherwise, a budget would forget what they have cost."""
    name = sweep.cells[0].fingerprint
    source, new = Storage(tmp_path / "source").trial(name), Storage(tmp_path / "new")
    shutil.copytree(trained.trial(name).path, source.path)
    elsewhere = Attempt(began=1e9, seconds=60, machine="a", state=TrialState.FAILED)
    died = Attempt(began=2e9, seconds=7200, machine="b")
    here = Attempt(began=1.5e9, seconds=600, machine="b", state=TrialState.INTERRUPTED)
    for has_others in (False, True):
        archive = Archive(new_folder(tmp_path / f"archive {has_others}"))
        if has_others:
            keep(source, elsewhere)
        archive.put(source)
        new.require_writable()
        folder = new.trial(name)
        folder.make()
        keep(folder, here)
        folder.running.write(Running(attempt=died, last_sign=2e9 + 7200))
        assert take_one(archive, archive.objects_of(name), new)
        *earlier, last = attempts_of(folder)
        assert [attempt.seconds for attempt in earlier] == [600, 7200] + [60] * has_others
        assert [last] == attempts_of(trained.trial(name))
        assert not folder.running.exists()
        shutil.rmtree(folder.path)


def test_a_folder_that_is_not_mounted_is_no_empty_archive(
    local: Archive, trained: Storage, sweep: SweepSpec, tmp_path: Path
) -> None:
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    with pytest.raises(ConfigurationError, match="there is no such folder; create it, mount"):
        local.objects()
    with pytest.raises(ArchiveError, match="there is no such folder; create it, mount"):
        local.put(trained.trial(sweep.cells[0].fingerprint))
    assert not (tmp_path / "archive").exists()


def test_networks_of_other_sweeps_are_taken_for_trials_that_start_from_them(
    local: Archive, sweep: SweepSpec, tmp_path: Path
) -> None:
    from quantlab.initial_weights import TrialWeights

    parent = sweep.cells[-1]
    child = replace(parent.recipe, initial_weights=TrialWeights(parent.fingerprint))
    own = replace(
        sweep, name="own", base=None, blocks=(replace(sweep.blocks[0], base=child),), seeds=(7,)
    )
    new = Storage(tmp_path / "new")
    assert take_finished(local, own.cells, new) == 1
    assert new.trial(parent.fingerprint).intact_weights().exists()


def test_a_queue_takes_a_trial_just_before_it_would_be_trained(
    local: Archive, sweep: SweepSpec, tmp_path: Path
) -> None:
    new = Storage(tmp_path / "new")
    queue = CellQueue(sweep.cells, new, packing=ALONE)
    queue.take = Taking(local, new)
    ended = []
    queue.on_ended_elsewhere = lambda cell, state: (
        ended.append((cell.name, state)),
        queue.ended(cell, state),
    )
    object_of(local, sweep.cells[2].fingerprint).unlink()
    assert queue.next() == [sweep.cells[2]]
    assert queue.next() == []
    assert len(ended) == 5
    assert {state for _, state in ended} == {TrialState.COMPLETE}


def test_what_is_damaged_here_is_not_archived(
    tiny_copy: Path, quick_command: Command, sweep: SweepSpec, tmp_path: Path
) -> None:
    cell = sweep.cells[0]
    weights = tiny_copy / "runs" / "trials" / cell.fingerprint / WEIGHTS
    weights.write_bytes(b"?" + weights.read_bytes()[1:])
    url = new_folder(tmp_path / "archive")
    done = quick_command(tiny_copy, "archive", "tiny.py", "--archive", url, "--json")
    assert done.returncode == 1
    assert f"sweeps: error: {cell.name}: {weights}: is damaged" in done.stderr
    assert '"trials": 5' in done.stdout
    assert '"missing": 1' in done.stdout


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("backup/here", "must be a URL, such as s3://bucket/folder or file:///folder"),
        ("nowhere://x", "must be a URL of S3 (s3://), Google Cloud Storage (gs://)"),
        ("s3://AKIA123:hunter2hunter@bucket/x", "s3://bucket/x: must not contain a key"),
        ("s3://AKIA123hunter2@bucket/x", "s3://bucket/x: must not contain a key"),
        ("s3://bucket/x?secret_key=hunter2", "s3://bucket/x: must not contain a key"),
        ("s3://bucket/x?colour=red", "colour"),
    ],
)
def test_a_wrong_url_is_told_in_a_line_without_secrets(
    url: str, says: str, tiny: Ran, quick_command: Command
) -> None:
    done = quick_command(tiny.folder, "run", "tiny.py", "--archive", url)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    damage.forget_warnings()
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_an_outage_of_the_archive_delays_its_trials(
    s3: S3Server,
    sweep: SweepSpec,
    trained: Storage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = Archive(f"s3://{s3.bucket}/some/folder")
    first, *others = sweep.cells
    delivery = Delivery(Upload(archive, trained), retry_seconds=0.05)
    delivery.announce(first)
    wait_until("the first trial is there", lambda: first.fingerprint in archive.objects())
    s3.accept(False)
    for cell in others:
        delivery.announce(cell)
    wait_until("a trial is refused", lambda: delivery.last_error != "")
    s3.accept(True)
    every = {cell.fingerprint for cell in sweep.cells}
    # A request that is refused after `finish` would be the last one for its trial.
    wait_until("all trials are there", lambda: archive.objects().keys() == every)
    delivery.finish()
    assert delivery.left == []
    assert all(archive.num_intact(objects) == 1 for objects in archive.objects().values())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sweeps: warning: --archive {archive.url}: ")
    assert "; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line
    assert "training continues, and the archive is tried again" in line
    new = Storage(tmp_path / "new")
    assert take_finished(archive, sweep.cells, new) == len(sweep.cells)
    for file in new.root.rglob("*"):
        assert not file.is_file() or s3.secret.encode() not in file.read_bytes(), file


def test_without_an_answer_nothing_is_trained_that_the_archive_may_have(
    s3: S3Server, tiny: Ran, quick_command: Command, tmp_path: Path, sweep: SweepSpec
) -> None:
    archive, new = Archive(f"s3://{s3.bucket}"), Storage(tmp_path / "new")
    assert take_finished(archive, sweep.cells, new) == 0
    s3.accept(False)
    assert take_finished(archive, sweep.cells, new) == 0  # it was compared with this one before
    where = ("tiny.py", "--storage", str(tmp_path / "other"), "--archive", f"s3://{s3.bucket}")
    done = quick_command(tiny.folder, "run", *where)
    assert done.returncode == 3
    assert "sweeps: error: --archive s3://results: The AWS Access Key Id you" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bucket_is_not_created_and_what_is_in_one_stays(s3: S3Server) -> None:
    require_undisturbed(f"s3://{s3.bucket}/folder")
    with pytest.raises(ConfigurationError, match="there is no bucket 'missing'; create it"):
        Archive("s3://missing/x").objects()


def test_a_stopped_sweep_does_not_wait_for_its_whole_archive(
    trained: Storage, sweep: SweepSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Archive(new_folder(tmp_path / "archive"))
    many = sweep.cells * 50
    with pytest.raises(KeyboardInterrupt), uploading(archive, many, trained):
        raise KeyboardInterrupt
    assert len(archive.objects()) < len(sweep.cells)
    assert "finished trials not in the archive yet; run the" in capsys.readouterr().err
    with uploading(archive, sweep.cells, trained) as (delivery,):
        pass
    assert delivery.left == []
    assert len(archive.objects()) == len(sweep.cells)
