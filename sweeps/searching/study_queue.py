"""StudyQueue: which configurations of a study are trained, with which seeds, and how they end.

Its whole state is in Optuna's storage and in the trial folders, so that a search continues after
its driver was killed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain
from typing import Any

import optuna
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError, configuration_id
from sweeps.placement.packing import ALONE, Packing
from sweeps.running.late_results import LateResults
from sweeps.running.queue import TrialQueue
from sweeps.searching.candidate import Candidate
from sweeps.searching.named_sampler import errors_from
from sweeps.searching.results import cells_of, describe, left_over, values_text
from sweeps.searching.shared_study import SharedStudy
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder, TrialState
from sweeps.storage.optuna_database import DatabaseError
from sweeps.storage.records import Stopped
from sweeps.study import PartError, SpaceError, StudySpec
from sweeps.watching.progress import Counts

_FAILURES_IN_A_ROW = 3
"""After so many, the cause is assumed to be the same for all, and no more are sampled."""

_STATES = {
    OptunaState.COMPLETE: "complete",
    OptunaState.PRUNED: "pruned",
    OptunaState.FAIL: "failed",
}
"""How a configuration ended -> the word for it."""


class StudyQueue(TrialQueue):
    """Hands out the trials of a study, one seed of a configuration at a time."""

    def __init__(
        self,
        spec: StudySpec,
        storage: Storage,
        study_storage: str | None = None,
        *,
        retries: int = 0,
        packing: Packing = ALONE,
    ) -> None:
        """Load the study, or create it with its known points enqueued first.

        Args:
            spec: the study.
            storage: the folder of the trials.
            study_storage: see `SharedStudy`.
            retries: how many times a trial is retried if its process dies.
            packing: how many trials are trained as one pack.

        Raises:
            ConfigurationError: see `SharedStudy`.
        """
        super().__init__(storage, retries=retries, packing=packing)
        self.spec = spec
        self._shared = SharedStudy(spec, storage, study_storage)
        self.study = self._shared.study
        """The study in Optuna's storage."""
        self._candidates: dict[str, list[Candidate]] = {}
        """Fingerprint of a ready or pending trial -> the configurations that need it."""
        self._ready: list[Cell] = []
        self._dropped: set[str] = set()
        """Fingerprints of the trials with which `on_dropped` was called."""
        self._late = LateResults(storage)
        self._is_spent = False
        self._cells: dict[str, Cell] = {}
        self._failures_in_a_row = 0
        self.on_finished: Callable[[str], None] = lambda line: None
        """Called with one line of text about each configuration that has ended."""
        self.on_seed: Callable[[Sequence[Cell]], object] = lambda cells: None
        """Called with the trials of each seed of a configuration before they are trained."""

    def next(self) -> list[Cell]:
        for cell, state in self._late.seen():
            self._end(cell, state)
        return super().next()

    def _next(self) -> list[Cell]:
        cells: list[Cell] = []
        with self._keeping_fault():
            if self.fault is None:
                cells = self._next_of_study()
        return cells

    def _next_of_study(self) -> list[Cell]:
        while not self._ready and self._add_candidate():
            pass
        self._is_spent = not self._ready
        if self._is_spent:
            return []
        first = self._ready[0]
        key = self._pack_key(first)
        is_alone = key.endswith(first.fingerprint)  # and no other configuration can join it
        most = 1 if is_alone else self._packing.size(key, self.spec.configurations)
        while len(self._ready) < most and self._add_candidate():
            pass
        alike = [cell for cell in self._ready if self._pack_key(cell) == key][:most]
        for cell in alike:
            self._ready.remove(cell)
            self._pending[cell.fingerprint] = self._cells[cell.fingerprint] = cell
        return alike

    @contextmanager
    def _keeping_fault(self) -> Iterator[None]:
        """Keep an error as `fault`; Tune would handle an exception in its hooks as its own."""
        try:
            yield
        except ConfigurationError as error:
            self.fault = error

    @property
    def cells(self) -> list[Cell]:
        """Every trial of the study that any of its drivers has started."""
        return cells_of(self.spec, self.study, self._storage)

    @property
    def counts(self) -> Counts:
        """How many configurations have finished, and how many are left."""
        finished, total = self._shared.num_finished, self.spec.configurations
        return Counts(finished, total, max(total - finished, 0), " configurations")

    @property
    def is_over(self) -> bool:
        """Whether no trial is left, and the budget is spent or left to other drivers."""
        left = (self._pending, self._ready, self._paused, self.elsewhere)
        return self._is_spent and self._late.is_empty and not any(left)

    @property
    def _is_ready(self) -> bool:
        return bool(self._ready)

    def close(self) -> None:
        """Release every claim, so that other drivers can continue these configurations.

        Trials that are ready or pending are forgotten, see `stop_unneeded`; the queue cannot be
        used afterwards.
        """
        self.stop_unneeded()
        for candidate in self._claimed:
            candidate.claim.release()
        self._candidates.clear()
        self._ready.clear()

    def stop_unneeded(self) -> None:
        """Mark begun trials as STOPPED that no configuration needs any more.

        They were handed out before their configurations ended, and nobody will train them to their
        end: this search stops, or an earlier one was killed.
        """
        for fingerprint, needing in self._candidates.items():
            if fingerprint in self._cells and _is_unneeded(needing):
                self._drop_unneeded(self._cells[fingerprint])

    def _drop_unneeded(self, cell: Cell) -> None:
        """Mark a trial as STOPPED if it has begun, and tell it once."""
        if cell.fingerprint not in self._dropped and self._stop(cell):
            self._dropped.add(cell.fingerprint)
            self.on_dropped(cell)

    def stop_left_over(self) -> None:
        """Mark trials as STOPPED that earlier searches have left to nobody; see `stop_unneeded`."""
        for cell in left_over(self.spec, self.study, self._storage):
            self._stop(cell)

    def _stop(self, cell: Cell) -> bool:
        """Mark a trial as STOPPED if it is INTERRUPTED; return whether it is STOPPED then."""
        folder = self._storage.trial(cell.fingerprint)
        with suppress(OSError, ConfigurationError):  # the next search repeats it
            if folder.state() is TrialState.INTERRUPTED:
                with folder.locked_at_once() or nullcontext() as lock:
                    # Another command may have begun or ended it meanwhile. Our lock counts as one.
                    if lock is not None and folder.state() is TrialState.RUNNING:
                        self._mark(folder)
            return folder.state() is TrialState.STOPPED
        return False

    def _mark(self, folder: TrialFolder) -> None:
        folder.stopped.write(Stopped(by=f"study {self.spec.name}", time=time.time()))

    @property
    def _claimed(self) -> list[Candidate]:
        """Configurations that this process holds."""
        return list(dict.fromkeys(chain.from_iterable(self._candidates.values())))

    def cell(self, fingerprint: str) -> Cell:
        return self._cells[fingerprint]

    def _put_back(self, cell: Cell) -> None:
        self._ready.insert(0, cell)
        self._forget_unneeded()

    def should_prune(self, fingerprint: str) -> bool:
        needing = self._candidates.get(fingerprint)
        if needing is None or not self.spec.prunes_within_seeds:
            return False
        candidate = needing[0]
        should_prune = False
        with self._keeping_fault():
            if self.fault is None:
                self._report_curve(candidate, fingerprint)
                should_prune = candidate.reported > 0 and self._should_prune(candidate)
        return should_prune

    def _report_curve(self, candidate: Candidate, fingerprint: str) -> None:
        """Report to the pruner the epochs that a pending trial has finished since the last call."""
        before = candidate.step
        for record in self._storage.trial(fingerprint).read_history():
            step, value = before + record.epoch, self.spec.objectives[0].at(record)
            is_last = record.epoch == candidate.epochs
            if step <= candidate.reported or value != value or is_last:
                continue
            self._report(candidate, candidate.first_objective_with(value), step)

    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        if self._late.is_late(cell, state):  # only its worker sees the result yet
            self._pending.pop(cell.fingerprint, None)  # it is not retried if its process dies now
            self._late.add(cell, state)
        else:
            self._end(cell, state)
        return []

    def _end(self, cell: Cell, state: TrialState) -> None:
        self._pending.pop(cell.fingerprint, None)
        for candidate in self._candidates.pop(cell.fingerprint, []):
            with self._keeping_fault():
                if self.fault is None and not candidate.is_over:
                    self._evaluate(candidate, cell, state)
            if self.fault is not None:  # the next driver evaluates it, from its folder
                candidate.claim.release()

    def _evaluate(self, candidate: Candidate, cell: Cell, state: TrialState) -> None:
        folder = self._storage.trial(cell.fingerprint)
        result = folder.result.read()
        if result is None or not state.is_finished:
            if state is TrialState.STOPPED:
                self._mark(folder)
                self._tell(candidate, state=OptunaState.PRUNED)
                return
            self._fail(candidate, _reason(folder, state))
            return
        before = candidate.num_seeds
        try:
            candidate.add(cell, state, result)
        except ConfigurationError as error:
            self._fail(candidate, str(error))
            return
        self._failures_in_a_row = 0
        if self.spec.prunes and (exceeded := candidate.exceeded):
            self._tell(candidate, f": {', '.join(exceeded)}", state=OptunaState.PRUNED)
        elif candidate.num_seeds > before:
            self._continue(candidate)

    def _continue(self, candidate: Candidate) -> None:
        """Train the next seed, or finish the configuration."""
        done = candidate.num_seeds
        if self.spec.prunes and done:
            self._report(candidate, candidate.objectives()[0], candidate.step)
        if done == len(candidate.seeds):
            self._tell(candidate, values=candidate.objectives())
            return
        if candidate.was_pruned or (self.spec.prunes and done and self._should_prune(candidate)):
            self._tell(candidate, state=OptunaState.PRUNED)
            return
        self.on_seed(candidate.seeds[done])
        finished: list[tuple[Cell, TrialState]] = []
        for cell in candidate.seeds[done]:
            needing = self._candidates.setdefault(cell.fingerprint, [])
            is_needed = bool(needing)
            if candidate not in needing:  # two settings may share a trial
                needing.append(candidate)
            if is_needed:
                continue
            state = self._storage.trial(cell.fingerprint).state()
            if state.is_finished:  # before an interruption, or for another configuration
                finished.append((cell, state))
            else:
                self._dropped.discard(cell.fingerprint)  # another configuration needs it now
                self._others.forgive(cell)
                self._ready.append(cell)
        for cell, state in finished:
            self._end(cell, state)

    def _report(self, candidate: Candidate, value: float, step: int) -> None:
        if step > candidate.reported:
            with errors_from("pruner", self.spec.name):
                candidate.trial.report(value, step)
            candidate.reported = step

    def _should_prune(self, candidate: Candidate) -> bool:
        return self._shared.should_prune(candidate.claim, candidate.reported)

    def _fail(self, candidate: Candidate, reason: str) -> None:
        self._failures_in_a_row += 1
        candidate.is_repeated = True
        self._tell(candidate, f": {reason}", state=OptunaState.FAIL)
        self._report_last_failure()

    def _report_last_failure(self) -> None:
        if self._failures_in_a_row == _FAILURES_IN_A_ROW:
            self.on_finished(
                f"{_FAILURES_IN_A_ROW} configurations in a row have failed: no more are sampled; "
                "correct the cause and run the same command again"
            )

    def _tell(self, candidate: Candidate, why: str = "", **outcome: Any) -> None:
        candidate.is_over = True
        self._forget_unneeded()
        frozen = self._shared.tell(candidate.claim, candidate.excesses, **outcome)
        line = f"{describe(self.spec, frozen)}: {_STATES[frozen.state]} after "
        line += f"{candidate.num_seeds} of {len(self.spec.seeds)} seeds"
        if frozen.state is OptunaState.COMPLETE:
            line += f": {values_text(self.spec, frozen)}"
        self.on_finished(line + why)

    def _forget_unneeded(self) -> None:
        """Train no trial that only configurations need that have ended."""
        for cell in list(self._ready):
            needing = self._candidates.get(cell.fingerprint, [])
            if needing and all(candidate.is_over for candidate in needing):
                self._ready.remove(cell)
                del self._candidates[cell.fingerprint]
                if _is_unneeded(needing):
                    self._drop_unneeded(cell)

    def _add_candidate(self) -> bool:
        """Claim another configuration; return whether there was one."""
        if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
            return False
        claim = self._shared.claim({candidate.trial.number for candidate in self._claimed})
        if claim is None:
            return False
        try:
            recipe = self.spec.recipe(claim.trial)
            candidate = Candidate(self.spec, claim, recipe)
        except (DatabaseError, PartError):
            claim.release()
            raise
        except SpaceError as error:
            frozen = self._shared.tell(claim, {}, state=OptunaState.FAIL)
            self._failures_in_a_row += 1
            self.on_finished(f"configuration {frozen.number}: failed: {error}")
            self._report_last_failure()
            return True
        except (ConfigurationError, optuna.TrialPruned) as error:
            # These parameters have no recipe, so there is nothing to train.
            frozen = self._shared.tell(claim, {}, state=OptunaState.PRUNED)
            self.on_finished(f"configuration {frozen.number}: pruned, as it has no recipe: {error}")
            return True
        claim.trial.set_user_attr("recipe", configuration_id(recipe))
        self._continue(candidate)
        return True


def _reason(folder: TrialFolder, state: TrialState) -> str:
    """Return why a trial has no result."""
    if state.is_finished:
        return f"{folder.result.path} cannot be read here, although its worker has written it"
    failure = folder.failure.read()
    return "no reason was recorded" if failure is None else failure.error


def _is_unneeded(needing: Sequence[Candidate]) -> bool:
    """Whether a trial of these configurations counts for none of them, nor when it is repeated."""
    return all(candidate.is_over and not candidate.is_repeated for candidate in needing)
