"""Command lines to print: how to call this command again."""

import argparse
import os
import shlex
import shutil
import sys

from sweeps.labels import label_of_number
from sweeps.printing.secrets import hide


def command_line(*arguments: str) -> str:
    """Format a call of this command, ready to paste into a shell.

    The program is given by its path if its name alone is not found. Passwords are hidden.
    """
    program = "sweeps"
    if not shutil.which(program):
        program = os.path.relpath(sys.argv[0])
        if program.endswith(".py") or not os.path.exists(program):  # code that calls the command
            program = f"{sys.executable} -m sweeps"
    return f"{program} {shlex.join(map(hide, arguments))}"


def recorded_command(*arguments: str) -> str:
    """Format a call of this command for records: as `command_line`, but wherever the program is."""
    return f"sweeps {shlex.join(map(hide, arguments))}"


def changed_options(options: argparse.Namespace, *names: str) -> list[str]:
    """List those of the given options that differ from the defaults of the parser.

    Args:
        options: the parsed command line; ``options.parser`` is the parser of the command.
        names: attributes of `options`, in the order in which they are listed.

    Returns:
        Option strings and their values, without passwords.
    """
    values = {name: getattr(options, name) for name in names}
    return [
        text
        for name, given in values.items()
        if given != options.parser.get_default(name)
        for value in (given if isinstance(given, list) else [given])
        for text in (
            f"--{name.replace('_', '-')}",
            label_of_number(value) if isinstance(value, float) else hide(str(value)),
        )
    ]
