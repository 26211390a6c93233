"""What a study has found so far, read from Optuna's storage and the trial folders."""

import fcntl
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as State

from analysis.study_schema import is_fraction
from quantlab import ConfigurationError, Recipe, configuration_id, fingerprint
from sweeps.spec import Cell
from sweeps.storage import sharing
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.optuna_database import open_storage, url_of, without_password
from sweeps.study import StudySpec


def load(spec: StudySpec, storage: Storage, study_storage: str | None) -> optuna.Study:
    """The study in Optuna's storage.

    Raises:
        ConfigurationError: it has not been begun there, or there is no such storage.
    """
    url = url_of(storage, study_storage)
    not_begun = (
        f"study {spec.name}: not begun in {without_password(url)}; begin it with `sweeps search`"
    )
    if study_storage is None and not (storage.root / "optuna.db").exists():
        raise ConfigurationError(not_begun)  # SQLite would make the file
    try:
        return optuna.load_study(study_name=spec.name, storage=open_storage(url))
    except KeyError as error:
        raise ConfigurationError(not_begun) from error


def cell_of(spec: StudySpec, number: int, recipe: Recipe, seed: int) -> Cell:
    """The trial of a configuration with a seed."""
    seeded = replace(recipe, seed=seed)
    return Cell(
        sweep=spec.name,
        block="search",
        method="search",
        coordinates={"configuration": str(number)},
        recipe=seeded,
        fingerprint=fingerprint(seeded),
        configuration_id=configuration_id(seeded),
    )


def recipe_of(spec: StudySpec, trial: FrozenTrial) -> Recipe:
    """A configuration's recipe; its seed is not used.

    Raises:
        ConfigurationError: the study's space makes another recipe of it than when it was tried.
    """
    try:
        recipe = spec.recipe(FixedTrial(trial.params))
        is_same = trial.user_attrs.get("recipe") in (None, configuration_id(recipe))
    except ConfigurationError:
        is_same = False
    if not is_same:
        raise ConfigurationError(
            f"study {spec.name}: its space has changed since configuration {trial.number} was "
            "tried; give the study another name"
        )
    return recipe


def failed_points(study: optuna.Study) -> list[dict[str, Any]]:
    """Parameters of configurations that failed, and have not been tried again since."""
    trials = study.get_trials(deepcopy=False)
    return [
        trial.params
        for trial in trials
        if trial.state is State.FAIL
        and not any(
            trial.params in (later.params, later.system_attrs.get("fixed_params"))
            for later in trials[trial.number + 1 :]
        )
    ]


def num_finished(study: optuna.Study) -> int:
    """Configurations that have come to their end, other than by a failure."""
    return len(study.get_trials(deepcopy=False, states=(State.COMPLETE, State.PRUNED)))


def trials_of(
    spec: StudySpec, study: optuna.Study, storage: Storage
) -> Iterator[tuple[FrozenTrial, list[Cell]]]:
    """Each configuration that has been tried, with those of its seeds that have been begun."""
    for frozen in study.get_trials(deepcopy=False):
        if frozen.state is State.WAITING or "recipe" not in frozen.user_attrs:
            continue
        recipe = recipe_of(spec, frozen)
        cells = [cell_of(spec, frozen.number, recipe, seed) for seed in spec.seeds]
        begun = [
            cell
            for cell in cells
            if storage.trial(cell.fingerprint).state() is not TrialState.WAITING
        ]
        yield frozen, begun


def cells_of(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[Cell]:
    """Every trial of a study so far, of all its drivers, each once."""
    found: dict[str, Cell] = {}
    for _, cells in trials_of(spec, study, storage):
        for cell in cells:
            found.setdefault(cell.fingerprint, cell)
    return list(found.values())


def known_label(spec: StudySpec, params: Mapping[str, Any]) -> str:
    """What the study calls a known point; empty for any other."""
    return next((label for label, known in spec.known.items() if dict(known) == dict(params)), "")


def describe(spec: StudySpec, trial: FrozenTrial) -> str:
    """``configuration 7``, ``configuration 0 (PC)``."""
    label = known_label(spec, trial.params)
    return f"configuration {trial.number}" + (f" ({label})" if label else "")


def best_first(spec: StudySpec, study: optuna.Study) -> list[FrozenTrial]:
    """Configurations that were tried to their end, the best in the first objective first."""
    sign = -1 if spec.objectives[0].direction == "maximize" else 1
    complete = study.get_trials(deepcopy=False, states=(State.COMPLETE,))
    return sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))


def winner(spec: StudySpec, study: optuna.Study) -> FrozenTrial:
    """The best new configuration: known points are what it has to beat.

    Of several objectives, the best in the first. If nothing but known points has been tried to its
    end, the best of these.

    Raises:
        ConfigurationError: nothing has been tried to its end yet.
    """
    complete = best_first(spec, study)
    if not complete:
        raise ConfigurationError(
            f"study {spec.name}: no configuration has been tried to its end "
            f"({_counted(trial.state.name for trial in study.get_trials(deepcopy=False))}); "
            "`sweeps search` goes on"
        )
    new = [trial for trial in complete if not known_label(spec, trial.params)]
    return (new or complete)[0]


def values_text(spec: StudySpec, trial: FrozenTrial) -> str:
    """Its objectives, for people; accuracies in percent."""
    return ", ".join(
        f"{objective.name} "
        + (f"{100 * value:.2f} %" if is_fraction(objective.name) else f"{value:.4g}")
        for objective, value in zip(spec.objectives, trial.values, strict=True)
    )


def states_of(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[str]:
    """How each configuration stands, in order of their numbers.

    As Optuna has it; but one that it calls RUNNING is INTERRUPTED if no driver is at it.
    """
    folder = storage.root / "studies" / spec.name
    if not (folder / ".lock").exists():  # the drivers have another storage, and cannot be asked
        return [trial.state.name for trial in study.get_trials(deepcopy=False)]
    with sharing.locked(folder / ".lock", fcntl.LOCK_SH):  # drivers do not claim any meanwhile
        return [
            "INTERRUPTED"
            if trial.state is State.RUNNING
            and not sharing.is_held(folder / "claims" / str(trial.number))
            else trial.state.name
            for trial in study.get_trials(deepcopy=False)
        ]


def _counted(states: Iterable[str]) -> str:
    return ", ".join(f"{n} {state}" for state, n in Counter(states).items())


def summary_lines(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[str]:
    """How a study stands: counts, the winner, and the known points it has to beat."""
    trials = study.get_trials(deepcopy=False)
    states = states_of(spec, study, storage)
    lines = [f"{spec.name}: {_counted(states)}"]
    if "COMPLETE" not in states:
        return lines
    best = winner(spec, study)
    first = best_first(spec, study)[0]
    what = "best" if first.number == best.number else "best new"
    lines.append(f"{what}: {describe(spec, best)}, {values_text(spec, best)}")
    for trial in trials:
        if known_label(spec, trial.params) and trial.number != best.number:
            is_complete = trial.state is State.COMPLETE
            outcome = values_text(spec, trial) if is_complete else states[trial.number].lower()
            lines.append(f"known: {describe(spec, trial)}, {outcome}")
    if len(spec.objectives) > 1:
        front = sorted(study.best_trials, key=lambda trial: trial.values)
        lines += [f"front: {describe(spec, trial)}, {values_text(spec, trial)}" for trial in front]
    return lines


def is_over(spec: StudySpec, study: optuna.Study) -> bool:
    """Whether the budget is spent, and no driver is at what is left of it."""
    return num_finished(study) >= spec.configurations
