"""Find the recipe of a finished trial, and those of its pack, by the command that trained it."""

import argparse
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.spec import Cell
from sweeps.storage import source_archive
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Result

Parse = Callable[[Sequence[str]], argparse.Namespace]
Load = Callable[[argparse.Namespace], Sequence[Cell]]


@contextmanager
def cells_of_command(
    folder: TrialFolder, result: Result, parse: Parse, load: Load, *, given: str
) -> Iterator[dict[str, Cell]]:
    """Load the trials of the command that trained a trial, as it was given then.

    The user's file is read where it was. If it is not there or has been changed, the copy of it
    that is kept with the trial is used instead.

    Args:
        folder: the folder of the trial.
        result: its result.
        parse: parses a command line without the program's name.
        load: loads the trials that a parsed command line names.
        given: a name or file that the user gives in place of that of the command; may be empty.

    Yields:
        The trials by their fingerprints. Copies of files exist within the `with` block only.

    Raises:
        ConfigurationError: nothing tells the sweep of the trial, or neither the file nor the copy
            has such a trial.
    """
    words = shlex.split(result.command)[1:]
    if words[:1] not in (["run"], ["search"]):  # such as `sweeps reproduce` of another trial
        if not given:
            why = "an older version trained it and did not record its command"
            if words:
                why = f"`{result.command}` trained it, which does not tell its sweep"
            raise ConfigurationError(
                f"trial {folder.fingerprint}: {why}; give its sweep, such as "
                "`sweeps reproduce TRIAL FILE.py`"
            )
        words = ["status", given]
    options, there = parse(words), Path(result.folder)
    try:
        with chdir(there) if there.is_dir() and not given else nullcontext():
            found = {cell.fingerprint: cell for cell in load(options)}
        why = "has no such trial any more"
    except ConfigurationError as error:
        found, why = {}, f"cannot be loaded ({error})"
    if folder.fingerprint in found:
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="sources-") as copy:
        copied = _copied_file(folder, str(options.sweep), Path(copy))
        if copied is not None:
            options.sweep = str(copied)
            found = {cell.fingerprint: cell for cell in load(options)}
        if folder.fingerprint not in found:
            commit = f" of commit {result.git_commit}" if result.git_commit else ""
            raise ConfigurationError(
                f"trial {folder.fingerprint}: {options.sweep} {why}; use the code{commit}, or give "
                "the sweep, such as `sweeps reproduce TRIAL FILE.py`"
            )
        yield found


def _copied_file(folder: TrialFolder, sweep: str, into: Path) -> Path | None:
    """Unpack the user's code that is kept with a trial, and return the path of the sweep file."""
    if not sweep.endswith(".py") or not folder.sources.exists():
        return None
    names = source_archive.unpack(folder.sources, into)
    name = os.path.basename(sweep)
    return into / name if name in names else None
