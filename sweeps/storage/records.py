"""The records of a trial folder: dataclasses that are stored as JSON, one per file or line.

A new field needs a default, which applies to files without the field. A field that changes its
meaning requires a higher ``VERSION`` of its record, so that older programs refuse the file.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from quantlab.optim.histogram import WeightHistogram
from quantlab.tasks.classification import Classification
from quantlab.training.records import EpochRecord, measured
from quantlab.update_rules import Point
from sweeps.storage.sealed_json import plain


class TrialState(Enum):
    """The state of a trial; see `analysis.columns.STATES`."""

    WAITING = "WAITING"
    """The trial has not started."""
    RUNNING = "RUNNING"
    """A process trains the trial now."""
    INTERRUPTED = "INTERRUPTED"
    """The trial has started and has not ended, but no process trains it now."""
    COMPLETE = "COMPLETE"
    """The trial has a result."""
    DIVERGED = "DIVERGED"
    """The loss became infinite or NaN, which is a result too."""
    FAILED = "FAILED"
    """The last attempt ended with an error."""
    STOPPED = "STOPPED"
    """A study has pruned the trial."""

    @property
    def is_finished(self) -> bool:
        """Whether the trial is COMPLETE or DIVERGED."""
        return self in (TrialState.COMPLETE, TrialState.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class Epoch(EpochRecord):
    """An epoch of a trial: a line of ``history.jsonl``."""

    VERSION: ClassVar[int] = 1
    weight_histogram: WeightHistogram | None = None
    """None in older histories."""
    sharpness_after: float = math.nan
    """NaN in older histories."""
    latent_distance: float = math.nan
    flip_rate: float = math.nan
    flip_rate_median: float = math.nan
    flip_distance: float = math.nan
    """NaN in older histories, all four."""
    data_content: str = ""
    """Hash of the dataset, as in `Result`."""
    time: float
    """Time at which the epoch ended, in seconds since 1970."""

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise ValueError(f"epoch = {self.epoch}")

    def require_plausible(self) -> None:
        """Check values of a text without a digest; see `sealed_json.MayBeImplausible`."""
        _require_possible("validation", self.validation)


class History(list[Epoch]):
    """The intact epochs of a trial in order, each of them once."""

    def __init__(self, epochs: Iterable[Epoch], *, total: int | None = None) -> None:
        """Sort epochs, and remove repeated ones.

        Args:
            epochs: the intact epochs.
            total: number of epochs according to the result of a finished trial; None without one.
        """
        found = {epoch.epoch: epoch for epoch in epochs}
        super().__init__(found[number] for number in sorted(found))
        gaps = (place for place, epoch in enumerate(self) if epoch.epoch != place + 1)
        self.leading: int = next(gaps, len(self))
        """Number of epochs before the first missing one."""
        self.is_whole = self.leading == len(self) == (len(self) if total is None else total)
        """Whether no epoch is known to be missing."""

    @property
    def seconds(self) -> float:
        """Training time of all epochs, in seconds; NaN if epochs are missing."""
        return sum((epoch.seconds for epoch in self), 0.0) if self.is_whole else math.nan


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The command that trains a trial, and its code."""

    command: str = ""
    """The command line, such as ``sweeps run digits --pack 9``; empty in older records."""
    folder: str = ""
    """The folder in which the command was started; empty in older records."""
    sources: str = ""
    """Digest of the archive with the user's code, see `sweeps.storage.source_archive`; empty if
    there is none."""
    job: str = ""
    """The job of a batch system in which the command runs, such as ``SLURM job 77``; empty outside
    of one, and in older records."""


