"""From a study's winner to a grid that confirms it, or does not, on seeds it was not chosen by."""

import pprint
from pathlib import Path

import optuna
from optuna.trial import FixedTrial

from quantlab import ConfigurationError, Recipe
from sweeps.loading import FILE_MODULE_PREFIX
from sweeps.race import url_of
from sweeps.storage import Storage, write_atomically
from sweeps.study import StudySpec

_GRID = '''"""Does the winner of the study {name} win on seeds it was not chosen by?

Configuration {number} of {tried}, found with {found:.4f} {objective}.
"""

from optuna.trial import FixedTrial

from sweeps.loading import load_study
from sweeps.spec import Block, SweepSpec

STUDY = load_study({source!r})
WINNER = {params}
REFERENCES = {{label: point for label, point in STUDY.known.items() if dict(point) != WINNER}}


def block(label, point):
    return Block(label, base=STUDY.recipe(FixedTrial(dict(point))))


SWEEP = SweepSpec(
    name="{name}-confirmed",
    description="the winner of {name} and the points that were known, on fresh seeds",
    blocks=(block("winner", WINNER), *(block(*point) for point in REFERENCES.items())),
    seeds={seeds},
)
'''


def winner(
    spec: StudySpec, storage: Storage, study_storage: str | None
) -> optuna.trial.FrozenTrial:
    """The best configuration; of several objectives, the best in the first of them.

    Raises:
        ConfigurationError: none has been tried to its end yet.
    """
    study = optuna.load_study(study_name=spec.name, storage=url_of(storage, study_storage))
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not complete:
        raise ConfigurationError(f"study {spec.name}: no configuration has been tried to its end")
    sign = 1 if spec.objectives[0].direction == "maximize" else -1
    return max(complete, key=lambda trial: sign * trial.values[0])


def write_confirmation(
    spec: StudySpec, source: str, storage: Storage, study_storage: str | None, path: Path
) -> None:
    """Write a sweep's file: the winner against the study's known points.

    Args:
        spec: the study.
        source: its name, or its file's path.
        storage: where its trials lie.
        study_storage: see `Race`.
        path: of the file.

    Raises:
        ConfigurationError: nothing has won yet.
    """
    best = winner(spec, storage, study_storage)
    study = optuna.load_study(study_name=spec.name, storage=url_of(storage, study_storage))
    text = _GRID.format(
        name=spec.name,
        number=best.number,
        tried=sum(trial.state.is_finished() for trial in study.trials),
        found=best.values[0],
        objective=spec.objectives[0].name,
        source=str(Path(source).resolve()) if source.endswith(".py") else source,
        params=pprint.pformat(dict(best.params), sort_dicts=False, width=96),
        seeds=spec.confirmation_seeds,
    )
    write_atomically(path, text)


def snippet(spec: StudySpec, params: dict[str, object]) -> str:
    """The quantizer of a point as Python, with what it needs to be imported."""
    recipe: Recipe = spec.recipe(FixedTrial(dict(params)))
    if recipe.quantization is None:
        return "# full precision"
    quantizer = recipe.quantization.quantizer
    imports: dict[str, set[str]] = {}
    _collect(quantizer, imports)
    for module in [module for module in imports if module.startswith(FILE_MODULE_PREFIX)]:
        del imports[module]  # beside the study, in the user's own file
    lines = [
        f"from {module} import {', '.join(sorted(imports[module]))}" for module in sorted(imports)
    ]
    return "\n".join([*lines, "", f"QUANTIZER = {quantizer!r}"])


def _collect(value: object, imports: dict[str, set[str]]) -> None:
    """Classes that a value's `repr` names, by module."""
    if isinstance(value, tuple):
        for item in value:
            _collect(item, imports)
    elif hasattr(value, "__dataclass_fields__"):
        imports.setdefault(type(value).__module__, set()).add(type(value).__name__)
        for name in value.__dataclass_fields__:
            _collect(getattr(value, name), imports)
