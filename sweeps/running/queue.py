"""TrialQueue: which trials are trained next, and what becomes of those that ended."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from quantlab import ConfigurationError
from sweeps.placement.packing import Packing
from sweeps.running.retries import Retries
from sweeps.spec import Cell
from sweeps.storage.folder import TrialState


@dataclass(frozen=True)
class Tally:
    """How far a sweep or a study is."""

    done: int
    """Trials or configurations that have a result."""
    total: int
    left: int
    """What is still to be tried; what has failed is neither done nor left."""
    what: str
    """What is counted, with a space before it; empty for trials."""


class TrialQueue(ABC):
    """The trials of a sweep or of a study, as the driver hands them to workers.

    A trial is pending from the moment when `next` returns it until `ended` is called for it. It
    goes back into the queue when `retry` allows it.
    """

    def __init__(self, *, retries: int, packing: Packing) -> None:
        """Nothing is pending yet.

        Args:
            retries: how often a trial is trained again whose process died.
            packing: how many trials of a kind are trained as one pack.
        """
        self._packing = packing
        self._retries = Retries(retries)
        self._pending: dict[str, Cell] = {}
        self.fault: ConfigurationError | None = None
        """What keeps the whole queue from going on, such as a pruner that fails or a database that
        is gone; no more is handed out then, and what is pending is to be stopped."""

    @abstractmethod
    def next(self) -> list[Cell]:
        """Trials to be trained now as one pack; empty if there are none at the moment."""

    @abstractmethod
    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        """Take note of how a trial has ended.

        Returns:
            Trials that failed with it, because they start from its network.
        """

    @abstractmethod
    def cell(self, fingerprint: str) -> Cell:
        """One of the trials, by its fingerprint."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether no trial is pending, and none will be handed out any more."""

    @abstractmethod
    def _put_back(self, cell: Cell) -> None:
        """Make a trial that was pending ready again."""

    @property
    def num_waiting(self) -> int:
        """Trials that cannot be trained yet, because their initial weights are still missing."""
        return 0

    def should_prune(self, fingerprint: str) -> bool:
        """Whether a pending trial need not be trained to its end, by its learning curve so far."""
        return False

    @property
    def pending(self) -> list[Cell]:
        """Trials that were handed out and have not ended."""
        return list(self._pending.values())

    def is_pending(self, cell: Cell) -> bool:
        """Whether a trial was handed out and has not ended."""
        return cell.fingerprint in self._pending

    def retry(self, cell: Cell, *, counts: bool = True, of_pack: bool = False) -> bool:
        """Take back a trial whose training was cut short, if it may be trained again.

        Args:
            cell: a pending trial.
            counts: see `Retries.grant`.
            of_pack: see `Retries.grant`.

        Returns:
            Whether it will be handed out again; if not, `ended` has yet to be called for it.
        """
        if not self._retries.grant(cell.fingerprint, counts=counts, of_pack=of_pack):
            return False
        if self._pending.pop(cell.fingerprint, None) is not None:
            self._put_back(cell)
        return True

    def limit_packs(self, cell: Cell, size: int) -> bool:
        """Hand out no larger packs with trials like this one, which do not fit into memory.

        Returns:
            Whether the limit is a new one.
        """
        return self._packing.limit(self._packing.kind(cell), size)

    def _kind(self, cell: Cell) -> str:
        """What a trial has in common with those it is packed with; its own name if with none."""
        is_alone = self._retries.is_alone(cell.fingerprint)
        return cell.fingerprint if is_alone else self._packing.kind(cell)
