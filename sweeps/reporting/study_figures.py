"""Optuna's visualizations of a study, as figures of a report."""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib import pyplot
from matplotlib.figure import Figure
from optuna.trial import TrialState as OptunaState

from analysis.figures.drawn import Drawn
from analysis.figures.style import drawable_labels, freeze_layout
from analysis.report.study import FOUND, SEARCH, SPACE
from sweeps.study import StudySpec

MOST_PARAMETERS = 4
"""The most important parameters, up to this number, have a slice plot."""
_WIDTH, _HEIGHT = 6.4, 3.2


def optuna_figures(spec: StudySpec, study: optuna.Study) -> Iterator[Drawn]:
    """Yield Optuna's figures of a study; those that need more configurations are left out.

    Values are those of tables, in the unit of their objective.
    """
    study = _as_printed(spec, study)
    complete = study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))
    if len(complete) < 2:
        return
    is_single = len(spec.objectives) == 1
    if not is_single:
        reference = _reference(spec, complete)
        yield _drawn(
            "hypervolume",
            FOUND,
            "Hypervolume of the Pareto front after each configuration. The reference point has the "
            f"worst value of each objective ({', '.join(f'{value:.4g}' for value in reference)}).",
            "plot_hypervolume_history",
            study,
            reference_point=reference,
        )
    for place, objective in enumerate(spec.objectives):
        ending = "" if is_single else f"_{place + 1}"
        label = drawable_labels([objective.name])[objective.name]
        unit = f" ({objective.unit})" if objective.unit else ""
        about: dict[str, Any] = {"target_name": f"{label}{unit}"}
        if not is_single:
            about["target"] = _value(place)
        yield _drawn(
            f"history{ending}",
            SEARCH,
            f"The {objective.name} of each complete configuration, in the order in which they were "
            f"sampled{'; the line is the best value so far' if is_single else ''}.",
            "plot_optimization_history",
            study,
            **about,
        )
        parameters = {name for trial in complete for name in trial.params}
        values = {trial.values[place] for trial in complete}
        if len(parameters) > 1 and sum(map(math.isfinite, values)) > 3:
            yield from _space(study, place, ending, label, about)
    if is_single and any(trial.intermediate_values for trial in study.trials):
        yield _drawn(
            "curves",
            SEARCH,
            f"Intermediate values that the pruner received: {_reported(spec)}. A line that ends "
            "early is of a pruned configuration.",
            "plot_intermediate_values",
            study,
        )
    yield _drawn(
        "timeline", SEARCH, "When each configuration was evaluated.", "plot_timeline", study
    )


def _reported(spec: StudySpec) -> str:
    """Say what the pruner of a study receives."""
    if spec.prunes_within_seeds:
        return (
            "the objective over the seeds so far, in which the current seed counts with its "
            "learning curve"
        )
    steps = "numbers of seeds" if spec.prunes_by_seeds else "epochs"
    return f"the objective over the seeds that were whole; its steps are {steps}"


def _space(
    study: optuna.Study, place: int, ending: str, name: str, about: dict[str, Any]
) -> Iterator[Drawn]:
    """Yield the importances of the parameters, and slices along the most important ones."""
    target = about.get("target")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of its experimental features
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        importances = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=target
        )
    first = list(importances)[:MOST_PARAMETERS]
    yield _drawn(
        f"importance{ending}",
        SPACE,
        f"Share of each parameter in the variance of the {name} over the complete configurations, "
        "by fANOVA, for parameters that all of them have. A search samples good regions more "
        "densely, so this is not the variance over the whole space.",
        "plot_param_importances",
        study,
        evaluator=evaluator,
        **about,
    )
    yield _drawn(
        f"slice{ending}",
        SPACE,
        f"The {name} over each of the most important parameters; darker points are later.",
        "plot_slice",
        study,
        params=first,
        **about,
    )


def _drawn(
    name: str, section: str, caption: str, plot: str, *arguments: Any, **options: Any
) -> Drawn:
    return Drawn(name, section, caption, _figure(plot, *arguments, **options))


def _figure(plot: str, *arguments: Any, **options: Any) -> Figure:
    """Draw a figure with Optuna, without its global style, at the size of a page."""
    draw = getattr(optuna.visualization.matplotlib, plot)
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")
        matplotlib.use("Agg")
        axes = np.atleast_1d(np.asarray(draw(*arguments, **options), dtype=object))
        figure: Figure = axes.flat[0].figure
        for each in axes.flat:
            if each.get_legend() is not None and len(each.get_legend().get_texts()) > 8:
                each.get_legend().remove()  # it has an entry for each configuration
        figure.set_size_inches(_WIDTH, _HEIGHT * (1 + (plot == "plot_param_importances")))
        freeze_layout(figure)
        pyplot.close(figure)
    return figure


def _as_printed(spec: StudySpec, study: optuna.Study) -> optuna.Study:
    """Return a copy of a study in memory, whose values have the factors of their objectives."""
    factors = [objective.factor for objective in spec.objectives]
    trials = study.get_trials()
    for trial in trials:
        if trial.values is not None:
            trial.values = [
                factor * value for factor, value in zip(factors, trial.values, strict=True)
            ]
        trial.intermediate_values = {
            step: factors[0] * value for step, value in trial.intermediate_values.items()
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of its experimental features
        copy = optuna.create_study(
            study_name=study.study_name,
            storage=optuna.storages.InMemoryStorage(),
            directions=study.directions,
        )
        copy.add_trials(trials)
    return copy


def _value(place: int) -> Callable[[optuna.trial.FrozenTrial], float]:
    return lambda trial: float(trial.values[place])


def _reference(spec: StudySpec, complete: list[optuna.trial.FrozenTrial]) -> list[float]:
    """Return the worst finite value of each objective; 0 without any."""
    values = [
        [value for value in of_objective if math.isfinite(value)]
        for of_objective in zip(*(trial.values for trial in complete), strict=True)
    ]
    return [
        (max if objective.direction == "minimize" else min)(own, default=0.0)
        for objective, own in zip(spec.objectives, values, strict=True)
    ]
