"""PackReport: the report of a worker to the driver on a pack of trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sweeps.storage.folder import TrialState

_KEY = "pack_report"
"""The key of the report in Tune's result, which is a dictionary."""


@dataclass(frozen=True)
class PackReport:
    """The progress of a pack after a step of the worker."""

    running: tuple[str, ...] = ()
    """Fingerprints of the trials that have not ended."""
    ended: Mapping[str, TrialState] = field(default_factory=dict)
    """Fingerprint -> state of the trials that have ended since the last report."""
    elsewhere: tuple[str, ...] = ()
    """Fingerprints of the trials that were left out, as another command trains them."""
    halted: tuple[str, ...] = ()
    """Fingerprints of the trials that were stopped with their state saved, because a request pauses
    or cancels one of them."""
    continued: Mapping[str, int] = field(default_factory=dict)
    """Fingerprint -> number of finished epochs of the trials that have continued from a checkpoint
    since the last report."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    """Fingerprint -> number of finished epochs of the trials that have finished one since the last
    report."""
    largest: int | None = None
    """The size of the largest pack that may fit into memory, if this pack did not; else None."""
    memory_gib: float | None = None
    """The largest memory of this process for this pack so far, in GiB; None if it is not known."""
    setup_error: str = ""
    """Why this worker can train no trial; empty if it can."""

    lock: str = ""
    """Name of a lock that this worker holds for the driver to see, as its machine has joined the
    cluster later; empty after the first report."""
    host: str = ""
    """Name of the worker's machine, with `lock`."""

    def as_result(self) -> dict[str, Any]:
        """Return the report as a part of Tune's result."""
        return {_KEY: self}

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> Self:
        """Return the report in a result of Tune.

        Raises:
            KeyError: the result has no report, because Tune created the result itself.
        """
        report = result[_KEY]
        assert isinstance(report, cls)
        return report
