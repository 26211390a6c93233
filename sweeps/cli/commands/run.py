"""The command `sweeps run`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sweeps.cli.exit_codes import EXIT_CUT_SHORT, EXIT_ENDED_EARLY, EXIT_INCOMPLETE
from sweeps.cli.options import (
    selection_options,
    storage_folder,
    sweep_argument,
    training_arguments,
    training_options,
)
from sweeps.cli.parsing.control import budget_option, first_option, notice_options
from sweeps.cli.parsing.deciding import (
    deciding_options,
    margin_of,
    most_seeds_of,
    require_until_decided,
)
from sweeps.printing.number_of import number_of

if TYPE_CHECKING:
    from sweeps.control.listener import Ending, Listener
    from sweeps.control.notices import Notices
    from sweeps.spec import SweepSpec
    from sweeps.storage.folder import Storage

NAME = "run"
HELP = "Train the trials that have not finished."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep",))
    selection_options(command)
    storage_folder(command)
    training_options(command)
    budget_option(command)
    first_option(command)
    deciding_options(command)
    notice_options(command)


def run(options: argparse.Namespace) -> int:
    """Train the trials, print how they have ended, and return the exit code."""
    from sweeps.cli.chosen import load_chosen
    from sweeps.control.notices import Notices
    from sweeps.storage.folder import Storage

    require_until_decided(options)
    training = training_arguments(options)
    sweep = load_chosen(options, with_parents=True)
    run_ = _Run(options, training, sweep, Storage(options.storage))
    with Notices(
        sweep.name,
        on_end=options.on_end,
        on_failure=options.on_failure,
        facts=run_.facts,
    ) as notices:
        run_.notices = notices
        if options.until_decided:
            with run_.listening():
                ending = run_.train_until_decided(run_.train())
        else:
            ending = run_.train()
        return run_.end(ending)


class _Run:
    """A call of the command."""

    notices: "Notices"

    def __init__(
        self,
        options: argparse.Namespace,
        training: dict[str, Any],
        sweep: "SweepSpec",
        storage: "Storage",
    ) -> None:
        self._options = options
        self._training = training
        self._sweep = sweep
        self._storage = storage
        self._listener: Listener | None = None
        """Listens to requests during all rounds; None if there is only one."""
        self._has_trained = False
        self._failed: set[str] = set()
        """Trials that have failed in this command."""
        self._left = 0
        """Number of trials that a budget of trials leaves out."""
        self._warnings: list[str] = []
        """What was said about data that has changed."""

    @property
    def _source(self) -> str:
        """What loads the sweep; empty if only the options do, as its settings are changed."""
        return "" if self._options.set else str(self._options.sweep)

    def train(self, order: Sequence[str] = ()) -> "Ending | None":
        """Train what has not finished, as far as the budget allows.

        Args:
            order: fingerprints of trials to train first, in this order.

        Returns:
            Why some of them have not ended, although nothing is wrong; None if all have.
        """
        from sweeps.cli.summary import print_warnings
        from sweeps.control.priorities import within_budget
        from sweeps.control.steering import Steering
        from sweeps.planning.data_changes import data_warnings
        from sweeps.storage.trial_states import states_of

        options, sweep, storage = self._options, self._sweep, self._storage
        archive = self._training["archive"]
        if archive is not None:
            from sweeps.archive.taking import take_finished

            take_finished(archive, sweep.cells, storage)
        states = states_of(sweep.cells, storage)
        places = {name: place for place, name in enumerate(order)}
        without_result = [cell for cell in sweep.cells if not states[cell.fingerprint].is_finished]
        unfinished = sorted(
            (cell for cell in without_result if cell.fingerprint not in self._failed),
            key=lambda cell: places.get(cell.fingerprint, len(places)),
        )
        cells = within_budget(
            sweep,
            unfinished,
            options.budget,
            options.first,
            num_failed=len(without_result) - len(unfinished),
        )
        self._left = len(unfinished) - len(cells)
        trials = number_of(len(sweep.cells), "trial")
        print(f"{sweep.name}: {trials}, {len(cells)} to run", flush=True)
        if not self._warnings:
            self._warnings = data_warnings(sweep.cells, storage, options.data)
            print_warnings(self._warnings)
        # MLflow takes seconds to import and Ray more, so both are imported only if they are needed.
        if cells:
            from sweeps.running.grid import run_cells

            self._has_trained = True
            steering = Steering(
                budget=options.budget,
                outside=self._left,
                first=options.first,
                on_failure=self.notices.failed,
            )
            return run_cells(
                sweep,
                cells,
                storage,
                source=self._source,
                steering=steering,
                listener=self._listener,
                **self._training,
            )
        if not self._has_trained:
            self._bring_up_to_date()
        return None

    def _bring_up_to_date(self) -> None:
        """Record the sweep, and deliver what the tracking server and the archive do not have."""
        from sweeps.coordinates import main_metric
        from sweeps.inventory.known_sweeps import remember_sweep
        from sweeps.tracking.delivery import bring_up_to_date
        from sweeps.tracking.tracker import Tracker

        sweep, storage, archive = self._sweep, self._storage, self._training["archive"]
        remember_sweep(sweep, self._source, storage)
        name, metric = sweep.experiment or sweep.name, main_metric(sweep.cells)
        bring_up_to_date(Tracker(name, storage, self._options.tracking_uri, metric), sweep.cells)
        if archive is not None:
            from sweeps.archive.upload import uploading

            with uploading(archive, sweep.cells, storage):
                pass

    @contextmanager
    def listening(self) -> "Iterator[None]":
        """Listen to requests, and keep `sweeps rm` away, also between two rounds."""
        from sweeps.control.listener import listening

        storage, origin = self._storage, self._training["origin"]
        storage.require_writable()
        with (
            storage.locked(shared=True),
            listening(storage, self._sweep.name, origin) as self._listener,
        ):
            yield

    def train_until_decided(self, ending: "Ending | None") -> "Ending | None":
        """Train further seeds of the configurations of open questions, in rounds.

        Args:
            ending: why the sweep itself has not ended.

        Returns:
            Why there are open questions that may get further seeds; None if there are none.
        """
        from sweeps.deciding.progress import round_line
        from sweeps.deciding.record import record
        from sweeps.deciding.round import round_of, with_dependants
        from sweeps.storage.folder import TrialState
        from sweeps.storage.trial_states import states_of

        margin, most = margin_of(self._options), most_seeds_of(self._options)
        while ending is None and not self._left:
            states = states_of(self._sweep.cells, self._storage)
            self._failed |= {name for name in states if states[name] is TrialState.FAILED}
            found = round_of(self._sweep, self._storage, margin / 100, most)
            record(
                self._sweep.name, self._storage, margin=margin, most_seeds=most, added=found.added
            )
            self._sweep = found.sweep
            self._failed = with_dependants(self._failed, self._sweep.cells)
            if found.added and not found.order:
                continue  # another command has trained all of them
            print(round_line(found, most), flush=True)
            if not set(found.order) - self._failed:
                break
            if self._listener is not None:
                self._listener.look()
                ending = self._listener.ending
            ending = ending or self.train(found.order)
        return ending

    def end(self, ending: "Ending | None") -> int:
        """Print how the trials have ended, tell it by a notice, and return the exit code."""
        from sweeps.cli.summary import print_spent_in_line, print_summary, print_warnings
        from sweeps.control.priorities import trials_spent
        from sweeps.planning.data_changes import data_warnings
        from sweeps.storage.folder import TrialState
        from sweeps.storage.trial_states import states_of

        sweep, storage = self._sweep, self._storage
        if self._has_trained and not self._warnings:
            print_warnings(data_warnings(sweep.cells, storage))
        if self._has_trained and not self._options.quiet:
            print_spent_in_line(sweep.cells, storage, self._options.recorded_command)
        code = print_summary(sweep, storage)
        have_failed = TrialState.FAILED in states_of(sweep.cells, storage).values()
        if ending is None and self._left and not have_failed:
            ending = trials_spent(self._options.budget, left=self._left)
        state = "COMPLETE" if code == 0 else "FAILED"
        if ending is not None:
            code, state = EXIT_ENDED_EARLY, ending.state
            print(f"sweeps: {ending.line}", file=sys.stderr)
        elif code == EXIT_INCOMPLETE and not have_failed:
            code, state = EXIT_CUT_SHORT, "INTERRUPTED"
            print(
                "sweeps: some trials have not ended; run the same command again to continue",
                file=sys.stderr,
            )
        self.notices.ended(state)
        return code

    def facts(self) -> dict[str, object]:
        """Return what notices tell of the sweep: its trials, and how many are in each state."""
        from collections import Counter

        from sweeps.storage.folder import TrialState
        from sweeps.storage.trial_states import states_of

        cells = self._sweep.cells
        counts = Counter(states_of(cells, self._storage).values())
        states = {state.value: counts[state] for state in TrialState}
        return {"STORAGE": self._storage.root, "TRIALS": len(cells), **states}
