"""What stands in a trial's folder as JSON: one typed record a file, or a line of a history.

A field that is added needs a default, with which files without it are read; one that changes its
meaning raises its record's ``VERSION``, by which an older program knows that it cannot read it.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, ClassVar

from quantlab.optim.histogram import WeightHistogram
from quantlab.training.records import EpochRecord


class TrialState(Enum):
    """How far a trial is; see `analysis.columns.STATES`."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    """A process trains it now."""
    INTERRUPTED = "INTERRUPTED"
    """It was begun and has not ended, and no process trains it now."""
    COMPLETE = "COMPLETE"
    DIVERGED = "DIVERGED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self in (TrialState.COMPLETE, TrialState.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class Epoch(EpochRecord):
    """A line of a trial's history."""

    VERSION: ClassVar[int] = 1
    weight_histogram: WeightHistogram | None = None
    """Older histories have none."""
    sharpness_after: float = math.nan
    """NaN in older histories."""
    data_content: str = ""
    """As in `Result`."""
    time: float
    """When it ended: seconds since 1970."""

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise ValueError(f"epoch = {self.epoch}")
        _require_fractions(
            self,
            "validation_accuracy_latent",
            "validation_accuracy_proximal",
            "validation_accuracy_hard",
        )


class History(list[Epoch]):
    """The intact epochs of a trial, each once, in their order."""

    def __init__(self, epochs: Iterable[Epoch], *, total: int | None = None) -> None:
        """Put them in order.

        Args:
            epochs: as they were found.
            total: of a finished trial, how many there were.
        """
        found = {epoch.epoch: epoch for epoch in epochs}
        super().__init__(found[number] for number in sorted(found))
        gaps = (place for place, epoch in enumerate(self) if epoch.epoch != place + 1)
        self.leading: int = next(gaps, len(self))
        """How many there are from the first on without a gap."""
        self.is_whole = self.leading == len(self) == (len(self) if total is None else total)
        """Whether none is missing that is known of."""

    @property
    def seconds(self) -> float:
        """Training time of all epochs; NaN where some are missing."""
        return sum((epoch.seconds for epoch in self), 0.0) if self.is_whole else math.nan


@dataclass(frozen=True, kw_only=True)
class Computed:
    """Where and with what something was computed."""

    device: str = ""
    execution: str = ""
    host: str = ""
    git_commit: str = ""
    packages: str = ""
    """Names and versions, as a JSON object."""


@dataclass(frozen=True, kw_only=True)
class Result(Computed):
    """How a finished trial has ended: ``result.json``."""

    VERSION: ClassVar[int] = 1
    state: TrialState
    """COMPLETE or DIVERGED."""
    time: float
    """When: seconds since 1970."""
    epochs: int
    """Epochs finished."""
    steps: int = 0
    """Gradient steps finished."""
    validation_accuracy: float | None = None
    """A fraction; None without validation images, and if it has diverged."""
    test_accuracy: float | None = None
    """None if it has diverged."""
    bits: float | None = None
    """See `quantlab.training.records.Outcome`; older results have none."""
    network_bits: float | None = None
    """The same."""
    classes: int | None = None
    """The same."""
    training_images: int | None = None
    """The same."""
    error: str = ""
    """How it diverged."""
    last_finite_loss: float | None = None
    """Of one that diverged; None if there was none."""
    warning: str = ""
    """What people should know who read its numbers."""
    pack: int = 1
    """Trials that were trained as one with it, itself included."""
    data_content: str = ""
    """See `quantlab.datasets.content`; older results have none."""
    weights_sha256: str = ""
    """Of the finished network's file; older results have none."""

    def __post_init__(self) -> None:
        if not self.state.is_finished:
            raise ValueError(f"state = {self.state.value}")
        if self.epochs < 0:
            raise ValueError(f"epochs = {self.epochs}")
        if self.state is TrialState.COMPLETE and self.test_accuracy is None:
            raise ValueError("test_accuracy is missing")
        _require_fractions(self, "validation_accuracy", "test_accuracy")

    def as_mapping(self) -> dict[str, Any]:
        """Its fields by name, as a study's objectives take them; the state as text."""
        return {**asdict(self), "state": self.state.value}


@dataclass(frozen=True, kw_only=True)
class Failure(Computed):
    """Why a trial's last attempt failed: ``failure.json``."""

    VERSION: ClassVar[int] = 1
    error: str
    """In one line, for people."""
    time: float
    """When: seconds since 1970."""
    traceback: str = ""
    """Python's own, if there is one."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Who has put a trial out of its race: ``stopped.json``."""

    VERSION: ClassVar[int] = 1
    by: str
    """Such as ``study digits``."""
    time: float
    """When: seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What the tracking server already has of a trial: ``delivery.json``."""

    VERSION: ClassVar[int] = 1
    uri: str
    """Of the server; see `sweeps.tracking.uri.TrackingServer.identity`. Older ones hold the URI as
    it was given."""
    experiment_id: str = ""
    """Of the experiment that the run is in; older ones do not say."""
    run_id: str
    epoch: int
    """The last epoch that it has."""
    state: str
    """Of the trial, as the server knows it; empty for none yet."""


def _require_fractions(record: object, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if value is not None and not (value != value or 0 <= value <= 1):
            raise ValueError(f"{name} = {value!r}")
