"""The check that trials state the networks of their teachers as they are."""

import json
from collections.abc import Iterable
from typing import Any

from quantlab import ConfigurationError
from quantlab.canonical import canonical
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.record_files import read_text
from sweeps.storage.sealed_json import DamagedError


def require_networks_of_teachers(cells: Iterable[Cell], storage: Storage) -> None:
    """Check `Distillation.model` of trials whose teachers are other trials.

    A teacher whose recipe is neither among the trials nor in the storage is not checked here.

    Args:
        cells: the trials to train.
        storage: the storage of the trials.

    Raises:
        ConfigurationError: if a teacher's network is another one.
    """
    cells = list(cells)
    recipes = {cell.fingerprint: cell.recipe for cell in cells}
    found: dict[str, Any] = {}
    for cell in cells:
        distillation, teacher = cell.recipe.distillation, cell.taught_by
        if distillation is None or teacher is None:
            continue
        if teacher not in found:
            own = recipes.get(teacher)
            found[teacher] = (
                _recorded(storage.trial(teacher)) if own is None else canonical(own.model)
            )
        stated = canonical(distillation.model or cell.recipe.model)
        if found[teacher] is not None and not _agree(stated, found[teacher]):
            raise ConfigurationError(
                f"trial {cell.name!r}: Distillation.model = {distillation.model!r}: must be "
                f"{_shown(found[teacher])}, the network of its teacher, trial {teacher}"
            )


def _recorded(folder: TrialFolder) -> Any:
    """Return the network in the recipe of a trial's folder; None if it cannot be read."""
    try:
        return json.loads(read_text(folder.recipe) or "")["recipe"]["model"]
    except (DamagedError, ValueError, KeyError, TypeError):
        return None


def _agree(stated: Any, recorded: Any) -> bool:
    """Whether two values are equal in all fields that both have; releases may add fields."""
    if isinstance(stated, dict) and isinstance(recorded, dict):
        return all(_agree(stated[key], recorded[key]) for key in stated.keys() & recorded.keys())
    return bool(stated == recorded)


def _shown(data: Any) -> str:
    """Write the canonical form of a network as Python."""
    if isinstance(data, dict) and "type" in data:
        fields = (f"{key}={_shown(value)}" for key, value in data.items() if key != "type")
        return f"{str(data['type']).partition('@')[0]}({', '.join(fields)})"
    return repr(data)
