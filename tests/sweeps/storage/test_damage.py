"""Damaged files: no traceback, no wrong number, and a line that says what is done.

A small storage is damaged in hundreds of ways. The commands that read it may leave out what is
damaged, but show nothing that is not so, and write nothing; `sweeps run` trains again what has to
be, to the same end.
"""

import io
import os
import shutil
import warnings
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from quantlab import EpochRecord, OptimizerSpec, Recipe, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.initial_weights import TrialWeights
from quantlab.models.mlp import MLP
from quantlab.schedules import Constant
from sweeps.planning.plan import describe, plan_of
from sweeps.reporting.frames import histograms_frame, history_frame, trials_frame
from sweeps.reporting.maps import maps_frame
from sweeps.spec import Block, SweepSpec
from sweeps.storage import Storage
from sweeps.storage.damage import forget_warnings
from sweeps.storage.trial_states import states_of
from sweeps.worker.trial import run_trial
from tests.quantlab.recipes import quantized

DAMAGES = 1000 if "QUANTLAB_CHAOS" in os.environ else 100


def tiny(**changes: object) -> Recipe:
    settings = {
        "model": MLP(hidden=(4,)),
        "dataset": Digits(train_images=40, validation_images=20, test_images=20),
        "epochs": 1,
        "batchnorm_epochs": 1,
        "batch_size": 20,
    }
    return quantized(**(settings | changes))


PARENT = tiny()
CHILD = replace(tiny(), initial_weights=TrialWeights(fingerprint(PARENT)))
SWEEP = SweepSpec(
    name="damage",
    blocks=(
        Block("parent", base=PARENT),
        Block("child", base=CHILD),
        Block("interrupted", base=replace(CHILD, epochs=3)),
        Block("diverged", base=tiny(optimizer=OptimizerSpec(learning_rate=Constant(1e30)))),
    ),
    seeds=(0,),
)
BY_BLOCK = {cell.block: cell for cell in SWEEP.cells}
INTERRUPTED = BY_BLOCK["interrupted"]
TRAINED = {INTERRUPTED.fingerprint, BY_BLOCK["parent"].fingerprint}
"""Damage to these is what training meets."""


class Killed(BaseException):
    """Ends a trial as `kill -9` would."""


def train(storage: Storage, kill_after: int | None = None) -> None:
    """What `sweeps run` would, one trial after the other."""

    def report(record: EpochRecord) -> None:
        if record.epoch == kill_after:
            raise Killed

    states = states_of(SWEEP.cells, storage)
    for cell in SWEEP.cells:
        if states[cell.fingerprint].is_finished:
            continue
        folder = storage.trial(cell.fingerprint)
        with warnings.catch_warnings(), suppress(Killed):
            warnings.simplefilter("ignore")
            run_trial(
                cell.recipe,
                folder,
                data_dir=storage.root,
                report=report if cell is INTERRUPTED else lambda record: None,
                checkpoint_seconds=0,
            )


@dataclass
class Read:
    """All that people see of a storage."""

    trials: dict[str, dict[str, Any]]
    epochs: list[tuple[Any, ...]]
    finished: int
    lines: list[str]


def read(storage: Storage, *, maps: bool = False) -> Read:
    """As `plan`, `status` and `report` do."""
    forget_warnings()
    printed = io.StringIO()
    with redirect_stderr(printed):
        plan = plan_of(SWEEP, storage)
        describe(plan)
        trials = trials_frame(SWEEP, storage)
        history = history_frame(SWEEP, storage).drop(columns="seconds")  # differs if trained again
        if maps:
            histograms_frame(SWEEP, storage, list(trials["configuration_id"]))
            maps_frame(SWEEP, storage, list(trials["configuration_id"]))
    return Read(
        {row["name"]: row for row in trials.to_dict("records")},
        list(history.fillna(-1).itertuples(index=False, name=None)),  # NaN is not equal to itself
        plan["finished"],
        printed.getvalue().splitlines(),
    )


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    storage = Storage(tmp_path_factory.mktemp("intact"))
    train(storage, kill_after=3)
    return storage


