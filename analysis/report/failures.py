"""The failed trials on a report's page, by the reason for which they have failed."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FailedTrial:
    """A trial whose last attempt ended with an error."""

    name: str
    fingerprint: str
    reason: str
    """The error, in one line."""
    log: str = ""
    """Address of what the trial printed, relative to the page; empty if it printed nothing."""


def by_reason(failed: Iterable[FailedTrial]) -> list[tuple[str, list[FailedTrial]]]:
    """Return each reason with its trials, the most frequent reason first."""
    found: dict[str, list[FailedTrial]] = defaultdict(list)
    for trial in failed:
        found[trial.reason].append(trial)
    return sorted(found.items(), key=lambda item: -len(item[1]))
