"""SharedStudy: a study in Optuna's storage that several drivers are at, each able to die."""

import fcntl
import uuid
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as State

from quantlab import ConfigurationError
from quantlab.errors import described, first_line
from sweeps.searching.results import failed_points, num_finished, recipe_of
from sweeps.storage.folder import Storage
from sweeps.storage.optuna_database import DatabaseLostError, open_storage, url_of, without_password
from sweeps.storage.record_files import write_atomically
from sweeps.storage.sharing import lock, locked
from sweeps.study import StudySpec

_TRIED = (State.COMPLETE, State.PRUNED, State.RUNNING)
"""States that count against the budget; so does what has failed, until it is tried again."""


@dataclass(frozen=True)
class Claim:
    """A configuration that this process alone is at."""

    trial: optuna.Trial
    reported: int
    """The last step that the pruner was told of, by a driver that died; 0 for a new one."""
    lock: BinaryIO
    """Held for as long as the file is open; a process that dies lets go of it."""


class SharedStudy:
    """Gives out configurations, new ones or those of dead drivers, each to one driver."""

    def __init__(self, spec: StudySpec, storage: Storage, study_storage: str | None) -> None:
        """Find the study or make it, with its known points first in the queue.

        Args:
            spec: the study.
            storage: where trials and claims lie.
            study_storage: URL of Optuna's storage; None for a SQLite file in `storage`.

        Raises:
            ConfigurationError: there is no such storage of Optuna's, the trials of this study lie
                elsewhere, another study has its name, or what was tried before cannot be compared
                with what will be.
        """
        self._spec = spec
        self._root = storage.root
        self._folder = storage.root / "studies" / spec.name
        try:
            (self._folder / "claims").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"--storage {self._root}: cannot be written to ({error})"
            ) from error
        url = url_of(storage, study_storage)
        self.num_finished = 0
        """Configurations that have come to their end, whoever tried them, failures left out."""
        with self._alone(), self.naming("sampler"):
            self.study = optuna.create_study(
                storage=open_storage(url),
                study_name=spec.name,
                directions=spec.directions,
                pruner=spec.pruner,
                load_if_exists=True,
            )
            self._require_own(url)
            self._require_unchanged()
            for point in spec.known.values():
                self.study.enqueue_trial(dict(point), skip_if_exists=True)
            for point in failed_points(self.study):
                self.study.enqueue_trial(point)
            # With the seed of an earlier driver, or of one beside it, a sampler would ask the same.
            drivers = self.study.user_attrs.get("drivers", 0)
            self.study.set_user_attr("drivers", drivers + 1)
            self.study.sampler = spec.sampler(hash((spec.seed, drivers)) % 2**32)

    @contextmanager
    def naming(self, part: str) -> Iterator[None]:
        """Say of which part of the study an error comes that is raised in Optuna's code.

        Args:
            part: ``"sampler"`` or ``"pruner"``.

        Raises:
            ConfigurationError: whatever was raised, in one line.
        """
        try:
            yield
        except ConfigurationError:
            raise
        except optuna.exceptions.StorageInternalError as error:
            raise DatabaseLostError(
                f"study {self._spec.name}: its storage fails ({first_line(error)}); what has "
                "finished is kept, and the same command goes on"
            ) from error
        except (Exception, SystemExit) as error:  # whatever the user's code does
            raise ConfigurationError(
                f"study {self._spec.name}: its {part} fails: {described(error)}; what has finished "
                "is kept, and the same command goes on"
            ) from error

    def claim(self, mine: Collection[int]) -> Claim | None:
        """A configuration that nobody is at any more, or a new one; None if the budget is spent.

        Args:
            mine: numbers of those that this process is at.

        Raises:
            ConfigurationError: Optuna's storage or the study's sampler fails.
        """
        with self._alone(), self.naming("sampler"):
            trials = self.study.get_trials(deepcopy=False)
            self.num_finished = num_finished(self.study)
            for frozen in trials:
                if frozen.state is not State.RUNNING or frozen.number in mine:
                    continue
                own = self._lock(frozen.number)
                if own is None:
                    continue
                if self._is_running(frozen.number):
                    # There is no public way from a stored trial to one that can go on.
                    trial = optuna.trial.Trial(self.study, frozen._trial_id)
                    return Claim(trial, max(frozen.intermediate_values, default=0), own)
                own.close()  # its driver has told it since
            tried = sum(frozen.state in _TRIED for frozen in trials)
            if tried + len(failed_points(self.study)) >= self._spec.configurations:
                return None
            trial = self.study.ask()
            own = self._lock(trial.number)
            assert own is not None, "nobody else can know of it"
            return Claim(trial, 0, own)

    def tell(self, claim: Claim, **outcome: Any) -> FrozenTrial:
        """How a configuration has ended, with the arguments of Optuna's own `tell`.

        Raises:
            ConfigurationError: Optuna's storage or the study's sampler fails; where it is the
                sampler, the outcome is stored all the same.
        """
        with closing(claim.lock), self.naming("sampler"):
            told = self.study.tell(claim.trial, **outcome)
        self.num_finished += told.state is not State.FAIL
        return told

    def _is_running(self, number: int) -> bool:
        return self.study.get_trials(deepcopy=False)[number].state is State.RUNNING

    def _lock(self, number: int) -> BinaryIO | None:
        """Be the only process at a configuration; None if another one is."""
        try:
            return lock(self._folder / "claims" / str(number), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only driver that asks: otherwise two would both take the last of the budget."""
        with locked(self._folder / ".lock", fcntl.LOCK_EX):
            yield

    def _require_own(self, url: str) -> None:
        """The trials and the claims of a study are in one folder, which all its drivers share.

        Raises:
            ConfigurationError: they are elsewhere, or the study in Optuna's storage is not one of
                `sweeps search`.
        """
        file = self._folder / "identity"
        own = file.read_text(encoding="utf-8") if file.exists() else ""
        known = self.study.user_attrs.get("folder")
        if known is None and self.study.get_trials(deepcopy=False):
            raise ConfigurationError(
                f"study {self._spec.name}: {without_password(url)} has one of this name that "
                "`sweeps search` did not make; give the study another name"
            )
        if known is None:
            own = own or uuid.uuid4().hex
            write_atomically(file, own)
            self.study.set_user_attr("folder", own)
        elif known != own:
            raise ConfigurationError(
                f"--storage {self._root}: study {self._spec.name} of {without_password(url)} has "
                "its trials in another folder; all its drivers must have the same one"
            )

    def _require_unchanged(self) -> None:
        """What was tried before must be comparable with what will be."""
        spec = self._spec
        now = {
            "objectives": [
                [objective.name, objective.direction, objective.cautious]
                for objective in spec.objectives
            ],
            "seeds": list(spec.seeds),
        }
        before = self.study.user_attrs.get("judged_by")
        if before is None:
            self.study.set_user_attr("judged_by", now)
        for name, value in now.items():
            if before is not None and before[name] != value:
                raise ConfigurationError(
                    f"study {spec.name}: was begun with {name} = {before[name]}, and now has "
                    f"{value}; give it another name"
                )
        for frozen in self.study.get_trials(deepcopy=False):
            if "recipe" in frozen.user_attrs:
                recipe_of(spec, frozen)
                self._require_same_parameters(frozen)

    def _require_same_parameters(self, before: FrozenTrial) -> None:
        """Optuna takes no parameter of another kind, or with other choices, than it has known."""
        now = FixedTrial(before.params)
        self._spec.recipe(now)
        for name, distribution in now.distributions.items():
            try:
                check_distribution_compatibility(before.distributions[name], distribution)
            except ValueError as error:
                raise ConfigurationError(
                    f"study {self._spec.name}: parameter {name!r} was {before.distributions[name]} "
                    f"in configuration {before.number}, and is {distribution} now; give the study "
                    "another name"
                ) from error
