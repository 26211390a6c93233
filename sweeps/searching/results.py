"""The results of a study so far, read from Optuna's storage and the trial folders."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError, Recipe, configuration_id, fingerprint
from sweeps.evaluation.variants import Variant
from sweeps.searching.snapshot import Snapshot
from sweeps.searching.study_identity import missing
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.optuna_database import open_storage, url_of
from sweeps.study import StudySpec


def load(spec: StudySpec, storage: Storage, study_storage: str | None) -> Snapshot:
    """Load a study from Optuna's storage, as it is at this moment.

    Raises:
        ConfigurationError: the storage does not exist, or does not contain the study.
    """
    if study_storage is None and not (storage.root / "optuna.db").exists():
        # SQLite would create the file.
        raise ConfigurationError(missing(spec.name, storage, study_storage))
    try:
        study = optuna.load_study(
            study_name=spec.name, storage=open_storage(url_of(storage, study_storage))
        )
    except KeyError as error:
        raise ConfigurationError(missing(spec.name, storage, study_storage)) from error
    return Snapshot(study, storage.root / "studies" / spec.name)


def seeds_of(spec: StudySpec, number: int, recipe: Recipe) -> list[list[Cell]]:
    """Return the trials of a configuration: for each seed, those in all settings and neighbours.

    Args:
        spec: the study.
        number: number of the configuration.
        recipe: its recipe.

    Raises:
        ConfigurationError: see `StudySpec.variants`.
    """
    variants = spec.variants(recipe)
    return [[cell_of(spec, number, variant, seed) for variant in variants] for seed in spec.seeds]


def cell_of(spec: StudySpec, number: int, variant: Variant, seed: int) -> Cell:
    """Return the trial that trains a variant of a configuration with one seed."""
    seeded = replace(variant.recipe, seed=seed)
    return Cell(
        sweep=spec.name,
        block="search",
        method="search",
        coordinates={"configuration": str(number), **variant.coordinates},
        recipe=seeded,
        fingerprint=fingerprint(seeded),
        configuration_id=configuration_id(seeded),
        resources=spec.resources,
    )


def recipe_of(spec: StudySpec, trial: FrozenTrial) -> Recipe:
    """Rebuild the recipe of a configuration from its parameters; the recipe's seed is not used.

    Raises:
        ConfigurationError: the space now returns another recipe for these parameters than when the
            configuration was evaluated.
    """
    try:
        recipe = spec.recipe(FixedTrial(trial.params))
        is_same = trial.user_attrs.get("recipe") in (None, configuration_id(recipe))
    except ConfigurationError:
        is_same = False
    if not is_same:
        raise ConfigurationError(
            f"study {spec.name}: the space has changed since configuration {trial.number} was "
            "evaluated; give the study another name"
        )
    return recipe


def failed_points(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the parameters of failed configurations that have not been repeated since."""
    trials = study.get_trials(deepcopy=False)
    return [
        trial.params
        for trial in trials
        if trial.state is OptunaState.FAIL
        and not any(
            trial.params in (later.params, later.system_attrs.get("fixed_params"))
            for later in trials[trial.number + 1 :]
        )
    ]


def num_finished(study: optuna.Study) -> int:
    """Count the configurations that are complete or pruned; failed ones do not count."""
    return len(study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE, OptunaState.PRUNED)))


def trials_of(
    spec: StudySpec, study: optuna.Study, storage: Storage
) -> Iterator[tuple[FrozenTrial, list[Cell]]]:
    """Yield each configuration that has a recipe, with the trials of it that were started."""
    for frozen in study.get_trials(deepcopy=False):
        if frozen.state is OptunaState.WAITING or "recipe" not in frozen.user_attrs:
            continue
        recipe = recipe_of(spec, frozen)
        begun = [
            cell
            for cell in chain.from_iterable(seeds_of(spec, frozen.number, recipe))
            if storage.trial(cell.fingerprint).state() is not TrialState.WAITING
        ]
        yield frozen, begun


