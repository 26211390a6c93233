"""Race: which configurations of a study are trained, with which seeds, and how they end.

It hands out trials as `sweeps.schedule.Schedule` does, so that the same workers train them. What it
knows stands in Optuna's storage and in the trial folders: a race that was killed goes on from both.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import optuna
from optuna.trial import TrialState as State

from quantlab import ConfigurationError, Recipe, configuration_id
from sweeps.database import DatabaseError
from sweeps.packing import ALONE, Packing, Suspects
from sweeps.progress import Tally
from sweeps.records import Stopped
from sweeps.shared_study import Claimed, SharedStudy
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.study import SpaceError, StudySpec
from sweeps.study_results import cell_of, cells_of, describe

_FAILURES_IN_A_ROW = 3
"""So many are the fault of what is around them, and no more is asked for."""


@dataclass
class Contender:
    """A configuration in the race, of this process."""

    claimed: Claimed
    recipe: Recipe
    values: list[list[float]] = field(default_factory=list)
    """Of each seed that has ended, the objectives."""
    reported: int = 0
    """The last step of which the pruner knows."""

    @property
    def trial(self) -> optuna.Trial:
        """Optuna's."""
        return self.claimed.trial

    @property
    def epochs(self) -> int:
        """Of one seed."""
        return self.recipe.epochs + self.recipe.batchnorm_epochs