NO_ORIGIN = Origin()
"""Of a trial that no command trains, but a program of the user."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt to train a trial, from its begin to its end or, so far, to now.

    `Running` has that of a trial that is trained now, `Result` the one that finished a trial, and
    ``attempts.jsonl`` all others.
    """

    VERSION: ClassVar[int] = 1
    began: float
    """Time at which it began, in seconds since 1970."""
    seconds: float = 0.0
    """How long it took, in seconds."""
    slot_seconds: float = 0.0
    """Its share of them, in seconds: that of a trial in a pack of n trials is 1 / n."""
    lost_seconds: float = 0.0
    """The part of `slot_seconds` after the last checkpoint, if it did not end in an orderly way: a
    later attempt has to train this again."""
    cpus: float = 0.0
    """CPUs that were reserved for the trial or its pack; 0 if it is unknown."""
    gpus: float = 0.0
    """GPUs that were reserved for the trial or its pack."""
    pack: int = 1
    """Number of trials in the pack with which it began."""
    number: int = 1
    """Number of this attempt among those of the trial, beginning with 1."""
    state: TrialState = TrialState.RUNNING
    """How it ended: COMPLETE, DIVERGED or FAILED; INTERRUPTED if it was stopped, or if its process
    died; RUNNING if it has not ended."""
    died: bool = False
    """Whether its process died, so that its end is the last sign of life."""
    machine: str = ""
    """Name of the machine that trained."""
    command: str = ""
    """The command line; empty if no command trained the trial, but a program of the user."""
    user: str = ""
    """See `Running`, as the following."""
    host: str = ""
    process: int = 0
    job: str = ""
    command_id: str = ""

    @property
    def was_disturbed(self) -> bool:
        """Whether it failed, or its process died."""
        return self.died or self.state is TrialState.FAILED


@dataclass(frozen=True, kw_only=True)
class Computed(Origin):
    """The command, the hardware and the software that computed a record."""

    device: str = ""
    """Torch device and its name, such as ``cpu (x86_64)``."""
    processor: str = ""
    """See `sweeps.storage.provenance.processor_name`; empty in older records."""
    execution: str = ""
    """`quantlab.execution.Execution` as text."""
    host: str = ""
    """Name of the machine."""
    git_commit: str = ""
    """See `sweeps.storage.provenance.git_commit`."""
    packages: str = ""
    """Names and versions of packages, as a JSON object."""


@dataclass(frozen=True, kw_only=True)
class Result(Computed):
    """The result of a finished trial: ``result.json``."""

    VERSION: ClassVar[int] = 1
    state: TrialState
    """COMPLETE or DIVERGED."""
    time: float
    """Time at which the trial ended, in seconds since 1970."""
    epochs: int
    """Number of finished epochs."""
    steps: int = 0
    """Number of finished gradient steps."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """Metrics on the validation images by their names, such as ``accuracy``, which is a fraction;
    empty without images, and for a diverged trial. They are stored as ``validation_accuracy``."""
    test: Mapping[str, float] = field(default_factory=dict)
    """Metrics on the test images by their names; empty for a diverged trial."""
    bits: float | None = None
    """See `quantlab.training.records.Outcome`; None in older results."""
    network_bits: float | None = None
    """See `quantlab.training.records.Outcome`; None in older results."""
    file_bytes: int | None = None
    """Bytes of the file that `sweeps export` writes; None in older results, and if the network
    cannot be exported."""
    code_bits: float | None = None
    """Bits of a quantized weight in this file, with its share of levels and scales; 32 in full
    precision, None as `file_bytes`."""
    compression: float | None = None
    """Bytes of all tensors in float32, divided by `file_bytes`; None as `file_bytes`."""
    classes: int | None = None
    """See `quantlab.training.records.Outcome`; None in older results."""
    dimensions: str = ""
    """Dimensions of the network's inputs and targets as JSON; empty in older results."""
    training_images: int | None = None
    """See `quantlab.training.records.Outcome`; None in older results."""
    selected_epoch: int | None = None
    """See `quantlab.training.records.Outcome`; None if the last epoch was selected."""
    error: str = ""
    """How the trial diverged; empty for a complete one."""
    last_finite_loss: float | None = None
    """Last finite loss of a diverged trial; None if the first loss was infinite or NaN."""
    warning: str = ""
    """A warning to readers of the result; empty if there is none."""
    pack: int = 1
    """Number of trials in the pack with which the trial ended."""
    pack_members: tuple[str, ...] = ()
    """Fingerprints of these trials in order; empty for a trial alone, and in older results."""
    data_content: str = ""
    """Hash of the dataset, see `quantlab.datasets.content`; empty in older results."""
    weights_sha256: str = ""
    """Digest of ``weights.pt``; empty in older results."""
    attempt: Attempt | None = None
    """The attempt that finished the trial; None in older results."""
    memory_gib: float | None = None
    """See `sweeps.worker.peak_memory.PeakMemory`, of the process that trained the trial or its
    pack; None in older results, and where it cannot be measured."""
    gpu_memory_gib: float | None = None
    """The same of the GPU; None without one, and in older results."""

    def __post_init__(self) -> None:
        if not self.state.is_finished:
            raise ValueError(f"state = {self.state.value}")
        if self.epochs < 0:
            raise ValueError(f"epochs = {self.epochs}")
        if self.state is TrialState.COMPLETE and not self.test:
            raise ValueError("metrics on the test images, such as test_accuracy, are missing")

    def require_plausible(self) -> None:
        """Check values of a text without a digest; see `sealed_json.MayBeImplausible`."""
        _require_possible("validation", self.validation)
        _require_possible("test", self.test)

    @property
    def validation_accuracy(self) -> float | None:
        """Accuracy on the validation images, a fraction; None without one."""
        return self.validation.get("accuracy")

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy on the test images, a fraction; None without one."""
        return self.test.get("accuracy")

    def as_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for the objectives of a study; the state is text."""
        return {**values_of(self), "state": self.state.value}


