"""TrialQueue: the interface of the queues of trials, for sweeps and for studies."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from quantlab import ConfigurationError
from sweeps.placement.packing import Packing
from sweeps.running.other_commands import OtherCommands
from sweeps.running.retries import Retries
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState


class TrialQueue(ABC):
    """The trials of a sweep or of a study, which the driver distributes to workers.

    A trial is pending from the call of `next` that returns it until `ended` is called for it.
    `retry` puts a pending trial back into the queue if it has retries left. A trial that another
    command trains is elsewhere until it has ended there, or until that command stops or dies.
    """

    def __init__(self, storage: Storage, *, retries: int, packing: Packing) -> None:
        """Create a queue without pending trials.

        Args:
            storage: the storage of the trials, which other commands may use at the same time.
            retries: how many times a trial is retried if its process dies.
            packing: how many trials are trained as one pack.
        """
        self._storage = storage
        self._packing = packing
        self._retries = Retries(retries)
        self._pending: dict[str, Cell] = {}
        self._others = OtherCommands(storage)
        self.on_ended_elsewhere: Callable[[Cell, TrialState], object] = self.ended
        """Called with a trial that another command has trained to its end, and with its state; it
        must call `ended`."""
        self.take: Callable[[Cell], object] = lambda cell: None
        """Called with a trial that is about to be trained; it may write its result instead."""
        self.fault: ConfigurationError | None = None
        """An error that ends the whole queue, such as a failing pruner or a lost database. `next`
        returns no more trials, and the driver stops the pending ones. None as long as there is no
        error."""

    def next(self) -> list[Cell]:
        """Return the trials to train now as one pack, or an empty list if none is ready."""
        for cell in self._others.returned():
            self._put_back(cell)
        while cells := self._next():
            if free := [cell for cell in cells if self._is_free(cell)]:
                return free
        return []

    @abstractmethod
    def _next(self) -> list[Cell]:
        """Return trials as `next` does, without regard to other commands; they are pending then."""

    def _is_free(self, cell: Cell) -> bool:
        """Return whether a pending trial is to be trained here, not by another command."""
        self.take(cell)
        state = self._others.state(cell)
        if state is TrialState.RUNNING:
            self.leave(cell)
        elif state is not None:
            self.on_ended_elsewhere(cell, state)
        return state is None

    def leave(self, cell: Cell) -> None:
        """Leave a pending trial to another command, which trains it, for as long as it does."""
        if self._pending.pop(cell.fingerprint, None) is not None:
            self._others.add(cell)

    @property
    def elsewhere(self) -> list[Cell]:
        """Trials that other commands trained when this one looked last."""
        return self._others.training

    @abstractmethod
    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        """Record the end of a trial.

        Args:
            cell: the trial.
            state: the state in which it ended.

        Returns:
            Trials that fail too, because they need its network.
        """

    @abstractmethod
    def cell(self, fingerprint: str) -> Cell:
        """Return the trial with the given fingerprint."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether no trial is pending or elsewhere, and `next` will return no more trials."""

    @abstractmethod
    def _put_back(self, cell: Cell) -> None:
        """Put a trial that was pending back into the queue."""

    @property
    def num_waiting(self) -> int:
        """Number of trials that wait for the network of another trial."""
        return 0

    def should_prune(self, fingerprint: str) -> bool:
        """Whether to stop a pending trial because of its learning curve so far."""
        return False

    @property
    def pending(self) -> list[Cell]:
        """Trials that `next` has returned and that have not ended."""
        return list(self._pending.values())

    def is_pending(self, cell: Cell) -> bool:
        """Whether `next` has returned a trial and it has not ended."""
        return cell.fingerprint in self._pending

    def retry(self, cell: Cell, *, counts: bool = True, of_pack: bool = False) -> bool:
        """Put a pending trial whose process died back into the queue, if it has retries left.

        Args:
            cell: a pending trial.
            counts: see `Retries.grant`.
            of_pack: see `Retries.grant`.

        Returns:
            Whether the trial will be retried. If not, the caller must call `ended` for it.
        """
        if not self._retries.grant(cell.fingerprint, counts=counts, of_pack=of_pack):
            return False
        if self._pending.pop(cell.fingerprint, None) is not None:
            self._others.forgive(cell)
            self._put_back(cell)
        return True

    def limit_packs(self, cell: Cell, size: int) -> bool:
        """Limit the size of packs that do not fit into memory.

        Args:
            cell: a trial of such a pack; the limit applies to all trials with its pack key.
            size: the maximum number of trials in a pack.

        Returns:
            Whether this is lower than the limit so far.
        """
        return self._packing.limit(self._packing.pack_key(cell), size)

    def _pack_key(self, cell: Cell) -> str:
        """Return the key that trials of one pack share; the fingerprint if it is trained alone."""
        is_alone = self._retries.is_alone(cell.fingerprint)
        return cell.fingerprint if is_alone else self._packing.pack_key(cell)