@pytest.fixture(scope="module")
def whole(intact: Storage, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """The same without any damage."""
    storage = Storage(tmp_path_factory.mktemp("whole"))
    shutil.copytree(intact.root, storage.root, dirs_exist_ok=True)
    train(storage)
    return storage


def damage(root: Path, random: Random) -> tuple[str, list[Path]]:
    """Do something to a file; says what, and gives all that may have changed."""
    files = sorted(path for path in root.glob("trials/*/*") if path.name != ".lock")
    file, other = random.sample(files, 2)
    content = file.read_bytes()
    start = random.randrange(len(content))
    end = min(len(content), start + random.choice((1, 1, 8, 100, 1000)))
    lines = content.splitlines(keepends=True)
    kind = random.choice(
        (
            "flip",
            "cut",
            "delete",
            "insert",
            "nul",
            "double",
            "line",
            "type",
            "folder",
            "swap",
            "gone",
        )
    )
    if kind == "flip":
        changed = bytearray(content)
        changed[start] ^= 1 << random.randrange(8)
        file.write_bytes(changed)
    elif kind == "cut":
        file.write_bytes(content[:start])
    elif kind == "delete":
        file.write_bytes(content[:start] + content[end:])
    elif kind == "insert":
        file.write_bytes(content[:start] + random.randbytes(end - start) + content[start:])
    elif kind == "nul":
        file.write_bytes(content[:start] + bytes(end - start) + content[end:])
    elif kind == "double":
        file.write_bytes(content[:end] + content[start:])
    elif kind == "line":
        lines.pop(random.randrange(len(lines)))
        file.write_bytes(b"".join(lines))
    elif kind == "type":
        types = (
            b"[]\n",
            b"{}\n",
            b"null\n",
            b"1e999\n",
            b'"x"\n',
            b"\xff\xfe\n",
            b"\n\n",
            b"[" * 9999,
        )
        file.write_bytes(random.choice(types))
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "swap":
        if random.random() < 0.7:  # for one that looks like it
            alike = [path for path in files if path.name == file.name and path != file]
            other = random.choice(alike or [other])
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    else:
        file.unlink()
    changed = [file, other] if kind == "swap" else [file]
    return f"{kind} {start} {end} {' '.join(str(path) for path in changed)}", changed


def contents(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}


def states(found: Read) -> list[str]:
    return [row["state"] for row in found.trials.values()]


def networks(storage: Storage) -> list[str]:
    """Digests of all that were trained."""
    results = [storage.trial(cell.fingerprint).result.read() for cell in SWEEP.cells]
    return [result.weights_sha256 for result in results if result is not None]


def check_shown(found: Read, right: Read) -> None:
    """Every number that is there is the right one."""
    finished = 0
    for name, row in found.trials.items():
        expected = right.trials[name]
        if row["state"] in ("COMPLETE", "DIVERGED"):
            finished += 1
            for key in ("state", "epochs", "bits", "git_commit", "test_accuracy"):
                assert str(row[key]) == str(expected[key])
        else:
            assert np.isnan(row["test_accuracy"])
            assert row["epochs"] <= expected["epochs"]
    assert found.finished <= finished
    assert len(set(found.epochs)) == len(found.epochs)
    assert set(found.epochs) <= set(right.epochs)


def test_no_damage_gives_a_traceback_or_a_wrong_number(
    intact: Storage, whole: Storage, tmp_path: Path
) -> None:
    random = Random(1)
    before, to_its_end = read(intact, maps=True), read(whole, maps=True)
    assert not before.lines
    assert not to_its_end.lines
    for number in range(DAMAGES):
        root = tmp_path / str(number)
        shutil.copytree(intact.root, root)
        storage = Storage(root)
        what, damaged = damage(root, random)
        try:
            files = contents(root)
            names = {path.name for path in damaged}
            found = read(storage, maps="history.jsonl" in names and number % 4 == 0)
            check_shown(found, before)
            assert contents(root) == files, "reading has written"
            assert all(any(str(path) in line for path in damaged) for line in found.lines)
            if TRAINED & {path.parent.name for path in damaged} or states(found) != states(before):
                train(storage)
                assert networks(storage) == networks(whole)
                if number % 4 == 0:
                    check_shown(read(storage), to_its_end)
        except BaseException as error:
            error.add_note(f"damage {number}: {what}")
            raise
        shutil.rmtree(root)
