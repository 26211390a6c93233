"""``FILE.py:NAME``: a sweep or a study of a file that defines one of each."""

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec
    from sweeps.study import StudySpec

_FORM = re.compile(r"(.+\.py):([\w-]+)")


def split(text: str) -> tuple[str, str]:
    """Return the file and the name of ``FILE.py:NAME``; of anything else, itself and no name."""
    found = _FORM.fullmatch(text)
    return (found[1], found[2]) if found else (text, "")


class SplitName(argparse.Action):
    """Keeps the file as the value of the argument, and the name as ``name_in_file``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Set both."""
        file, namespace.name_in_file = split(str(values))
        setattr(namespace, self.dest, file)


def addressed(options: argparse.Namespace) -> str:
    """Return what the user gave, for a command line to print: ``FILE.py:NAME``, or its parts."""
    return ":".join(filter(None, (options.sweep, options.name_in_file)))


def require_named(options: argparse.Namespace, spec: "SweepSpec | StudySpec") -> None:
    """Require that what was loaded has the name that was given with its file, if one was.

    Args:
        options: the parsed command line.
        spec: what the command takes of the file.

    Raises:
        ConfigurationError: it has another name.
    """
    if options.name_in_file not in ("", spec.name):
        from quantlab.errors import ConfigurationError
        from sweeps.spec import SweepSpec

        kind = "sweep" if isinstance(spec, SweepSpec) else "study"
        raise ConfigurationError(
            f"{addressed(options)}: this command takes the {kind} of the file, which is "
            f"{spec.name!r}; give {options.sweep}:{spec.name}"
        )
