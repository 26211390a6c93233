"""What an MLflow run shows of a trial: its name, params, tags and metrics.

`Tracker._find_or_create` in `sweeps.tracking.tracker` creates the run.

MLflow's params cannot be changed once they are logged. So a run whose labels differ from the
sweep's is replaced (see `sweeps.tracking.tracker`).
"""

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlflow.entities import Metric, Run, RunTag

from quantlab import EpochRecord, flatten
from sweeps.coordinates import level_set, rho0
from sweeps.spec import Cell
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import (
    Epoch,
    Failure,
    History,
    Result,
    Stopped,
    TrialState,
    values_of,
)
from sweeps.storage.sealed_json import plain
from sweeps.tracking.access.batch import Batch
from sweeps.tracking.views import CONFIGURATION

RUNNING, FINISHED = "RUNNING", "FINISHED"
"""Status of a run whose trial has not ended, and of one whose trial has a result."""
STATUS = {
    TrialState.COMPLETE: FINISHED,
    TrialState.DIVERGED: FINISHED,
    TrialState.FAILED: "FAILED",
    TrialState.STOPPED: "KILLED",
}
"""State of a trial that has ended -> status of its run; the status of any other is `RUNNING`."""
EPOCH_METRICS = tuple(field.name for field in fields(EpochRecord) if field.type is float)
"""Metrics of an epoch besides those of the task: every measured number of the core's record."""

FINAL_METRICS = (
    "selected_epoch",
    "file_bytes",
    "code_bits",
    "compression",
)
"""Metrics of a complete trial, besides those of its task and the training time; those that it does
not have are left out."""

FINAL_TAGS = (
    "git_commit",
    "device",
    "execution",
    "pack",
    "host",
    "error",
    "warning",
    "by",
    "state",
)
"""Tags of a trial that has ended, besides ``package.NAME`` for the versions of packages."""

LONGEST_KEY = 250
LONGEST_NAME = 250
"""Longest name of a run, in characters, that every database accepts."""
LONGEST_TAG = 5000
LONGEST_PARAM = 6000


@dataclass(frozen=True)
class RecordedState:
    """The state of a trial, with the record in its folder that says so."""

    state: TrialState
    record: Result | Failure | Stopped | None
    """The record of its end; None while it is trained, and if the file is damaged."""

    @property
    def status(self) -> str:
        """Status of its MLflow run."""
        return STATUS.get(self.state, RUNNING)

    @property
    def end_time(self) -> int | None:
        """When it ended, in milliseconds since 1970 as in MLflow; two trainings differ in it."""
        return None if self.record is None else int(1000 * self.record.time)


def recorded_state(folder: TrialFolder) -> RecordedState:
    """Read the state of a trial from its folder."""
    if (result := folder.result.read()) is not None:
        return RecordedState(result.state, result)
    state = folder.state()
    if state is TrialState.FAILED:
        return RecordedState(state, folder.failure.read())
    if state is TrialState.STOPPED:
        return RecordedState(state, folder.stopped.read())
    return RecordedState(state, None)


def configuration(cell: Cell) -> str:
    """Return the name of a trial without its seed, such as ``PC ternary rho0=0.01``."""
    return configuration_of(cell.name, cell.recipe.seed)


def configuration_of(name: str, seed: object) -> str:
    """Return the name of a trial, see `sweeps.spec.Cell.name`, without its seed."""
    return name.removesuffix(f" seed={seed}")


def trial_name(run: Run) -> str:
    """Return the name of the trial of a run, see `sweeps.spec.Cell.name`.

    For a run of an earlier release, it is the run's name.
    """
    if (named := run.data.tags.get(CONFIGURATION)) is None:
        return str(run.info.run_name or "")
    return f"{named} seed={run.data.params.get('seed', '')}".removesuffix(" seed=")


def run_name(cell: Cell) -> str:
    """Return the name of a trial's run in MLflow's UI."""
    return run_name_of(configuration(cell), cell.recipe.seed)


def run_name_of(configuration: str, seed: object) -> str:
    """Return the name of a run; the seed comes first, as the UI shortens names at their end."""
    return text(f"seed={seed} {configuration}", LONGEST_NAME)


def labels(cell: Cell) -> dict[str, str]:
    """Return the labels that the sweep file gives a trial.

    They are logged as params. MLflow's UI would draw a chart for every metric, and it cannot sort
    runs by tags.
    """
    value = rho0(cell)
    return _texts(
        {
            **cell.coordinates,
            "method": cell.method,
            "set": level_set(cell),
            "rho0": cell.coordinates.get("rho0", "") if value is None else f"{value:g}",
        },
        LONGEST_TAG,
    )


