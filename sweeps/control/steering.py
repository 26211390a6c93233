"""Steering: how a user steers a command that trains, beside the resources of the trials."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sweeps.control.budget import Budget
from sweeps.control.listener import Listener
from sweeps.control.meter import Meter
from sweeps.spec import Cell
from sweeps.storage.folder import Storage


def _nobody(trial: str, reason: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Steering:
    """How a user steers a command that trains."""

    budget: Budget | None = None
    """A time that all commands on the storage may spend on the sweep; None for no limit."""
    outside: int = 0
    """Number of unfinished trials that a budget of trials leaves out."""
    first: Sequence[str] = ()
    """Conditions on the trials to train first; see `sweeps.control.priorities`."""
    on_failure: Callable[[str, str], object] = field(default=_nobody)
    """Called with the name of each trial that fails, and with the reason."""

    def limit(
        self,
        listener: Listener,
        cells: Callable[[], Sequence[Cell]],
        storage: Storage,
        *,
        counts_gpus: bool,
    ) -> None:
        """Let a listener end the command when the budget is spent, and look once now.

        Args:
            listener: the listener of the command.
            cells: returns the trials of the sweep or study, as far as they are known.
            storage: the storage of the trials.
            counts_gpus: whether the time of GPUs counts, and not that of slots.
        """
        if self.budget is not None and self.budget.seconds is not None:
            meter = Meter(self.budget, cells, storage, counts_gpus=counts_gpus)
            listener.limit = meter.ending
            listener.look()
            listener.notes = [f"{meter.spent} of the budget of {self.budget} were spent before"]

    def tell_failure(self, cell: Cell, storage: Storage) -> None:
        """Tell of a trial that has failed."""
        failure = storage.trial(cell.fingerprint).failure.read()
        self.on_failure(cell.name, "" if failure is None else failure.error)


UNSTEERED = Steering()
"""Without a budget, in the order of the sweep, and without notices."""
