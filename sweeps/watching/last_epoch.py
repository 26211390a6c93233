"""The last epoch of a trial, from the end of its history, which may be long."""

import os
from contextlib import suppress

from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Epoch
from sweeps.storage.sealed_json import DamagedError, NewerError, decode

END_BYTES = 64 * 1024
"""Number of bytes in which the last line is expected."""


def last_epoch(folder: TrialFolder) -> Epoch | None:
    """Return the last epoch that was written whole; None if there is none.

    Damaged lines are left out without a warning, because the trial may be writing them.

    Raises:
        OSError: the file cannot be read now.
    """
    try:
        with folder.history.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            for size in (min(END_BYTES, length), length):
                file.seek(length - size)
                lines = file.read(size).decode("utf-8", "replace").splitlines()
                for line in reversed(lines):
                    with suppress(DamagedError, NewerError):
                        return decode(Epoch, line, folder.fingerprint)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        pass
    return None