def params(cell: Cell) -> dict[str, str]:
    """Return the params of a run: the flattened recipe, which has the seed, and the labels."""
    return {**_texts(flatten(cell.recipe), LONGEST_PARAM), **labels(cell)}


def tags(cell: Cell, storage: str) -> dict[str, str]:
    """Return the tags of a run.

    Args:
        cell: the trial.
        storage: the storage's identity, see `sweeps.storage.Storage.mark`.
    """
    own = {
        "fingerprint": cell.fingerprint,
        CONFIGURATION: configuration(cell),
        "configuration_id": cell.configuration_id,
        "sweep": cell.sweep,
        "block": cell.block,
        "storage": storage,
    }
    return _texts(own, LONGEST_TAG)


def epoch_metrics(epoch: Epoch) -> dict[str, float]:
    """Return the metrics of one epoch; missing values are left out."""
    values = values_of(epoch)
    names = (*EPOCH_METRICS, *(f"validation_{name}" for name in epoch.validation))
    return {name: values[name] for name in names if values[name] is not None}


def epoch_part(epoch: Epoch) -> Batch:
    """Return what is logged of an epoch."""
    return Batch(
        metrics=tuple(
            Metric(key, value, int(1000 * epoch.time), epoch.epoch)
            for key, value in epoch_metrics(epoch).items()
        )
    )


def final_part(recorded: RecordedState, history: History, when: int) -> Batch:
    """Return what is logged of a trial that has ended, with its last epoch and a time in ms."""
    seconds = history.seconds if history.is_whole else None
    return Batch(
        metrics=tuple(
            Metric(key, value, when, len(history))
            for key, value in final_metrics(recorded, seconds).items()
        ),
        tags=tuple(RunTag(key, value) for key, value in final_tags(recorded).items()),
    )


def final_metrics(recorded: RecordedState, seconds: float | None) -> dict[str, float]:
    """Return the final metrics of a trial that has ended.

    Args:
        recorded: how it ended.
        seconds: training time of all epochs; None if some are missing.

    Returns:
        The metrics, see `rounded`.
    """
    finals: dict[str, float | None] = {"seconds_total": seconds}
    if isinstance(recorded.record, Result) and recorded.state is TrialState.COMPLETE:
        record, values = recorded.record, values_of(recorded.record)
        names = (
            *(f"validation_{name}" for name in record.validation),
            *(f"test_{name}" for name in record.test),
            *FINAL_METRICS,
        )
        finals |= {name: values[name] for name in names}
    return {key: rounded(value) for key, value in finals.items() if value is not None}


def rounded(value: float) -> float:
    """Round a final number, which MLflow's UI shows with all of its digits.

    The result has four decimals or, below 0.1, four significant digits. The trial folder has the
    number itself.
    """
    return float(f"{value:.4f}" if abs(value) >= 0.1 else f"{value:.4g}")


def final_tags(recorded: RecordedState) -> dict[str, str]:
    """Return the tags of a trial that has ended: its state, error, device and package versions."""
    outcome: dict[str, Any] = {} if recorded.record is None else plain(recorded.record)
    packages = json.loads(outcome.get("packages") or "{}")
    return _texts(
        {
            **{key: outcome[key] for key in FINAL_TAGS if outcome.get(key)},
            **{f"package.{name}": version for name, version in packages.items()},
            "state": recorded.state.value,
        },
        LONGEST_TAG,
    )


def text(value: object, longest: int) -> str:
    """Make a text that every store accepts: no lone surrogates, no NUL, and not too long."""
    written = str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return written if len(written) <= longest else written[: longest - 1] + "…"


def _texts(content: Mapping[str, object], longest: int) -> dict[str, str]:
    """Make keys and texts that every store accepts; keys that would become equal get a number."""
    result: dict[str, str] = {}
    for name, value in content.items():
        key = _key(name)
        number = 2
        while key in result:
            key = f"{_key(name)[: LONGEST_KEY - 4]}_{number}"
            number += 1
        result[key] = text(value, longest)
    return result


def _key(name: str) -> str:
    """Make a valid key: MLflow allows letters, digits and a few signs, and reads it as a path."""
    key = re.sub(r"[^\w/.\- :]", "_", name)[:LONGEST_KEY] or "_"
    if posixpath.normpath(key) != key or key.startswith((".", "/")):
        key = key.replace("/", "_").lstrip(".") or "_"
    return key
