"""The plan of a sweep: its trials by block, their dependencies, and what they cost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from analysis.text import plain
from sweeps.cell import fact
from sweeps.planning.budget import budget_of
from sweeps.planning.costs.machine import ONE_BY_ONE, Machine
from sweeps.printing.number_of import number_of
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.trial_states import states_of
from sweeps.terminal.duration import duration
from sweeps.terminal.table import Column, as_text, fitted

if TYPE_CHECKING:
    from sweeps.archive.archive import Archive
    from sweeps.planning.costs.timing import Timing


def plan_of(
    sweep: SweepSpec,
    storage: Storage,
    machine: Machine = ONE_BY_ONE,
    timing: "Timing | None" = None,
    archive: "Archive | None" = None,
) -> dict[str, Any]:
    """Return the plan as JSON data, without writing results.

    ``to_run`` counts unfinished trials, and ``waiting`` those among them that need the network of a
    trial that is not complete. ``costs`` and ``time`` are those of `sweeps.planning.budget`.
    Each of ``blocks`` has such counts, the names of the trials that it ``depends_on``, and the
    ``resources`` that each of its trials reserves. ``trial_list`` has every trial: its fingerprint,
    name, block, method, axes (name -> label), seed, state, and the fingerprints of the trials that
    it ``starts_from`` and that it is ``taught_by``, or null. ``alone`` counts the trials that no
    pack can have, by the reason.
    ``archive`` has the URL of the archive and how many unfinished trials it has, which count as
    finished; null without one.

    Args:
        sweep: the sweep.
        storage: the storage of its trials.
        machine: how this machine trains the trials.
        timing: measures trials of whose kind none has finished; None to measure none.
        archive: from which `sweeps run` would take finished trials; None for none.

    Raises:
        ConfigurationError: trials cannot be measured, see `budget_of`; or the archive does not
            answer.
    """
    states = states_of(sweep.cells, storage)
    archived = set() if archive is None else archive.objects().keys() & states.keys()
    archived = {name for name in archived if not states[name].is_finished}
    states |= dict.fromkeys(archived, TrialState.COMPLETE)
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
        own = {"depends_on": depends_on, "resources": dict(block.resources)}
        blocks.append({"label": block.label, **counts(cells), **own})
    trials = [
        {
            "fingerprint": cell.fingerprint,
            "name": cell.name,
            "block": cell.block,
            "method": cell.method,
            "axes": dict(cell.coordinates),
            "seed": cell.seed,
            "state": states[cell.fingerprint].value,
            "starts_from": cell.starts_from,
            "taught_by": cell.taught_by,
        }
        for cell in sweep.cells
    ]
    unfinished = {name for name, state in states.items() if not state.is_finished}
    return {
        "name": sweep.name,
        "description": sweep.description,
        **counts(list(sweep.cells)),
        "blocks": blocks,
        "trial_list": trials,
        "alone": _alone(sweep.cells),
        "archive": archive and {"url": archive.url, "trials": len(archived)},
        **budget_of(sweep, storage, unfinished, machine, timing),
    }


def describe(plan: dict[str, Any], width: int = 80) -> str:
    """Format a plan of `plan_of` as text: two tables, and lines about the time and the networks.

    Args:
        plan: the plan.
        width: letters of a line, for the tables.
    """
    about = "\n".join(map(plain, plan["description"].splitlines()))
    head = f"{plan['name']}: {about}" if about else plan["name"]
    tables = [as_text(fitted(own, width), width) for own in (_counts(plan), _costs(plan))]
    alone = [
        f"--pack does not apply to {number_of(row['trials'], 'trial')}: {row['reason']}"
        for row in plan["alone"]
    ]
    notes = ["", *plan["notes"]] if plan.get("notes") else []
    decided = plan.get("until_decided") or {"lines": []}
    lines = [*_together(plan), *decided["lines"], *_needed(plan), *alone, *notes]
    return "\n".join([head, tables[0], *_archived(plan), "", tables[1], *lines])


def _archived(plan: dict[str, Any]) -> list[str]:
    """Return the line about finished trials that only the archive has."""
    if not plan["archive"] or not plan["archive"]["trials"]:
        return []
    url, count = plan["archive"]["url"], plan["archive"]["trials"]
    return [f"{count} of the finished trials are in {url}; `sweeps run` takes them from there."]


def _counts(plan: dict[str, Any]) -> list[Column]:
    """Return the table of the trials by block and in all."""
    rows = [*plan["blocks"], {**plan, "label": "all", "depends_on": []}]
    keys = ("trials", "finished", "to_run", "waiting")
    columns = [
        _texts("block", (row["label"] for row in rows)),
        *(_numbers(key.replace("_", " "), (str(row[key]) for row in rows)) for key in keys),
    ]
    if any(row["depends_on"] for row in rows):
        columns.append(_texts("after", (", ".join(row["depends_on"]) for row in rows)))
    return columns


def _costs(plan: dict[str, Any]) -> list[Column]:
    """Return the table of the costs by kind of trial and, if all of them are known, in all."""
    rows = list(plan["costs"])
    if all(row["hours"] is not None for row in rows):
        keys = ("trials", "to_run", "hours", "hours_to_run")
        total = {key: sum(row[key] for row in rows) for key in keys}
        rows.append({"what": "all", "source": "", **total})
    hours = {"per trial": "hours_per_trial", "in total": "hours", "left": "hours_to_run"}
    if all(row["hours"] == row["hours_to_run"] for row in rows):
        del hours["in total"]
    return [
        _texts("cost", (row["what"] for row in rows)),
        _numbers("trials", (str(row["trials"]) for row in rows)),
        _numbers("to run", (str(row["to_run"]) for row in rows)),
        *(_numbers(head, (_hours(row, key) for row in rows)) for head, key in hours.items()),
        _texts("source", (row["source"] for row in rows)),
    ]


def _together(plan: dict[str, Any]) -> list[str]:
    """Return the line about the time of all unfinished trials on this machine."""
    time, count = plan["time"], plan["to_run"]
    if not count:
        return []
    trials = "trial takes" if count == 1 else f"{count} trials take"
    if not time["slots"]:
        return ["This machine has too few CPUs or GPUs for a trial; see `sweeps run --help`."]
    limits = [plain(line) for line in time["limits"]]
    if time["seconds"] is None:
        return limits or [
            f"How long the {trials} here is unknown; --time measures a few steps of each network."
        ]
    each = {1: "", None: "packs "}.get(time["pack"], f"packs of up to {time['pack']} ")
    at_once = "one after the other" if time["slots"] == 1 else f"{time['slots']} {each}at once"
    if time["differs"] and time["slots"] > 1:
        at_once = f"at most {at_once}"
    together = f"On this machine, the {trials} about {duration(time['seconds'])}, {at_once}."
    return [together, *limits]


def _needed(plan: dict[str, Any]) -> list[str]:
    """Return lines about the blocks that name what their trials need of a machine."""
    return [
        f"Trials of block {plain(block['label'])} reserve "
        + ", ".join(f"{plain(name)}={value:g}" for name, value in block["resources"].items())
        + " on their machine."
        for block in plan["blocks"]
        if block["resources"]
    ]


def _alone(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Count the trials that cannot be trained in any pack, by the reason."""
    reasons = Counter(reason for cell in cells if (reason := _why_alone(cell)))
    return [{"trials": count, "reason": reason} for reason, count in reasons.items()]


@fact
def _why_alone(cell: Cell) -> str:
    """Return why no pack can have the trial; empty if one can."""
    from quantlab.errors import ConfigurationError
    from quantlab.packs.compatibility import pack_key

    try:
        pack_key(cell.recipe)
    except ConfigurationError as error:
        return str(error)
    return ""


def _hours(row: Mapping[str, Any], key: str) -> str:
    if key not in row:
        return ""
    return "?" if row[key] is None else duration(3600 * row[key])


def _texts(header: str, cells: Iterable[str]) -> Column:
    return Column(header, [Text(plain(cell)) for cell in cells], is_text=True)


def _numbers(header: str, cells: Iterable[str]) -> Column:
    return Column(header, [Text(cell) for cell in cells])
