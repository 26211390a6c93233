"""The sweeps that were run in a storage."""

from dataclasses import replace
from pathlib import Path

from sweeps.inventory.known_sweeps import remember_sweep
from sweeps.joining.of_storage import sweeps_in
from sweeps.loading import load_sweep
from sweeps.selection.selected import selected
from sweeps.storage import Storage


def test_a_sweep_has_the_seeds_that_were_chosen_and_others_are_told(tmp_path: Path) -> None:
    storage, sweep = Storage(tmp_path), load_sweep("pull_smoke")
    storage.require_writable()
    chosen, _ = selected(sweep, only=["seed=7"], seeds="7")
    for one in (sweep, chosen, replace(sweep, name="pull_smoke-epochs-5")):
        remember_sweep(one, "pull_smoke", storage)
    ((source,), (note,)) = sweeps_in(tmp_path, "mine")
    assert (source.name, source.tag) == (f"pull_smoke in {tmp_path}", "mine")
    cells = {cell.fingerprint for cell in (*sweep.cells, *chosen.cells)}
    assert {cell.fingerprint for cell in source.sweep.cells} == cells
    assert len(source.sweep.cells) == len(cells) > len(sweep.cells)
    assert note.startswith(f"sweep pull_smoke-epochs-5 in {tmp_path} is left out, because its tri")
