"""Completion of command lines by the shell, through argcomplete."""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Completer = Callable[..., Iterable[str]]


def answer_shell(parser: argparse.ArgumentParser) -> None:
    """If the shell asks for completions of a command line, answer it and end the process.

    Args:
        parser: the parser of all commands.
    """
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options=False)


def completed_by(action: argparse.Action, completer: Completer) -> None:
    """Set the function that suggests values of an argument.

    Args:
        action: the argument.
        completer: returns the suggestions; see the documentation of argcomplete.
    """
    action.completer = completer  # type: ignore[attr-defined]


def names_or_files(names: Sequence[str], endings: Sequence[str]) -> Completer:
    """Return a completer for one of several names, or the path of a file.

    Args:
        names: the names.
        endings: endings of the files, without the dot.
    """

    def suggest(prefix: str, **_: Any) -> Iterable[str]:
        from argcomplete.completers import FilesCompleter

        files = FilesCompleter(endings)(prefix)
        return [*(name for name in names if name.startswith(prefix)), *files]

    return suggest


def fingerprints(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """Suggest the trials of the storage."""
    folder = Path(parsed_args.storage) / "trials"
    return (
        [path.name for path in folder.glob(f"{prefix}*")] if prefix.isalnum() or not prefix else []
    )
