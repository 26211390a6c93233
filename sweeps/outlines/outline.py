"""The outline of a sweep as JSON data, and the sweep that it stands for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweeps.cell import Cell
from sweeps.selection.part_of_sweep import PartOfSweep
from sweeps.spec import Block, PublishedCost, SweepSpec

if TYPE_CHECKING:
    from quantlab import Recipe

_FIELDS = (
    "block",
    "method",
    "coordinates",
    "fingerprint",
    "configuration_id",
    "resources",
    "knobs",
)


class OutlinedCell(Cell):
    """A trial whose recipe is loaded, with the whole sweep, when it is used first."""

    def __init__(
        self, values: Mapping[str, Any], load: Callable[[str], Mapping[str, "Recipe"]]
    ) -> None:
        """Describe a trial.

        Args:
            values: the fields of a `Cell`, apart from its recipe.
            load: returns the recipes of a sweep by their fingerprints.
        """
        for name, value in {**values, "_load": load}.items():
            object.__setattr__(self, name, value)

    _load: Callable[[str], Mapping[str, "Recipe"]]

    @cached_property
    def recipe(self) -> "Recipe":
        """The recipe."""
        return self._load(self.sweep)[self.fingerprint]


def outline_of(sweep: SweepSpec) -> dict[str, Any]:
    """Return the outline of a sweep as JSON data.

    Values that several trials have are listed once, in ``values``.
    """
    places: dict[str, int] = {}

    def place(value: object) -> int:
        return places.setdefault(json.dumps(value), len(places))

    cells = [
        {name: place(getattr(cell, name)) for name in _FIELDS}
        | {"facts": {name: place(value) for name, value in cell.facts.items()}}
        for cell in sweep.cells
    ]
    blocks = [
        {
            "label": block.label,
            "method": block.method,
            "seeds": block.seeds,
            "resources": block.resources,
            "cost": block.cost and asdict(block.cost),
            "priority": block.priority,
        }
        for block in sweep.blocks
    ]
    return {
        "name": sweep.name,
        "description": sweep.description,
        "experiment": sweep.experiment,
        "seeds": sweep.seeds,
        "blocks": blocks,
        "values": list(map(json.loads, places)),
        "cells": cells,
    }


def sweep_of(
    outline: Mapping[str, Any], load: Callable[[str], Mapping[str, "Recipe"]]
) -> SweepSpec:
    """Return the sweep of an outline, whose blocks have no recipes.

    Args:
        outline: what `outline_of` returned.
        load: returns the recipes of a sweep by their fingerprints.
    """
    values = outline["values"]
    cells = [
        OutlinedCell(
            {
                "sweep": outline["name"],
                **{name: values[cell[name]] for name in _FIELDS},
                "facts": {name: values[place] for name, place in cell["facts"].items()},
            },
            load,
        )
        for cell in outline["cells"]
    ]
    blocks = [
        Block(
            block["label"],
            method=block["method"],
            seeds=block["seeds"] and tuple(block["seeds"]),
            resources=block["resources"],
            cost=block["cost"] and PublishedCost(**block["cost"]),
            priority=block["priority"],
        )
        for block in outline["blocks"]
    ]
    return PartOfSweep(
        name=outline["name"],
        description=outline["description"],
        experiment=outline["experiment"],
        seeds=tuple(outline["seeds"]),
        blocks=tuple(blocks),
        trials=tuple(cells),
        report=outline["name"],
    )
