"""What a run of MLflow's says of a trial: its names, params, tags and metrics.

Params never change once they are logged, so what the user may rename is compared with what a run
says; a run with other labels is another run (see `sweeps.tracking.tracker`).
"""

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from quantlab import EpochRecord, flatten
from sweeps.coordinates import level_set, rho0
from sweeps.spec import Cell
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Epoch, Failure, Result, Stopped, TrialState
from sweeps.storage.sealed_json import plain

STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.DIVERGED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.STOPPED: "KILLED",
}
"""MLflow's word for how a trial stands; others are RUNNING."""
EPOCH_METRICS = tuple(field.name for field in fields(EpochRecord) if field.type is float)
"""What is logged of an epoch: every measured number of the training core's record."""

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
"""Of a trial that has ended; those of its packages are called ``package.NAME``."""

LONGEST_KEY = 250
LONGEST_NAME = 250
"""Letters of a run's name that every database takes."""
LONGEST_TAG = 5000
LONGEST_PARAM = 6000


@dataclass(frozen=True)
class Standing:
    """How a trial stands, as its folder says."""

    state: TrialState
    record: Result | Failure | Stopped | None
    """What says so; None while it is trained, and where that is damaged."""

    @property
    def status(self) -> str:
        """MLflow's."""
        return STATUS.get(self.state, "RUNNING")

    @property
    def when(self) -> int | None:
        """When it ended, in milliseconds since 1970, as MLflow keeps it: two trainings differ."""
        return None if self.record is None else int(1000 * self.record.time)


def standing(folder: TrialFolder) -> Standing:
    """Read it off the folder."""
    if (result := folder.result.read()) is not None:
        return Standing(result.state, result)
    state = folder.state()
    if state is TrialState.FAILED:
        return Standing(state, folder.failure.read())
    if state is TrialState.STOPPED:
        return Standing(state, folder.stopped.read())
    return Standing(state, None)


def run_name(cell: Cell) -> str:
    """As MLflow's UI lists it."""
    return text(cell.name, LONGEST_NAME)


def labels(cell: Cell) -> dict[str, str]:
    """What the sweep's file calls the trial, as tags and params.

    The UI sorts runs by params and metrics, not by tags, and params only as text.
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
    """The recipe and the labels."""
    return {**_texts(flatten(cell.recipe), LONGEST_PARAM), **labels(cell)}


def tags(cell: Cell, storage: str) -> dict[str, str]:
    """What the trial is found by; labels that are called so are params only."""
    own = {
        "fingerprint": cell.fingerprint,
        "configuration_id": cell.configuration_id,
        "sweep": cell.sweep,
        "block": cell.block,
        "seed": cell.recipe.seed,
        "storage": storage,
    }
    return {**labels(cell), **_texts(own, LONGEST_TAG)}


def numbers(cell: Cell) -> dict[str, float]:
    """Coordinates that sort as numbers."""
    value = rho0(cell)
    return {"seed": cell.recipe.seed, **({} if value is None else {"rho0": value})}


def epoch_metrics(epoch: Epoch) -> dict[str, float]:
    """A point on each curve."""
    values = plain(epoch)
    return {name: values[name] for name in EPOCH_METRICS if values[name] is not None}


def final_metrics(stands: Standing, seconds: float | None) -> dict[str, float]:
    """What a trial that has ended has come to.

    Args:
        stands: how it ended.
        seconds: training time of all epochs; None where some are missing.
    """
    finals: dict[str, float | None] = {"seconds_total": seconds}
    if isinstance(stands.record, Result) and stands.state is TrialState.COMPLETE:
        finals["validation_accuracy"] = stands.record.validation_accuracy
        finals["test_accuracy"] = stands.record.test_accuracy
    return {key: value for key, value in finals.items() if value is not None}


def final_tags(stands: Standing) -> dict[str, str]:
    """How, where and with what a trial has ended."""
    outcome: dict[str, Any] = {} if stands.record is None else plain(stands.record)
    packages = json.loads(outcome.get("packages") or "{}")
    return _texts(
        {
            **{key: outcome[key] for key in FINAL_TAGS if outcome.get(key)},
            **{f"package.{name}": version for name, version in packages.items()},
            "state": stands.state.value,
        },
        LONGEST_TAG,
    )


def text(value: object, longest: int) -> str:
    """What every store takes: no lone surrogates, no NUL, and not too long."""
    written = str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return written if len(written) <= longest else written[: longest - 1] + "…"


def _texts(content: Mapping[str, object], longest: int) -> dict[str, str]:
    """With keys that every store takes; two that would become one stay two."""
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
    """MLflow takes a key for a path, and letters, digits and a few signs in it."""
    key = re.sub(r"[^\w/.\- :]", "_", name)[:LONGEST_KEY] or "_"
    if posixpath.normpath(key) != key or key.startswith((".", "/")):
        key = key.replace("/", "_").lstrip(".") or "_"
    return key
