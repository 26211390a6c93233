"""PackReport: what a worker tells the driver about a pack of trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sweeps.storage.folder import TrialState

_KEY = "pack_report"
"""Tune passes on dictionaries; the report stands under this key."""


@dataclass(frozen=True)
class PackReport:
    """How far a pack is, after some seconds of training."""

    running: tuple[str, ...] = ()
    """Fingerprints of the trials that have not ended."""
    ended: Mapping[str, TrialState] = field(default_factory=dict)
    """Fingerprint -> state, of the trials that have ended since the last report."""
    largest: int | None = None
    """The largest packs that fit into memory, where this one did not; None if it did."""
    unable: str = ""
    """Why this worker cannot train anything; empty if it can."""

    def as_result(self) -> dict[str, Any]:
        """The report as a part of Tune's result."""
        return {_KEY: self}

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> Self:
        """The report in one of Tune's results.

        Raises:
            KeyError: Tune made the result itself, and there is no report in it.
        """
        report = result[_KEY]
        assert isinstance(report, cls)
        return report
