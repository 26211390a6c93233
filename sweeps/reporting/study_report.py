"""Write the report of a study."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from analysis.report.failures import FailedTrial
from analysis.report.latex_columns import LatexOptions, UnknownColumnError
from analysis.report.study import StudyReport, write_study_report
from analysis.study_schema import OBJECTIVE_PREFIX, PARAMETER_PREFIX, StudyMeasurements
from quantlab import ConfigurationError, configuration_id
from sweeps.reporting.maps import quantizer_maps
from sweeps.reporting.snippet import formula, snippet
from sweeps.reporting.study_figures import optuna_figures
from sweeps.searching.results import (
    describe,
    known_label,
    recipe_of,
    states_of,
    summary_lines,
    trials_of,
    winner,
)
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.storage.provenance import analysed_with
from sweeps.study import StudySpec


def measurements_of_study(
    spec: StudySpec, study: optuna.Study, storage: Storage
) -> StudyMeasurements:
    """Collect what the report of a study needs.

    Raises:
        ConfigurationError: no configuration is complete.
    """
    best = winner(spec, study)
    front = {trial.number for trial in study.best_trials}
    states = states_of(spec, study, storage)
    rows, cells = [], {}
    for trial, begun in trials_of(spec, study, storage):
        row = _row(spec, trial, begun, storage) | {"state": states[trial.number]}
        rows.append(row | {"on_front": trial.number in front})
        cells[trial.number] = begun
    recipe = recipe_of(spec, best)
    plotted = [best.number, *(row["configuration"] for row in rows if row["label"])]
    named = {number: describe(spec, study.trials[number]) for number in dict.fromkeys(plotted)}
    return StudyMeasurements(
        configurations=pd.DataFrame(rows),
        objectives=[objective.shown for objective in spec.objectives],
        maps=quantizer_maps(
            {
                name: _centre(spec, study.trials[number], cells[number])
                for number, name in named.items()
                if cells[number]
            },
            storage,
        ),
        standing=summary_lines(spec, study, storage),
        winner=describe(spec, best),
        formula=formula(recipe),
        snippet=snippet(recipe),
        variants=_variants(spec, {name: cells[number] for number, name in named.items()}, storage),
    )


def _centre(spec: StudySpec, trial: FrozenTrial, begun: list[Cell]) -> Cell:
    """Return a trial of a configuration, with its own values of the knobs if one has begun."""
    own = configuration_id(recipe_of(spec, trial))
    return next((cell for cell in begun if cell.configuration_id == own), begun[0])


def _variants(
    spec: StudySpec, configurations: Mapping[str, list[Cell]], storage: Storage
) -> pd.DataFrame:
    """Return the values of configurations in each setting and with each value of the knobs.

    Args:
        spec: the study.
        configurations: name -> the trials that have begun.
        storage: the folder of the trials.
    """
    if not spec.settings and not spec.neighbourhoods:
        return pd.DataFrame()
    objective, rows = spec.objectives[0], []
    for name, cells in configurations.items():
        found: dict[tuple[tuple[str, str], ...], list[float]] = {}
        for cell in cells:
            result = storage.trial(cell.fingerprint).result.read()
            if result is None or not result.state.is_finished:
                continue
            own = {key: label for key, label in cell.coordinates.items() if key != "configuration"}
            found.setdefault(tuple(own.items()), []).append(
                objective.of_trial(cell.recipe, result.as_mapping())
            )
        rows += [
            {"configuration": name, **dict(coordinates)}
            | {"trials": len(values), "mean": math.fsum(values) / len(values)}
            | {"worst": objective.worst_of(values)}
            for coordinates, values in found.items()
        ]
    return pd.DataFrame(rows)


def _row(
    spec: StudySpec, trial: FrozenTrial, begun: list[Cell], storage: Storage
) -> dict[str, Any]:
    folders = [storage.trial(cell.fingerprint) for cell in begun]
    own = {folder.fingerprint: folder for folder in folders}  # two settings may share a trial
    histories = [folder.read_history() for folder in own.values()]
    values = trial.values if trial.state is OptunaState.COMPLETE else [None] * len(spec.objectives)
    named = zip(spec.objectives, values, strict=True)
    return {
        "configuration": trial.number,
        "label": known_label(spec, trial.params),
        "seeds": _whole_seeds(spec, trial, sum(folder.state().is_finished for folder in folders)),
        "epochs": sum(map(len, histories)),
        "seconds": sum(history.seconds for history in histories),
        **{f"{OBJECTIVE_PREFIX}{objective.name}": value for objective, value in named},
        **{f"{PARAMETER_PREFIX}{name}": value for name, value in trial.params.items()},
    }


def _whole_seeds(spec: StudySpec, trial: FrozenTrial, finished: int) -> int:
    """Return how many seeds are whole; they are trained one after the other."""
    if not spec.settings and not spec.neighbourhoods:
        return finished
    return finished // len(spec.variants(recipe_of(spec, trial)))


def report_study(
    spec: StudySpec,
    study: optuna.Study,
    storage: Storage,
    out: Path,
    facts: Mapping[str, str],
    formats: Collection[str],
    latex: LatexOptions,
    failed: Sequence[FailedTrial] = (),
) -> StudyReport:
    """Write the report of a study.

    Args:
        spec: the study.
        study: the study in Optuna's storage.
        storage: the folder of its trials.
        out: folder of the report.
        facts: lines of the page's head; the versions of the analysis are added.
        formats: keys of `analysis.report.files.FORMATS`.
        latex: options of the LaTeX files.
        failed: its failed trials, which the page lists.

    Raises:
        ConfigurationError: no configuration is complete, or the folder cannot be written to.
    """
    try:
        return write_study_report(
            measurements_of_study(spec, study, storage),
            out,
            title=f"Study {spec.name}",
            facts={**facts, **analysed_with()},
            draw=lambda: optuna_figures(spec, study),
            formats=formats,
            latex=latex,
            failed=failed,
        )
    except UnknownColumnError as error:
        raise ConfigurationError(f"--columns: {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"--out {out}: the folder cannot be written to ({error.strerror})"
        ) from error
