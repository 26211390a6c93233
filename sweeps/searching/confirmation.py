"""The blocks of a sweep that confirms a configuration of a study on seeds it was not chosen by."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FixedTrial

from sweeps.evaluation.variants import in_setting
from sweeps.spec import Block
from sweeps.study import StudySpec


def confirmation_blocks(spec: StudySpec, label: str, point: Mapping[str, Any]) -> tuple[Block, ...]:
    """Return the blocks of a configuration, one for each setting, with its knobs as axes.

    The settings are those of the search and those that it never saw.

    Args:
        spec: the study.
        label: name of the configuration, which is the method in tables.
        point: its parameters.

    Raises:
        ConfigurationError: the space has no such point.
    """
    recipe = spec.recipe(FixedTrial(dict(point)))
    blocks = []
    settings = {**(spec.settings or {"": {}}), **spec.confirmation_settings}
    for setting, overrides in settings.items():
        base = in_setting(recipe, setting, overrides)
        axes = tuple(knob.axis(base, confirms=True) for knob in spec.neighbourhoods)
        name = f"{label}, {setting}" if setting else label
        blocks.append(Block(name, base=base, axes=axes, method=label, resources=spec.resources))
    return tuple(blocks)
