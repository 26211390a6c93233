"""Snapshot: a study at one moment, for whoever looks at it while its drivers go on."""

import fcntl
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeps.storage import sharing


class Snapshot(optuna.Study):
    """A copy of a study in memory: two looks at it find the same configurations and states."""

    interrupted: frozenset[int]
    """Numbers of the RUNNING configurations of which no driver holds the claim."""

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        """Read a study once.

        Args:
            study: the study in Optuna's storage.
            folder: folder of its claims, ``<storage>/studies/<name>``.
        """
        trials, self.interrupted = _read(study, folder)
        memory = InMemoryStorage()
        number = memory.create_new_study(study.directions, study.study_name)
        for trial in trials:
            memory.create_new_trial(number, template_trial=trial)
        super().__init__(study.study_name, memory)


def _read(study: optuna.Study, folder: Path) -> tuple[list[FrozenTrial], frozenset[int]]:
    """Return the configurations of a study, and the numbers of those that have lost their driver.

    Drivers give up a claim after they have stored how the configuration has ended. So the claims
    are looked at before the configurations that are returned are read: one that has ended in
    between is not RUNNING.
    """
    if not (folder / ".lock").exists():  # the claims are in another --storage
        return study.get_trials(deepcopy=False), frozenset()
    with sharing.locked(folder / ".lock", fcntl.LOCK_SH):  # no driver claims one meanwhile
        free = {
            number
            for number in _running(study.get_trials(deepcopy=False))
            if not sharing.is_held(folder / "claims" / str(number))
        }
        trials = study.get_trials(deepcopy=False)
    return trials, frozenset(free & _running(trials))


def _running(trials: list[FrozenTrial]) -> set[int]:
    return {trial.number for trial in trials if trial.state is OptunaState.RUNNING}