@dataclass(frozen=True, kw_only=True)
class Failure(Computed):
    """The failure of the last attempt of a trial: ``failure.json``."""

    VERSION: ClassVar[int] = 1
    error: str
    """The reason, in one line."""
    time: float
    """Time of the failure, in seconds since 1970."""
    traceback: str = ""
    """Traceback of Python; empty if there is none."""
    is_transient: bool = False
    """Whether another attempt may succeed, as after an error of a disk."""


@dataclass(frozen=True, kw_only=True)
class Running(Origin):
    """The command that trains a trial now: ``running.json``."""

    VERSION: ClassVar[int] = 1
    user: str = ""
    """Who started the command; empty if the user has no name."""
    host: str = ""
    """The machine on which the command runs; the trial may be trained on another one."""
    process: int = 0
    """The number of the command's process on this machine; 0 if it is unknown."""
    command_id: str = ""
    """Random text that identifies the command, also among those on machines of the same name with
    equal numbers of their processes, as in containers; empty in older records."""
    attempt: Attempt | None = field(default=None, compare=False)
    """The attempt in progress, without the fields that this record has; its times are those of
    `last_sign`. None in older records."""
    last_sign: float = field(default=0.0, compare=False)
    """Time of the last sign of life of the process that trains, in seconds since 1970; 0 in older
    records, which have no times of the attempt either."""
    sharing: int = field(default=0, compare=False)
    """Number of trials that shared the slot then: those of the pack that had not ended; 0 in older
    records."""
    saved: float = field(default=0.0, compare=False)
    """Time of the last checkpoint of the attempt; 0 if there was none yet, and in older records."""

    @property
    def identity(self) -> tuple[str, int, str]:
        """What no two commands that run now have in common."""
        return self.host, self.process, self.command_id

    def __str__(self) -> str:
        user = f" of {self.user}" if self.user else ""
        job = f", {self.job}" if self.job else ""
        return f"`{self.command}`{user} on {self.host}, process {self.process}{job}"


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The study that pruned a trial: ``stopped.json``."""

    VERSION: ClassVar[int] = 1
    by: str
    """The study, such as ``study digits``."""
    time: float
    """Time at which the trial was pruned, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What the tracking server has of a trial: ``delivery.json``."""

    VERSION: ClassVar[int] = 1
    uri: str
    """The server, see `sweeps.tracking.uri.TrackingServer.identity`; in older records, the URI as
    it was given."""
    experiment_id: str = ""
    """The experiment of the run; empty in older records."""
    run_id: str
    """The run of the trial."""
    epoch: int
    """The last epoch that the server has."""
    state: str
    """The state of the trial that the server has; empty if it has none yet."""


def values_of(record: Epoch | Result) -> dict[str, Any]:
    """Return the values of a record by the names that they are stored under, without NaN.

    Attempts are left out; see `sweeps.spending`.
    """
    values: dict[str, Any] = plain(record)
    values.pop("attempt", None)
    for split in ("validation", "test"):
        values |= {f"{split}_{name}": value for name, value in values.pop(split, {}).items()}
    return values


_METRICS = {
    name: metric
    for metric in Classification().metrics
    for name in (metric.name, *(measured(metric.name, point) for point in Point))
}
"""Name of a value, at a point or of the finished network -> its metric."""


def _require_possible(split: str, values: Mapping[str, float]) -> None:
    """Check values of metrics that are at a point or of the finished network.

    In an old text, they are metrics of the release. Others may have metrics of the user with equal
    names and other values, such as an accuracy in percent.
    """
    for name, value in values.items():
        metric = _METRICS.get(name)
        if metric is None or value != value:
            continue
        if not (metric.least or 0.0) <= value <= (metric.most or math.inf):
            raise ValueError(f"{split}_{name} = {value!r}")
