"""A storage that an earlier release has left is finished: nothing is trained anew, nothing is lost.

`kept_storage` holds a sweep file and its storage with a finished trial, one that was stopped within
its third epoch, and one that was never begun.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import torch

from sweeps.loading import load_sweep
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.records import Epoch
from sweeps.storage.trial_states import states_of
from sweeps.tracking.tracker import Tracker
from sweeps.worker.trial import run_trial

KEPT = Path(__file__).parent / "kept_storage"
FINGERPRINTS = ("b105e4df502b9fb4", "0c91ba345da60333", "c55c9488af8a0110")
"""Finished, stopped, never begun."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    shutil.copytree(KEPT, tmp_path / "kept")
    return tmp_path / "kept"


def cells_of(folder: Path) -> tuple[Cell, Cell, Cell]:
    finished, stopped, new = load_sweep(str(folder / "kept.py")).cells
    return finished, stopped, new


def content_of(folder: TrialFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.path.iterdir()}


def numbers_of(epoch: Epoch) -> tuple[float, float, float]:
    return epoch.train_loss, epoch.validation_accuracy_proximal, epoch.quantization_gap


def test_its_trials_are_found(kept: Path) -> None:
    cells = cells_of(kept)
    assert tuple(cell.fingerprint for cell in cells) == FINGERPRINTS
    states = states_of(cells, Storage(kept / "runs"))
    expected = (TrialState.COMPLETE, TrialState.INTERRUPTED, TrialState.WAITING)
    assert states == dict(zip(FINGERPRINTS, expected, strict=True))


def test_its_interrupted_trial_goes_on_from_its_checkpoint(kept: Path, tmp_path: Path) -> None:
    finished, stopped, _ = cells_of(kept)
    storage = Storage(kept / "runs")
    before = content_of(storage.trial(finished.fingerprint))
    folder = storage.trial(stopped.fingerprint)
    kept_lines = folder.history.read_text().splitlines()
    assert len(kept_lines) == 2
    epochs: list[int] = []
    run_trial(
        stopped.recipe,
        folder,
        data_dir=tmp_path,
        report=lambda record: epochs.append(record.epoch),
    )
    assert epochs == [3, 4, 5]
    assert folder.history.read_text().splitlines()[:2] == kept_lines
    assert folder.state() is TrialState.COMPLETE
    assert content_of(storage.trial(finished.fingerprint)) == before

    whole = Storage(tmp_path / "whole").trial(stopped.fingerprint)
    run_trial(stopped.recipe, whole, data_dir=tmp_path)
    of_kept, of_whole = (
        [numbers_of(epoch) for epoch in of.read_history()] for of in (folder, whole)
    )
    weights = [torch.load(of.weights, weights_only=True) for of in (folder, whole)]
    if of_kept[:2] == of_whole[:2]:  # a processor that computes as the one of that time
        assert of_kept == of_whole
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    for one, other in zip(of_kept, of_whole, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=0.05)


@pytest.mark.slow
def test_its_trials_arrive_in_mlflow(
    kept: Path, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    finished, stopped, _ = cells_of(kept)
    storage = Storage(kept / "runs")
    run_trial(stopped.recipe, storage.trial(stopped.fingerprint), data_dir=tmp_path)
    uri = empty_database(tmp_path / "mlflow.db")
    tracker = Tracker("kept", storage, uri)
    assert tracker.outdated([finished, stopped]) == [finished, stopped]
    for cell in (finished, stopped):
        tracker.deliver(cell)
    assert not tracker.outdated([finished, stopped])
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("kept")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["fingerprint"] for run in runs} == set(FINGERPRINTS[:2])
    for run in runs:
        assert run.info.status == "FINISHED"
        curve = client.get_metric_history(run.info.run_id, "train_loss")
        assert [point.step for point in curve] == [1, 2, 3, 4, 5]
