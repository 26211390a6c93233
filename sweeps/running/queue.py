"""TrialQueue: the interface of the queues of trials, for sweeps and for studies."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from quantlab import ConfigurationError
from sweeps.control.gate import Gate
from sweeps.control.requests import Request
from sweeps.placement.packing import Packing
from sweeps.running.other_commands import OtherCommands
from sweeps.running.retries import Retries
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState


class TrialQueue(ABC):
    """The trials of a sweep or of a study, which the driver distributes to workers.

    A trial is pending from the call of `next` that returns it until `ended` is called for it.
    `retry` puts a pending trial back into the queue if it has retries left. A trial that another
    command trains is elsewhere until it has ended there, or until that command stops or dies. One
    that is paused is kept until it is resumed, and one that is cancelled is dropped.
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
        self.on_failed: Callable[[Cell], object] = lambda cell: None
        """Called with each trial that has failed."""
        self.on_dropped: Callable[[Cell], object] = lambda cell: None
        """Called with each trial that is STOPPED, as nothing needs it, while it is not pending."""
        self.gate: Gate | None = None
        """The requests to pause or cancel trials; None if nobody can make any."""
        self._paused: dict[str, Cell] = {}
        """Trials that would be ready if they were not paused."""
        self.cancelled: dict[str, Request] = {}
        """Fingerprint of a trial that this command trains no more -> the request because of which:
        to cancel it, or a trial whose network it needs."""
        self.fault: ConfigurationError | None = None
        """An error that ends the whole queue, such as a failing pruner or a lost database. `next`
        returns no more trials, and the driver stops the pending ones. None as long as there is no
        error."""

    def next(self) -> list[Cell]:
        """Return the trials to train now as one pack, or an empty list if none is ready."""
        self._resume()
        for cell in self._others.returned():
            self._put_back(cell)
        if self.gate is not None and (self.gate.all_paused or self.gate.all_cancelled):
            return []  # and a study suggests nothing
        while cells := self._next():
            open_cells = [cell for cell in cells if self._is_open(cell)]
            if free := [cell for cell in open_cells if self._is_free(cell)]:
                return free
        return []

    def _resume(self) -> None:
        """Put trials back that are not paused any more, and drop those that are cancelled."""
        if self.gate is None:
            return
        for fingerprint, cell in list(self._paused.items()):
            if not self.gate.paused(fingerprint) or self.gate.cancelled(fingerprint):
                del self._paused[fingerprint]
                self._put_back(cell)
        for cell in self.elsewhere:
            if (request := self.gate.cancelled(cell.fingerprint)) is not None:
                self._others.forget(cell)
                self._drop(cell, request)

    def _is_open(self, cell: Cell) -> bool:
        """Return whether a pending trial may be trained; otherwise, it is not pending any more."""
        if self.gate is None:
            return True
        if (request := self.gate.cancelled(cell.fingerprint)) is not None:
            del self._pending[cell.fingerprint]
            self._drop(cell, request)
            return False
        if self.gate.paused(cell.fingerprint) is not None:
            self._paused[cell.fingerprint] = self._pending.pop(cell.fingerprint)
            return False
        return True

    def _drop(self, cell: Cell, request: Request) -> None:
        """Train a trial that is neither ready nor pending no more in this command."""
        self.cancelled[cell.fingerprint] = request

    def halt(self, cell: Cell) -> None:
        """Put a pending trial back that its worker has stopped because of a request."""
        if self._pending.pop(cell.fingerprint, None) is not None:
            self._others.forgive(cell)
            self._put_back(cell)

    def is_paused(self) -> bool:
        """Whether there is nothing to do until trials are resumed."""
        self._resume()
        if self.gate is None or self._pending or self.elsewhere:
            return False
        return self.gate.all_paused is not None or bool(self._paused and not self._is_ready)

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
    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether `_next` could return a trial that has been put back or has never started."""

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
