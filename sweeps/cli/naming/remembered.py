"""Names of sweeps and studies of users' files, which the storage remembers."""

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.inventory.known_sweeps import KnownSweep


def find_remembered_file(options: argparse.Namespace) -> None:
    """Replace the name of a sweep or study of a user's file, which the storage knows, by the file.

    A file that is not there is left to `refuse_name_of_file`, and one that does not define it any
    more to `load_chosen_or_study`, to which `name_in_file` tells the name.

    Args:
        options: the parsed command line, of which `sweep` may change.
    """
    known = remembered(options)
    if known is not None and os.path.isfile(known.source):
        options.name_in_file, options.sweep = options.sweep, os.path.relpath(known.source)
        options.is_remembered = True


def refuse_name_of_file(options: argparse.Namespace) -> None:
    """Refuse the name of a sweep or study that the storage knows, and that no name loads.

    Args:
        options: the parsed command line.

    Raises:
        ConfigurationError: `options.sweep` is such a name; the message names the file, or says
            that there is none.
    """
    if (known := remembered(options)) is not None:
        from quantlab.errors import ConfigurationError

        if not known.source:
            raise ConfigurationError(
                f"{known.kind} {options.sweep!r} has settings that --set has changed, or is of "
                "another release: give the sweep and the options that it was run with"
            )
        from sweeps.inventory.files_of_sweeps import other_name_in_file

        file = os.path.relpath(known.source)
        if other := other_name_in_file(known):
            raise ConfigurationError(defines_another(options.sweep, file, other))
        raise ConfigurationError(f"{known.kind} {options.sweep!r} is in a file: give {file}")


def defines_another(name: str, file: str, other: str) -> str:
    """Return the message on a name whose file does not define it any more.

    Args:
        name: the name.
        file: the file.
        other: name of what it defines.
    """
    return (
        f"{name}: its file {file} defines {other!r} now; give the file, with the options of {name} "
        "if --set has made it, or see `sweeps list` for what the storage has"
    )


def remembered(options: argparse.Namespace) -> "KnownSweep | None":
    """Return what the storage knows of a sweep or study that is named and not of the release."""
    from sweeps.loading import named_studies, named_sweeps

    name: str = options.sweep
    if name.endswith(".py") or name in (*named_sweeps(), *named_studies()):
        return None
    from sweeps.inventory.known_sweeps import recorded
    from sweeps.storage.folder import Storage

    found = (known for known in recorded(Storage(options.storage)) if known.name == name)
    return next(found, None)