class Race:
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
        """Find the study or make it, with its known points first in the queue.

        Args:
            spec: the study.
            storage: where trials lie.
            study_storage: see `SharedStudy`.
            retries: how often a trial is handed out again whose process died.
            packing: how many trials of a kind are trained as one.

        Raises:
            ConfigurationError: see `SharedStudy`.
        """
        self.spec = spec
        self._storage = storage
        self._retries = retries
        self._packing = packing
        self._shared = SharedStudy(spec, storage, study_storage)
        self.study = self._shared.study
        """In Optuna's storage."""
        self._contenders: dict[str, Contender] = {}
        """Fingerprint of the trial that is ready or out -> its configuration."""
        self._ready: list[Cell] = []
        self._is_spent = False
        self._out: dict[str, Cell] = {}
        self._cells: dict[str, Cell] = {}
        self._retries_left: dict[str, int] = {}
        self._waiting: dict[str, list[Contender]] = {}
        """Configurations that came to a trial which another one of this process is at."""
        self.failed_at_once: list[Cell] = []
        """None: see `Schedule`."""
        self.num_waiting = 0
        """None: see `Schedule`."""
        self.fault: ConfigurationError | None = None
        """What keeps the whole race from going on, such as a pruner that fails or a database that
        is gone: no more is handed out then, and what is out is to be stopped."""
        self._failures_in_a_row = 0
        self._suspects = Suspects()
        self.on_judged: Callable[[str], None] = lambda line: None
        """Called with a line on each configuration that has come to its end."""

    def next(self) -> list[Cell]:
        """Trials to be trained as one pack; none if the budget is spent, or there is a fault."""
        cells: list[Cell] = []
        with self._noting_faults():
            if self.fault is None:
                cells = self._next()
        return cells

    def _next(self) -> list[Cell]:
        while not self._ready and self._recruit():
            pass
        self._is_spent = not self._ready
        if self._is_spent:
            return []
        kind = self._kind(self._ready[0])
        most = self._packing.size(kind, self.spec.configurations)
        while len(self._ready) < most and self._recruit():
            pass
        alike = [cell for cell in self._ready if self._kind(cell) == kind][:most]
        for cell in alike:
            self._ready.remove(cell)
            self._out[cell.fingerprint] = self._cells[cell.fingerprint] = cell
        return alike

    @contextmanager
    def _noting_faults(self) -> Iterator[None]:
        """Tune would take an error for its own; so it is kept for who runs the race."""
        try:
            yield
        except ConfigurationError as error:
            self.fault = error

    @property
    def out(self) -> list[Cell]:
        """Trials that were handed out and have not ended."""
        return list(self._out.values())

    @property
    def cells(self) -> list[Cell]:
        """Every trial of the study so far, of all its drivers."""
        return cells_of(self.spec, self.study, self._storage)

    @property
    def tally(self) -> Tally:
        """How far it is, for people."""
        judged, total = self._shared.num_judged, self.spec.configurations
        return Tally(judged, total, max(total - judged, 0), " configurations")

    @property
    def is_over(self) -> bool:
        """Whether nothing is out, and the budget is spent or others are at what is left of it."""
        return self._is_spent and not self._out and not self._ready

    def cell(self, fingerprint: str) -> Cell:
        """A trial that was handed out."""
        return self._cells[fingerprint]

    def is_out(self, cell: Cell) -> bool:
        """Whether it was handed out, and has not ended."""
        return cell.fingerprint in self._out

    def _kind(self, cell: Cell) -> str:
        is_alone = self._suspects.are_alone(cell.fingerprint)
        return cell.fingerprint if is_alone else self._packing.kind(cell)

    def limit_packs(self, cell: Cell, size: int) -> bool:
        """See `Schedule`."""
        return self._packing.limit(self._packing.kind(cell), size)

    def again(self, cell: Cell, *, counts: bool = True, of_pack: bool = False) -> bool:
        """Take back a trial whose training was cut short; see `Schedule`."""
        left = self._retries_left.setdefault(cell.fingerprint, self._retries)
        if counts and of_pack:
            self._suspects.add(cell.fingerprint)
        elif counts:
            if left == 0:
                return False
            self._retries_left[cell.fingerprint] = left - 1
        if self._out.pop(cell.fingerprint, None) is not None:
            self._ready.insert(0, cell)
        return True

    def is_hopeless(self, fingerprint: str) -> bool:
        """Whether a trial's learning curve so far has put its configuration out of the race."""
        contender = self._contenders.get(fingerprint)
        curve = self.spec.objectives[0].curve
        if contender is None or curve is None or len(self.spec.objectives) > 1:
            return False
        is_hopeless = False
        with self._noting_faults():
            if self.fault is None:
                is_hopeless = self._is_hopeless(contender, fingerprint, curve)
        return is_hopeless

    def _is_hopeless(self, contender: Contender, fingerprint: str, curve: str) -> bool:
        before = len(contender.values) * contender.epochs
        for record in self._storage.trial(fingerprint).read_history():
            step, value = before + record.epoch, getattr(record, curve)
            is_last = record.epoch == contender.epochs
            if step <= contender.reported or value != value or is_last:
                continue
            self._report(contender, [*(own[0] for own in contender.values), value], step)
        return contender.reported > 0 and self._should_prune(contender)

    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        """Take note of how a trial has ended; a stopped one has been put out of the race.

        Returns:
            Nothing: see `Schedule`.
        """
        self._out.pop(cell.fingerprint, None)
        first = self._contenders.pop(cell.fingerprint, None)
        others = self._waiting.pop(cell.fingerprint, [])
        for contender in [*([first] if first else []), *others]:
            with self._noting_faults():
                if self.fault is None:
                    self._judge(contender, cell, state)
            if self.fault is not None:  # the next driver judges it, by its folder
                contender.claimed.lock.close()
        return []

    def _judge(self, contender: Contender, cell: Cell, state: TrialState) -> None:
        folder = self._storage.trial(cell.fingerprint)
        result = folder.result.read()
        if result is None or not state.is_finished:
            if state is TrialState.STOPPED:
                folder.stopped.write(Stopped(by=f"study {self.spec.name}", time=time.time()))
                self._tell(contender, state=State.PRUNED)
                return
            failure = folder.failure.read()
            self._fail(contender, "no reason given" if failure is None else failure.error)
            return
        try:
            values = [
                objective.value(cell.recipe, result.as_mapping())
                if state is TrialState.COMPLETE
                else objective.of_diverged
                for objective in self.spec.objectives
            ]
        except ConfigurationError as error:
            self._fail(contender, str(error))
            return
        self._failures_in_a_row = 0
        contender.values.append(values)
        self._go_on(contender)

    def _go_on(self, contender: Contender) -> None:
        """To the next seed, or the end."""
        seeds, values = self.spec.seeds, contender.values
        is_single = len(self.spec.objectives) == 1
        if is_single and values:
            self._report(contender, [own[0] for own in values], len(values) * contender.epochs)
        if len(values) == len(seeds):
            self._tell(
                contender,
                values=[
                    objective.over_seeds(own)
                    for objective, own in zip(
                        self.spec.objectives, zip(*values, strict=True), strict=True
                    )
                ],
            )
            return
        if is_single and values and self._should_prune(contender):
            self._tell(contender, state=State.PRUNED)
            return
        seed = seeds[len(values)]
        cell = cell_of(self.spec, contender.trial.number, contender.recipe, seed)
        if cell.fingerprint in self._contenders:
            self._waiting.setdefault(cell.fingerprint, []).append(contender)
            return
        self._contenders[cell.fingerprint] = contender
        state = self._storage.trial(cell.fingerprint).state()
        if state.is_finished:  # before it was interrupted, or in another configuration's name
            self.ended(cell, state)
        else:
            self._ready.append(cell)

    def _report(self, contender: Contender, values: Sequence[float], step: int) -> None:
        if step > contender.reported:
            with self._shared.naming("pruner"):
                contender.trial.report(self.spec.objectives[0].over_seeds(values), step)
            contender.reported = step

    def _should_prune(self, contender: Contender) -> bool:
        with self._shared.naming("pruner"):
            return bool(contender.trial.should_prune())

    def _fail(self, contender: Contender, reason: str) -> None:
        self._failures_in_a_row += 1
        self._tell(contender, f": {reason}", state=State.FAIL)
        self._say_if_last()

    def _say_if_last(self) -> None:
        if self._failures_in_a_row == _FAILURES_IN_A_ROW:
            self.on_judged(
                f"{_FAILURES_IN_A_ROW} configurations in a row have failed: no more is asked for"
            )

    def _tell(self, contender: Contender, why: str = "", **outcome: Any) -> None:
        told = self._shared.tell(contender.claimed, **outcome)
        line = f"{describe(self.spec, told)}: {told.state.name.lower()} after "
        line += f"{len(contender.values)} of {len(self.spec.seeds)} seeds"
        if told.state is State.COMPLETE:
            line += ": " + ", ".join(f"{value:.4f}" for value in told.values)
        self.on_judged(line + why)

    def _recruit(self) -> bool:
        """Let another configuration into the race; false if there is none to be had."""
        if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
            return False
        contenders = chain(self._contenders.values(), *self._waiting.values())
        claimed = self._shared.claim({contender.trial.number for contender in contenders})
        if claimed is None:
            return False
        try:
            recipe = self.spec.recipe(claimed.trial)
        except DatabaseError:
            claimed.lock.close()
            raise
        except SpaceError as error:
            told = self._shared.tell(claimed, state=State.FAIL)
            self._failures_in_a_row += 1
            self.on_judged(f"configuration {told.number}: fail: {error}")
            self._say_if_last()
            return True
        except (ConfigurationError, optuna.TrialPruned) as error:
            # There is nothing to train, now or later.
            told = self._shared.tell(claimed, state=State.PRUNED)
            self.on_judged(f"configuration {told.number}: makes no recipe ({error})")
            return True
        claimed.trial.set_user_attr("recipe", configuration_id(recipe))
        self._go_on(Contender(claimed, recipe, reported=claimed.reported))
        return True
