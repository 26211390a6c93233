"""Run preflight and print its notes, before any trial starts."""

from pathlib import Path

from sweeps.planning.preflight import preflight
from sweeps.printing import streams
from sweeps.spec import Cell
from sweeps.storage.folder import Storage


def check_before_training(
    cells: list[Cell], storage: Storage, data_dir: Path, *, runs_here: bool, replicas: int = 1
) -> None:
    """Check trials before any of them starts, and print notes on their networks.

    Args:
        cells: the trials to train.
        storage: the storage of the trials.
        data_dir: folder of the datasets and of files with weights.
        runs_here: whether trials run on the CPU, as this process does.
        replicas: number of processes that train each trial together.

    Raises:
        ConfigurationError: a trial would fail; see `preflight`.
    """
    with streams.each_line_once():
        notes = preflight(cells, storage, data_dir, runs_here=runs_here, replicas=replicas)
    for note in notes:
        print(note, flush=True)
