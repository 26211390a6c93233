"""The command `sweeps completion`."""

import argparse

NAME = "completion"
HELP = (
    "Print the code that lets a shell complete commands, options, and names of sweeps and trials."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument(
        "shell",
        choices=("bash", "zsh", "fish"),
        help='the shell; bash and zsh read the code by eval "$(sweeps completion SHELL)", and fish '
        "by sweeps completion fish | source",
    )


def run(options: argparse.Namespace) -> int:
    """Print the code, and return the exit code."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["sweeps"], shell=options.shell))
    return 0
