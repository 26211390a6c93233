"""The sweeps that were run in a storage."""

from dataclasses import replace
from pathlib import Path

from sweeps.deciding.record import record
from sweeps.inventory.known_sweeps import remember_sweep
from sweeps.joining.of_storage import sweeps_in
from sweeps.loading import load_sweep
from sweeps.selection.added import AddedTrial, added_to, configuration_name, with_seeds_of
from sweeps.selection.selected import selected
from sweeps.storage import Storage
from tests.sweeps.sweep_files import TINY


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


def test_a_sweep_that_its_file_does_not_define_is_told(tmp_path: Path) -> None:
    """Earlier releases recorded the file of a sweep that `--set` had changed, too."""
    file = str(tmp_path / "tiny.py")
    Path(file).write_text(TINY)
    storage, sweep = Storage(tmp_path / "runs"), load_sweep(file)
    storage.require_writable()
    changed, _ = selected(sweep, settings=["batch_size=20"])
    for one in (sweep, changed):
        remember_sweep(one, file, storage)
    ((source,), (note,)) = sweeps_in(storage.root)
    assert {cell.recipe.batch_size for cell in source.sweep.cells} == {50}
    assert note == (
        f"sweep tiny-batch_size-20 in {storage.root} is left out, because its file {file} defines "
        "tiny now; if --set has made it, write its report as CSV, and give that table"
    )


def test_a_sweep_to_which_nothing_had_to_be_added_is_one_that_is_decided(tmp_path: Path) -> None:
    storage, sweep = Storage(tmp_path), load_sweep("pull_smoke")
    storage.require_writable()
    remember_sweep(sweep, "pull_smoke", storage)
    record(sweep.name, storage, margin=2.0, most_seeds=8)
    ((source,), _) = sweeps_in(tmp_path)
    assert added_to(source.sweep) == {}


def test_a_sweep_that_was_run_until_decided_has_the_chosen_seeds_too(tmp_path: Path) -> None:
    storage, sweep = Storage(tmp_path), load_sweep("pull_smoke")
    storage.require_writable()
    chosen, _ = selected(sweep, only=["seed=7"], seeds="7")
    for one in (sweep, chosen):
        remember_sweep(one, "pull_smoke", storage)
    name = configuration_name(sweep.cells[0].name)
    (further,) = with_seeds_of(sweep, {name: [3]})
    added = AddedTrial(fingerprint=further.fingerprint, name=f"{name} seed=3", reason="a question")
    record(sweep.name, storage, margin=3.0, most_seeds=8, added=[added])
    ((source,), _) = sweeps_in(tmp_path)
    cells = {cell.fingerprint for cell in (*sweep.cells, *chosen.cells, further)}
    assert {cell.fingerprint for cell in source.sweep.cells} == cells
