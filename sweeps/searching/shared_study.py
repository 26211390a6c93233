"""SharedStudy: a study in Optuna's storage that several drivers share; any of them may die."""

import fcntl
import uuid
from collections.abc import Collection, Container, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError
from sweeps.searching.comparability import require_comparable
from sweeps.searching.named_sampler import NamedSampler, errors_from
from sweeps.searching.results import failed_points, num_finished
from sweeps.searching.study_identity import elsewhere, identity_file, identity_of
from sweeps.storage.folder import Storage
from sweeps.storage.optuna_database import open_storage, url_of, without_password
from sweeps.storage.record_files import write_atomically
from sweeps.storage.sharing import lock, locked
from sweeps.study import StudySpec

_PRUNED_AT = "pruned_at"
"""Attribute of a configuration that is pruned: the step after which that was decided."""

_COUNTED = (OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.RUNNING)
"""States that count against the budget; a failed configuration counts until it is repeated."""


@dataclass(frozen=True)
class Claim:
    """A configuration that this process alone evaluates."""

    trial: optuna.Trial
    reported: int
    """The last step that was reported to the pruner, by a driver that died; 0 if there is none."""
    pruned_at: int | None
    """The step after which a driver that died had decided to prune it; None if it had not."""
    lock: BinaryIO
    """The lock is held while this file is open; it is released when the process dies."""

    def release(self) -> None:
        """Give the configuration up, so that another driver can claim it."""
        self.lock.close()


