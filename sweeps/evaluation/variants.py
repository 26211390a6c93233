"""The variants of a configuration: its recipe in each setting, and with each value of its knobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from quantlab import ConfigurationError, Recipe, configuration_id
from sweeps.evaluation.neighbourhood import Neighbourhood
from sweeps.labels import require_label
from sweeps.plain_values import mapping_of
from sweeps.spec import overridden

SETTING = "setting"
"""The coordinate of a trial of a study that names its setting."""


@dataclass(frozen=True)
class Variant:
    """A recipe with which a configuration is trained, with every seed."""

    coordinates: Mapping[str, str]
    """The setting, if the study has several, and the values of its knobs: name -> label."""
    recipe: Recipe


def variants(
    recipe: Recipe,
    settings: Mapping[str, Mapping[str, Any]],
    neighbourhoods: Sequence[Neighbourhood],
) -> tuple[Variant, ...]:
    """Return the variants of a configuration.

    Values of knobs that repeat a recipe of their setting are left out, and so are settings that
    give the configuration the same recipe as an earlier one. Two settings may share neighbours,
    each of which is a variant in both.

    Args:
        recipe: the recipe of the configuration.
        settings: label -> path -> value, see `sweeps.study.StudySpec.settings`.
        neighbourhoods: the knobs, every combination of whose values is a neighbour.

    Raises:
        ConfigurationError: a setting or a value of a knob is not possible for this recipe.
    """
    found: list[Variant] = []
    bases: set[str] = set()
    for label, overrides in (settings or {"": {}}).items():
        base = in_setting(recipe, label, overrides)
        if (own := configuration_id(base)) in bases:
            continue
        bases.add(own)
        here: dict[str, Variant] = {}
        axes = [neighbourhood.axis(base) for neighbourhood in neighbourhoods]
        for values in product(*(axis.labelled.items() for axis in axes)):
            changed, coordinates = base, {SETTING: label} if label else {}
            for axis, (name, value) in zip(axes, values, strict=True):
                where = f"neighbourhood {axis.name!r}, value {name}"
                changed = overridden(changed, axis.path, value, where)
                coordinates[axis.name] = name
            here.setdefault(configuration_id(changed), Variant(coordinates, changed))
        found += here.values()
    return tuple(found)


def in_setting(recipe: Recipe, label: str, overrides: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a configuration in a setting.

    Args:
        recipe: the recipe of the configuration.
        label: name of the setting, for the message.
        overrides: path -> value.

    Raises:
        ConfigurationError: a path names no field, or a value is not allowed.
    """
    for path, value in overrides.items():
        recipe = overridden(recipe, path, value, f"setting {label!r}")
    return recipe


def settings_of(values: object, where: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a study.

    Args:
        values: label -> path -> value.
        where: name of the field, for messages.

    Raises:
        ConfigurationError: it is no such mapping, or a setting has a seed.
    """
    example = "{'digits': {'dataset': Digits()}}"
    found = {}
    for label, overrides in mapping_of(values, where, example).items():
        label = require_label(label, f"{where}: label")
        found[label] = mapping_of(overrides, f"{where}[{label!r}]", "{'dataset': Digits()}")
        if any(path.split(".")[0] == "seed" for path in found[label]):
            raise ConfigurationError(
                f"{where}[{label!r}] sets the seed: must not; set StudySpec.seeds instead"
            )
    return found