def left_over(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[Cell]:
    """Return the interrupted trials that only pruned configurations have: nobody needs them."""
    pruned: dict[str, Cell] = {}
    needed: set[str] = set()
    for frozen, cells in trials_of(spec, study, storage):
        found = {cell.fingerprint: cell for cell in cells}
        if frozen.state is OptunaState.PRUNED:
            pruned |= found
        elif frozen.state is not OptunaState.COMPLETE:  # a failed one is repeated
            needed |= found.keys()
    return [
        cell
        for cell in pruned.values()
        if cell.fingerprint not in needed
        and storage.trial(cell.fingerprint).state() is TrialState.INTERRUPTED
    ]


def cells_of(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[Cell]:
    """Return every trial that any driver of a study has started, each once."""
    found: dict[str, Cell] = {}
    for _, cells in trials_of(spec, study, storage):
        for cell in cells:
            found.setdefault(cell.fingerprint, cell)
    return list(found.values())


def known_label(spec: StudySpec, params: Mapping[str, Any]) -> str:
    """Return the label of a known point; empty for any other point."""
    return next((label for label, known in spec.known.items() if dict(known) == dict(params)), "")


def describe(spec: StudySpec, trial: FrozenTrial) -> str:
    """Return the name of a configuration: ``configuration 7`` or ``configuration 0 (PC)``."""
    label = known_label(spec, trial.params)
    return f"configuration {trial.number}" + (f" ({label})" if label else "")


def best_first(spec: StudySpec, study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete configurations, sorted by the first objective, the best first.

    Those that exceed a limit are left out.
    """
    sign = -1 if spec.objectives[0].direction == "maximize" else 1
    complete = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))
        if not exceeds_limits(trial)
    ]
    return sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))


def exceeds_limits(trial: FrozenTrial) -> bool:
    """Return whether a configuration is known to exceed a limit of the study."""
    return any(excess > 0 for excess in trial.constraints.values())


def winner(spec: StudySpec, study: optuna.Study) -> FrozenTrial:
    """Return the complete configuration with the best first objective that is not a known point.

    If all complete configurations are known points, the best of them is returned.

    Raises:
        ConfigurationError: no configuration is complete and keeps the limits.
    """
    complete = best_first(spec, study)
    if not complete:
        raise ConfigurationError(why_none_wins(spec, study))
    new = [trial for trial in complete if not known_label(spec, trial.params)]
    return (new or complete)[0]


def why_none_wins(spec: StudySpec, study: optuna.Study) -> str:
    """Return why a study has no winner, with the numbers of its configurations, and what to do."""
    states = [_state_of(trial) for trial in study.get_trials(deepcopy=False)]
    text = f"study {spec.name}: no configuration is complete ({_counted(states)})"
    if not is_over(spec, study):
        return f"{text}; continue the search with `sweeps search`"
    if "INFEASIBLE" in states:
        text = text.replace("is complete", "is complete and keeps all limits")
        change = "loosen the limits in a study with another name"
    else:
        change = "change the space or the pruner in a study with another name"
    return (
        f"{text}, and the search is over; {change}, or enlarge `configurations` beyond "
        f"{spec.configurations} and search again"
    )


def values_text(spec: StudySpec, trial: FrozenTrial) -> str:
    """Format the objective values of a configuration with their units."""
    return ", ".join(
        f"{objective.name} {objective.shown.shown(value)}"
        for objective, value in zip(spec.objectives, trial.values, strict=True)
    )


def states_of(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[str]:
    """Return the state of each configuration, in the order of their numbers.

    It is the state in Optuna's storage, except that a RUNNING configuration is INTERRUPTED if no
    driver holds its claim, and one that has ended is INFEASIBLE if it exceeds a limit.

    Args:
        spec: the study.
        study: it, as `load` returns it; drivers change another one at any time.
        storage: the storage of its trials.
    """
    if not isinstance(study, Snapshot):
        study = Snapshot(study, storage.root / "studies" / spec.name)
    return [
        "INTERRUPTED" if trial.number in study.interrupted else _state_of(trial)
        for trial in study.get_trials(deepcopy=False)
    ]


def _state_of(trial: FrozenTrial) -> str:
    is_infeasible = trial.state.is_finished() and exceeds_limits(trial)
    return "INFEASIBLE" if is_infeasible else trial.state.name


def _counted(states: Iterable[str]) -> str:
    return ", ".join(f"{n} {state}" for state, n in Counter(states).items())


def summary_lines(spec: StudySpec, study: optuna.Study, storage: Storage) -> list[str]:
    """Summarize a study in lines: counts by state, the winner, and the known points beside it.

    The arguments are those of `states_of`.
    """
    trials = study.get_trials(deepcopy=False)
    states = states_of(spec, study, storage)
    lines = [f"{spec.name}: {_counted(states)}", *_left_out(spec, study)]
    if "COMPLETE" not in states:
        return lines
    best = winner(spec, study)
    first = best_first(spec, study)[0]
    title = "best" if first.number == best.number else "best new"
    lines.append(f"{title}: {describe(spec, best)}, {values_text(spec, best)}")
    for trial in trials:
        if known_label(spec, trial.params) and trial.number != best.number:
            is_complete = states[trial.number] == OptunaState.COMPLETE.name
            outcome = values_text(spec, trial) if is_complete else states[trial.number].lower()
            lines.append(f"known: {describe(spec, trial)}, {outcome}")
    if len(spec.objectives) > 1:
        front = sorted(study.best_trials, key=lambda trial: trial.values)
        lines += [f"front: {describe(spec, trial)}, {values_text(spec, trial)}" for trial in front]
    return lines


def _left_out(spec: StudySpec, study: optuna.Study) -> list[str]:
    """Return a line for each known point that is not evaluated, as the budget is spent."""
    waiting = study.get_trials(deepcopy=False, states=(OptunaState.WAITING,))
    labels = [known_label(spec, trial.system_attrs.get("fixed_params", {})) for trial in waiting]
    return [
        f"known: {label}, not evaluated, because the budget of {spec.configurations} "
        f"configurations is spent; enlarge `configurations` and search again"
        for label in labels
        if label and is_over(spec, study)
    ]


def is_over(spec: StudySpec, study: optuna.Study) -> bool:
    """Return whether as many configurations have finished as the budget allows."""
    return num_finished(study) >= spec.configurations
