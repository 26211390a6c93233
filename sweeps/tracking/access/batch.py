"""What is logged to a run in one request, within MLflow's limits.

A server needs about as long for a request with one entry as for one with a hundred.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflow.entities import Metric, Param, RunTag

ENTRIES = 1000
"""MLflow's limit for the params, metrics and tags of a request together."""
TEXTS = 100
"""MLflow's limit for the params of a request, and for its tags."""


@dataclass(frozen=True)
class Batch:
    """What is logged to a run in one request, or a part of that."""

    params: tuple[Param, ...] = ()
    metrics: tuple[Metric, ...] = ()
    tags: tuple[RunTag, ...] = ()

    def __add__(self, other: "Batch") -> "Batch":
        """Return a batch with what both have."""
        return Batch(
            self.params + other.params, self.metrics + other.metrics, self.tags + other.tags
        )

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self.params) + len(self.metrics) + len(self.tags)

    @property
    def is_within_limits(self) -> bool:
        """Whether MLflow accepts it in one request."""
        return self.size <= ENTRIES and max(len(self.params), len(self.tags)) <= TEXTS


def joined(parts: Iterable[Batch]) -> Iterator[Batch]:
    """Join parts into as few requests as MLflow accepts, in their order, and each as a whole."""
    batch = Batch()
    for part in parts:
        longer = batch + part
        if batch.size and not longer.is_within_limits:
            yield batch
            longer = part
        batch = longer
    if batch.size:
        yield batch
