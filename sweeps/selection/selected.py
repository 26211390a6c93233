"""The trials of a sweep that the options --only, --seeds and --set choose."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sweeps.selection.added import AddedTrial, added_to, with_added
from sweeps.selection.axes import axes_of
from sweeps.selection.choice import chosen_places
from sweeps.selection.names import name_with, part_name
from sweeps.selection.part_of_sweep import PartOfSweep, needed_by, part_of, with_seeds
from sweeps.selection.seeds import parse_seeds
from sweeps.spec import SweepSpec


def selected(
    sweep: SweepSpec,
    *,
    only: Sequence[str] = (),
    seeds: str | None = None,
    settings: Sequence[str] = (),
    with_parents: bool = False,
    added: Callable[[str], Sequence[AddedTrial] | None] = lambda name: None,
) -> tuple[SweepSpec, list[str]]:
    """Choose trials of a sweep: set their seeds, choose by conditions, then change their settings.

    Args:
        sweep: the sweep.
        only: conditions (see `sweeps.selection.conditions`), all of which hold for a chosen trial.
        seeds: seeds of all configurations (see `sweeps.selection.seeds`); None for those of the
            sweep.
        settings: fields of the recipes and their values (see `sweeps.selection.settings`).
        with_parents: whether trials of the sweep whose networks the chosen ones need are chosen
            too.
        added: returns the trials that were added to a sweep of a name, which are trials of it
            unless there are `seeds`; None if it was never run until decided.

    Returns:
        The chosen trials as a sweep, and what a user should know, one line each. With other
        settings, the sweep has a name and an MLflow experiment of its own.

    Raises:
        ConfigurationError: an option is invalid, or there is no such trial.
    """
    changes = []
    if settings:
        from sweeps.selection.settings import parse_setting  # which imports torch

        changes = [parse_setting(text) for text in settings]
    original = sweep
    differences = [change.difference for change in changes]
    name = name_with(sweep.name, *differences) if changes else sweep.name
    further = None
    if seeds is not None:
        sweep = with_seeds(sweep, parse_seeds(seeds))
    elif (further := added(name)) is not None:
        sweep = with_added(sweep, further, is_changed=bool(changes))
    axes = [axes_of(cell) for cell in sweep.cells]
    trials = [sweep.cells[place] for place in chosen_places(axes, only, f"sweep {sweep.name}")]
    others = needed_by(trials, (*sweep.cells, *original.cells))
    notes = []
    if changes:
        from sweeps.selection.settings import blocks_of, with_settings

        changed = with_settings(trials, others, changes, blocks=sweep.blocks, name=name)
        blocks = blocks_of(sweep.blocks, (*trials, *others), changed)
        before = added_to(sweep) or {}
        kept = {trial.fingerprint: trial.reason for trial in further or ()}
        trials = [
            now
            for cell in trials
            if (now := changed[cell.fingerprint]).fingerprint in kept
            or cell.fingerprint not in before
        ]
        others = [changed[cell.fingerprint] for cell in others]
        sweep = replace(sweep, name=name, experiment="", blocks=blocks)
        if isinstance(sweep, PartOfSweep) and further is not None:
            sweep = replace(sweep, added=kept)
        notes.append(
            f"with {', '.join(differences)}, the trials are those of another sweep, {name}, which "
            "has its own report and MLflow experiment"
        )
    if with_parents and others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        notes.append(
            f"{others[0].name!r}{more}: included, because chosen trials need their networks"
        )
        trials = [*others, *trials]
    if seeds is None and not only and not changes:
        return sweep, notes
    return part_of(sweep, trials, part_name(sweep.name, only, seeds)), notes