class _EachOnce(optuna.Study):
    """A study as its pruner sees it: a failed configuration counts until it is repeated.

    The repetition has the same values, and each of them would count twice.
    """

    def get_trials(
        self, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        """Return the configurations; the arguments are Optuna's."""
        found = super().get_trials(deepcopy, states)
        return [
            trial
            for place, trial in enumerate(found)
            if trial.state is not OptunaState.FAIL
            or not any(
                later.params == trial.params and later.intermediate_values
                for later in found[place + 1 :]
            )
        ]


class SharedStudy:
    """Assigns configurations to drivers: new ones, or those that a dead driver has left."""

    def __init__(self, spec: StudySpec, storage: Storage, study_storage: str | None) -> None:
        """Load the study, or create it with its known points enqueued first.

        Args:
            spec: the study.
            storage: the folder of the trials and the claims.
            study_storage: URL of Optuna's storage; None for a SQLite file in `storage`.

        Raises:
            ConfigurationError: Optuna's storage cannot be used, the trials of this study are in
                another folder, another study has its name, or the study was changed so that
                earlier and later configurations cannot be compared.
        """
        self._spec = spec
        self._folder = storage.root / "studies" / spec.name
        try:
            (self._folder / "claims").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"--storage {storage.root}: the folder cannot be written to ({error})"
            ) from error
        self.num_finished = 0
        """Configurations that any driver has completed or pruned; failed ones do not count."""
        with self._exclusively(), errors_from("sampler", self._spec.name):
            self.study = optuna.create_study(
                storage=open_storage(url_of(storage, study_storage)),
                study_name=spec.name,
                directions=spec.directions,
                pruner=spec.pruner,
                load_if_exists=True,
            )
            self._require_own(storage, study_storage)
            require_comparable(spec, self.study)
            for point in spec.known.values():
                self.study.enqueue_trial(dict(point), skip_if_exists=True)
            for point in failed_points(self.study):
                self.study.enqueue_trial(point)
            # Two drivers whose samplers had the same seed would propose the same configurations.
            drivers = self.study.user_attrs.get("drivers", 0)
            self.study.set_user_attr("drivers", drivers + 1)
            sampler = spec.sampler(hash((spec.seed, drivers)) % 2**32)
            self.study.sampler = NamedSampler(sampler, spec.name)
            self._judged = _EachOnce(spec.name, self.study._storage, pruner=spec.pruner)

    def claim(self, mine: Collection[int]) -> Claim | None:
        """Claim a configuration: one that a dead driver has left, or else a new one.

        Args:
            mine: numbers of the configurations that this process holds already.

        Returns:
            The claim; None if the budget is spent.

        Raises:
            ConfigurationError: Optuna's storage or the study's sampler failed.
        """
        with self._exclusively(), errors_from("sampler", self._spec.name):
            trials = self.study.get_trials(deepcopy=False)
            self.num_finished = num_finished(self.study)
            for frozen in trials:
                if frozen.state is not OptunaState.RUNNING or frozen.number in mine:
                    continue
                own = self._lock(frozen.number)
                if own is None:
                    continue
                if self._is_running(frozen.number):
                    # Optuna has no public way to continue a stored trial.
                    trial = optuna.trial.Trial(self.study, frozen._trial_id)
                    reported = max(frozen.intermediate_values, default=0)
                    return Claim(trial, reported, frozen.user_attrs.get(_PRUNED_AT), own)
                own.close()  # its driver has finished it since
            counted = sum(frozen.state in _COUNTED for frozen in trials)
            if counted + len(failed_points(self.study)) >= self._spec.configurations:
                return None
            trial = self.study.ask()
            own = self._lock(trial.number)
            assert own is not None, "no other driver can know a new configuration"
            return Claim(trial, 0, None, own)

    def should_prune(self, claim: Claim, step: int) -> bool:
        """Ask the pruner about a configuration, and store a decision to prune it.

        After a crash, a pruner may decide otherwise if it is asked again: successive halving stores
        that the configuration was compared after this step, and compares only after later ones.

        Args:
            claim: the configuration.
            step: the last step that was reported.

        Raises:
            ConfigurationError: Optuna's storage or the study's pruner failed.
        """
        with errors_from("pruner", self._spec.name):
            frozen = self.study._storage.get_trial(claim.trial._trial_id)
            is_pruned = self._spec.pruner.prune(self._judged, frozen)
            if is_pruned:
                claim.trial.set_user_attr(_PRUNED_AT, step)
        return is_pruned

    def tell(self, claim: Claim, excesses: Mapping[str, float], **outcome: Any) -> FrozenTrial:
        """Store how a configuration ended, and release its claim.

        Args:
            claim: the configuration.
            excesses: by how much it exceeds each limit of the study, as far as that is known.
            outcome: the arguments of `optuna.Study.tell` after the trial.

        Raises:
            ConfigurationError: Optuna's storage or the study's sampler failed. If the sampler
                failed, the outcome is stored nevertheless.
        """
        with closing(claim.lock), errors_from("sampler", self._spec.name):
            # GPSampler needs the same limits, in the same order, of all configurations. One that no
            # trial has shown to be exceeded counts as kept.
            stored = claim.trial.constraints  # by a driver that died before it stored the outcome
            for limit in self._spec.constraints:
                if limit.name not in stored:
                    claim.trial.set_constraint(limit.name, excesses.get(limit.name, 0.0))
            frozen = self.study.tell(claim.trial, **outcome)
        self.num_finished += frozen.state is not OptunaState.FAIL
        return frozen

    def _is_running(self, number: int) -> bool:
        return self.study.get_trials(deepcopy=False)[number].state is OptunaState.RUNNING

    def _lock(self, number: int) -> BinaryIO | None:
        """Take the lock of a configuration; None if another process holds it."""
        try:
            return lock(self._folder / "claims" / str(number), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Keep other drivers from claiming: two could both take the last one of the budget."""
        with locked(self._folder / ".lock", fcntl.LOCK_EX):
            yield

    def _require_own(self, storage: Storage, study_storage: str | None) -> None:
        """Require that the trials and the claims of the study are in this storage folder.

        Raises:
            ConfigurationError: they are in another folder, or `sweeps search` did not create the
                study in Optuna's storage.
        """
        name = self._spec.name
        own = identity_of(name, storage)
        known = self.study.user_attrs.get("folder")
        if known is None and self.study.get_trials(deepcopy=False):
            url = without_password(url_of(storage, study_storage))
            raise ConfigurationError(
                f"study {name}: {url} contains a study of this name that `sweeps search` did not "
                "create; give the study another name"
            )
        if known is None:
            own = own or uuid.uuid4().hex
            write_atomically(identity_file(name, storage), own)
            self.study.set_user_attr("folder", own)
        elif known != own:
            raise ConfigurationError(elsewhere(name, storage, study_storage))
