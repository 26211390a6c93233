"""The command `sweeps archive`, which writes finished trials to an archive, and checks it."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.options import (
    archive_option,
    json_option,
    selection_options,
    storage_folder,
    study_storage,
    sweep_argument,
)

if TYPE_CHECKING:
    from sweeps.archive.archive import Archive
    from sweeps.spec import Cell
    from sweeps.storage.folder import Storage

NAME = "archive"
HELP = "Write finished trials to an archive, check it, or take them from it."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"))
    archive_option(command, required=True)
    action = command.add_mutually_exclusive_group()
    action.add_argument(
        "--take",
        action="store_true",
        help="take finished trials from the archive into the storage instead",
    )
    action.add_argument(
        "--check",
        action="store_true",
        help="read the trials in the archive instead, compare them with their digests and with "
        "each other, and write damaged ones again that the storage has",
    )
    selection_options(command)
    storage_folder(command)
    study_storage(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Write, take or check the trials of a sweep or a study, and print how many there are.

    Args:
        options: the parsed command line.

    Returns:
        The exit code: 0 if all results of the storage are in the archive or, with ``--take`` or
        ``--check``, if all trials in the archive were intact and do not contradict each other; 1
        otherwise.

    Raises:
        ConfigurationError: the sweep or the URL is invalid, or the archive does not answer.
    """
    from sweeps.archive.archive import Archive
    from sweeps.archive.summary import archive_data, archive_line
    from sweeps.archive.taking import missing_in, take_finished
    from sweeps.cli.chosen import load_chosen_or_study
    from sweeps.cli.json_output import print_json
    from sweeps.printing.number_of import number_of
    from sweeps.spec import SweepSpec
    from sweeps.storage import damage
    from sweeps.storage.folder import Storage

    storage, archive = Storage(options.storage), Archive(options.archive)
    spec = load_chosen_or_study(options)
    if isinstance(spec, SweepSpec):
        cells: Sequence[Cell] = spec.cells
    else:
        from sweeps.searching.results import cells_of, load

        cells = cells_of(spec, load(spec, storage, options.study_storage), storage)
    again = 0
    if options.take:
        what, done = "taken", take_finished(archive, cells, storage, quiet=True)
    elif options.check:
        objects = archive.objects()
        found = [objects.get(cell.fingerprint, []) for cell in cells]
        what, done = "intact", sum(map(archive.num_intact, found))
        names = {one.fingerprint for each in found for one in each if archive.is_damaged(one)}
        again = _write(archive, [cell for cell in cells if cell.fingerprint in names], storage)
    else:
        what, done = (
            "written",
            _write(archive, missing_in(cells, storage, archive.objects()), storage),
        )
    data = archive_data(archive, cells, storage)
    if options.json:
        print_json(
            {
                "name": spec.name,
                "storage": storage.root,
                "archive": data,
                "action": what,
                "count": done,
                "written_again": again,
            }
        )
    else:
        print(
            f"{spec.name}: {number_of(done, 'trial')} {what}"
            + f", {again} written again" * bool(again)
        )
        print(archive_line(data, len(cells)))
    reads = options.take or options.check
    return EXIT_INCOMPLETE if damage.num_warnings() or (data["missing"] and not reads) else 0


def _write(archive: "Archive", cells: "Sequence[Cell]", storage: "Storage") -> int:
    """Write trials that have finished in the storage, and return how many were written.

    Raises:
        ArchiveError: the archive does not answer.
    """
    from quantlab import ConfigurationError
    from sweeps.archive.place import ArchiveError

    written = 0
    for cell in cells:
        if not storage.trial(cell.fingerprint).result.exists():
            continue
        try:
            written += archive.put(storage.trial(cell.fingerprint))
        except ArchiveError:
            raise
        except ConfigurationError as error:  # the other trials can be written
            print(f"sweeps: error: {cell.name}: {error}", file=sys.stderr, flush=True)
    return written
