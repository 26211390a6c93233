"""How many trials an archive has, for `sweeps status` and `sweeps archive`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeps.printing.number_of import number_of
from sweeps.spec import Cell
from sweeps.storage.folder import Storage

if TYPE_CHECKING:
    from sweeps.archive.archive import Archive


def archive_data(archive: "Archive", cells: Sequence[Cell], storage: Storage) -> dict[str, Any]:
    """Return which trials an archive has, as JSON data; see docs/json.md.

    Raises:
        ArchiveError: the archive does not answer.
    """
    objects = archive.objects()
    return {
        "url": archive.url,
        "trials": sum(cell.fingerprint in objects for cell in cells),
        "missing": sum(
            cell.fingerprint not in objects and storage.trial(cell.fingerprint).result.exists()
            for cell in cells
        ),
    }


def archive_line(data: dict[str, Any], num_trials: int) -> str:
    """Format `archive_data` as a line.

    Args:
        data: the data.
        num_trials: the number of all trials.
    """
    line = f"{data['url']}: has {data['trials']} of {num_trials} trials"
    if missing := data["missing"]:
        return f"{line}; {number_of(missing, 'result')} of this storage not in it yet"
    return line
