"""The sweeps that were run in a storage, as sources of a joined report."""

from dataclasses import replace
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.deciding.record import grown, is_recorded
from sweeps.inventory.known_sweeps import SWEEP, KnownSweep, ray_folders, recorded
from sweeps.joining.source import SweepSource
from sweeps.loading import load_sweep, named_sweeps
from sweeps.outlines.kept import load_outlined
from sweeps.selection.added import added_to, with_seeds_of
from sweeps.selection.part_of_sweep import part_of
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage


def sweeps_in(folder: Path, tag: str = "") -> tuple[list[SweepSource], list[str]]:
    """Return the sweeps that were run in a storage, and a sentence on each that cannot be loaded.

    A sweep has the trials of its file, those of other seeds that were chosen with ``--seeds``, and
    those that were added to it until it was decided.

    Args:
        folder: the storage.
        tag: see `SweepSource`.

    Raises:
        ConfigurationError: no sweep was run there that can be loaded.
    """
    storage, found, notes = Storage(folder), [], []
    for known in _run_in(storage):
        if not known.source and known.name not in named_sweeps():
            notes.append(
                f"sweep {known.name} in {folder} is left out, because its trials were chosen or "
                "changed by options; write its report as CSV, and give that table"
            )
            continue
        try:
            # The blocks of an outline have no recipes, from which further seeds are made.
            has_more = bool(known.chosen) or is_recorded(known.name, storage)
            load = load_sweep if has_more else load_outlined
            sweep = grown(load(known.source or known.name), storage)
        except ConfigurationError as error:
            notes.append(f"sweep {known.name} in {folder} is left out: {error}")
            continue
        # The file was edited, or an earlier release has run it with --set.
        if known.source and sweep.name != known.name:
            notes.append(
                f"sweep {known.name} in {folder} is left out, because its file {known.source} "
                f"defines {sweep.name} now; if --set has made it, write its report as CSV, and "
                "give that table"
            )
            continue
        found.append(SweepSource(_with_chosen(sweep, known), storage, str(folder), tag))
    if not found:
        raise ConfigurationError(
            f"{folder}: no sweep was run in this folder that can be reported on"
            + (f" ({notes[0]})" if notes else "; give a sweep, a table, or the folder of --storage")
        )
    return found, notes


def _run_in(storage: Storage) -> list[KnownSweep]:
    """The sweeps that were run in a storage, without loading those that were not."""
    found = [known for known in recorded(storage) if known.kind == SWEEP]
    names = {known.name for known in found if not known.source}
    before_records = (  # which earlier versions did not write
        KnownSweep(name=name, kind=SWEEP)
        for name in named_sweeps()
        if name not in names and ray_folders(name, storage)
    )
    return sorted([*found, *before_records], key=lambda known: known.name)


def _with_chosen(sweep: SweepSpec, known: KnownSweep) -> SweepSpec:
    """Add the trials of further seeds that were run in the storage."""
    own = {cell.fingerprint for cell in sweep.cells}
    chosen = {one.fingerprint: one.name for one in known.chosen if one.fingerprint not in own}
    seeds: dict[str, list[int]] = {}
    for name in chosen.values():
        configuration, _, seed = name.rpartition(" seed=")
        if seed.isdecimal():
            seeds.setdefault(configuration, []).append(int(seed))
    if not seeds:
        return sweep
    more = with_seeds_of(sweep, seeds)
    cells = [*sweep.cells, *(cell for cell in more if cell.fingerprint in chosen)]
    return replace(part_of(sweep, cells, sweep.name), added=added_to(sweep))
