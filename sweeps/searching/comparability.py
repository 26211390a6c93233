"""What must stay the same in a study, so that earlier and later configurations can be compared."""

from typing import Any

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError
from quantlab.canonical import canonical_key
from sweeps.evaluation.whole_seeds import WholeSeeds
from sweeps.searching.results import recipe_of
from sweeps.study import StudySpec

_ATTRIBUTE = "judged_by"
"""Attribute of the study in Optuna's storage: by what its configurations are judged."""

_COMPARED = "what the pruner compares"
"""Name of the unit of the pruner's steps in this record."""


def require_comparable(spec: StudySpec, study: optuna.Study) -> None:
    """Require that earlier and later configurations of a study can be compared.

    Args:
        spec: the study as it is now.
        study: it in Optuna's storage, where what it is judged by is recorded.

    Raises:
        ConfigurationError: the study was changed so that they cannot.
    """
    before = study.user_attrs.get(_ATTRIBUTE)
    now, later = _judged_by(spec), _judged_by_since(spec)
    for name, value in (now | later).items():
        if before is None:
            break
        if name in before:
            earlier = before[name]
        elif name == _COMPARED:
            earlier = _compared_before(spec, study)
        else:  # an earlier release recorded nothing of what later ones record
            earlier = value if name in later else type(value)()
        if earlier != value:
            raise ConfigurationError(
                f"study {spec.name}: {name} changed from {earlier} to {value} since the "
                "study was started; give the study another name"
            )
    for frozen in study.get_trials(deepcopy=False):
        if "recipe" in frozen.user_attrs:
            recipe_of(spec, frozen)
            _require_same_parameters(spec, frozen)
    if before is None or later.keys() - before.keys():
        study.set_user_attr(_ATTRIBUTE, (before or now) | later)


def _judged_by(spec: StudySpec) -> dict[str, Any]:
    """Return what all releases record; in a record without one of these, the study had none."""
    return {
        "objectives": [
            [objective.name, objective.direction, objective.cautious]
            + ([] if objective.quantile is None else [objective.quantile])
            for objective in spec.objectives
        ],
        "seeds": list(spec.seeds),
        "settings": {
            label: {path: canonical_key(value) for path, value in overrides.items()}
            for label, overrides in spec.settings.items()
        },
        "neighbourhoods": [
            [knob.name, list(knob.paths), list(knob.factors), list(knob.steps)]
            for knob in spec.neighbourhoods
        ],
        "constraints": [[limit.name, limit.limit] for limit in spec.constraints],
    }


def _judged_by_since(spec: StudySpec) -> dict[str, Any]:
    """Return what later releases record besides, without what has no effect in this study."""
    halving = spec.pruner.rungs if spec.prunes and isinstance(spec.pruner, WholeSeeds) else None
    found = {
        # As text, because JSON has no infinite numbers.
        "values of diverged trials": [repr(one.of_diverged) for one in spec.objectives],
        "directions of the limits": [limit.value.direction for limit in spec.constraints],
        _COMPARED: _compared(spec),
        "first and reduction of seed_halving": list(halving or ()),
    }
    return {name: value for name, value in found.items() if value}


def _compared(spec: StudySpec) -> str:
    """Return what the pruner compares configurations after; empty if nothing is pruned."""
    if not spec.prunes:
        return ""
    if spec.prunes_by_seeds:
        return "whole seeds"
    return f"epochs of {spec.objectives[0].curve}" if spec.prunes_within_seeds else "epochs"


def _compared_before(spec: StudySpec, study: optuna.Study) -> str:
    """Return what the pruner has compared in a study of a release that did not record it.

    The last step of a complete configuration is its number of seeds, or of the epochs of all. If
    one has the steps of now, it is what is compared now.
    """
    others = set()
    for frozen in study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,)):
        trained = spec.variants(recipe_of(spec, frozen))[0].recipe
        epochs = trained.epochs + trained.batchnorm_epochs
        own, other = (1, epochs) if spec.prunes_by_seeds else (epochs, 1)
        if frozen.last_step in (None, own * len(spec.seeds)):
            return _compared(spec)
        if frozen.last_step == other * len(spec.seeds):
            others.add("epochs" if spec.prunes_by_seeds else "whole seeds")
    return others.pop() if others else _compared(spec)


def _require_same_parameters(spec: StudySpec, before: FrozenTrial) -> None:
    """Require parameters of the same kind, and with the same choices, as Optuna demands."""
    now = FixedTrial(before.params)
    spec.recipe(now)
    for name, distribution in now.distributions.items():
        try:
            check_distribution_compatibility(before.distributions[name], distribution)
        except ValueError as error:
            raise ConfigurationError(
                f"study {spec.name}: parameter {name!r} changed from "
                f"{before.distributions[name]} in configuration {before.number} to "
                f"{distribution}; give the study another name"
            ) from error
