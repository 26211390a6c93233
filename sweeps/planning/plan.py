"""The plan of a sweep: the number of trials by block, their dependencies, and the cost."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from analysis.text import plain
from quantlab import ConfigurationError
from quantlab.packs.compatibility import pack_key
from sweeps.planning.estimate import estimates
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.trial_states import states_of


def plan_of(sweep: SweepSpec, storage: Storage) -> dict[str, Any]:
    """Return the plan as JSON data, without writing anything.

    ``to_run`` counts unfinished trials, and ``waiting`` those among them that need the network of a
    trial that is not complete. Hours are those of `sweeps.planning.estimate`. ``trial_list`` has
    every trial: its fingerprint, name, block, method, axes (name -> label), seed, state, and the
    fingerprints of the trials that it ``starts_from`` and that it is ``taught_by``, or null.
    ``alone`` counts the trials that no pack can have, by the reason.
    """
    states = states_of(sweep.cells, storage)
    names = {cell.fingerprint: cell.name for cell in sweep.cells}

    def is_waiting(cell: Cell) -> bool:
        if states[cell.fingerprint].is_finished:
            return False
        found = (states.get(parent) or storage.trial(parent).state() for parent in cell.parents)
        return any(state is not TrialState.COMPLETE for state in found)

    def counts(cells: list[Cell]) -> dict[str, int]:
        finished = sum(states[cell.fingerprint].is_finished for cell in cells)
        return {
            "trials": len(cells),
            "finished": finished,
            "to_run": len(cells) - finished,
            "waiting": sum(map(is_waiting, cells)),
        }

    blocks = []
    for block in sweep.blocks:
        cells = [cell for cell in sweep.cells if cell.block == block.label]
        parents = dict.fromkeys(parent for cell in cells for parent in cell.parents)
        depends_on = [names.get(parent, f"trial {parent}") for parent in parents]
        blocks.append({"label": block.label, **counts(cells), "depends_on": depends_on})
    trials = [
        {
            "fingerprint": cell.fingerprint,
            "name": cell.name,
            "block": cell.block,
            "method": cell.method,
            "axes": dict(cell.coordinates),
            "seed": cell.recipe.seed,
            "state": states[cell.fingerprint].value,
            "starts_from": cell.starts_from,
            "taught_by": cell.taught_by,
        }
        for cell in sweep.cells
    ]
    costs = estimates(sweep, storage)
    return {
        "name": sweep.name,
        "description": sweep.description,
        **counts(list(sweep.cells)),
        "blocks": blocks,
        "trial_list": trials,
        "alone": _alone(sweep.cells),
        "costs": [
            {**asdict(cost), "hours": cost.hours, "hours_to_run": cost.hours_to_run}
            for cost in costs
        ],
    }


def describe(plan: dict[str, Any]) -> str:
    """Format a plan of `plan_of` as two tables of text."""
    about = "\n".join(map(plain, plan["description"].splitlines()))
    head = f"{plan['name']}: {about}" if about else plan["name"]
    everything = {**plan, "label": "all", "depends_on": []}
    counts = [["block", "trials", "finished", "to run", "waiting", "after"]]
    counts += [
        [
            row["label"],
            *(str(row[key]) for key in ("trials", "finished", "to_run", "waiting")),
            ", ".join(row["depends_on"]),
        ]
        for row in (*plan["blocks"], everything)
    ]
    costs = [["cost", "trials", "to run", "h per trial", "h in total", "h to run", "source"]]
    costs += [
        [
            row["what"],
            str(row["trials"]),
            str(row["to_run"]),
            *(_hours(row[key]) for key in ("hours_per_trial", "hours", "hours_to_run")),
            row["source"],
        ]
        for row in plan["costs"]
    ]
    if all(row["hours"] is not None for row in plan["costs"]):
        sums = (sum(row[key] for row in plan["costs"]) for key in ("hours", "hours_to_run"))
        totals = [str(plan["trials"]), str(plan["to_run"]), "", *map(_hours, sums), ""]
        costs.append(["all", *totals])
    alone = [
        f"--pack does not apply to {row['trials']} trials: {row['reason']}" for row in plan["alone"]
    ]
    notes = ["", *plan["notes"]] if plan.get("notes") else []
    return "\n".join([head, *_aligned(counts), "", *_aligned(costs), *alone, *notes])


def _alone(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Count the trials that cannot be trained in any pack, by the reason."""
    reasons: Counter[str] = Counter()
    for cell in cells:
        try:
            pack_key(cell.recipe)
        except ConfigurationError as error:
            reasons[str(error)] += 1
    return [{"trials": count, "reason": reason} for reason, count in reasons.items()]


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    return f"{hours:.1f}" if hours >= 1 or hours == 0 else f"{hours:.2g}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Align the first and last column, which are text, to the left, and numbers to the right."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)),
                row[-1],
            ]
        ).rstrip()
        for row in rows
    ]
