"""The `sweeps` command."""

import argparse
import importlib
import re
import signal
import sys
from collections.abc import Sequence

from quantlab.errors import ConfigurationError, CutShortError, in_full
from sweeps.cli.command_line import command_line, recorded_command
from sweeps.cli.commands import COMMANDS
from sweeps.cli.exit_codes import (
    EXIT_CODES,
    EXIT_CUT_SHORT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
)
from sweeps.cli.parsing.completion import answer_shell
from sweeps.cli.parsing.control import without_notices
from sweeps.cli.parsing.parser import Parser
from sweeps.cli.parsing.version import VersionAction
from sweeps.connecting import signals
from sweeps.printing import secrets, streams
from sweeps.printing.process_list import hide_in_process_list
from sweeps.storage import damage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; None for that of the process.

    Returns:
        The exit code, one of `EXIT_CODES`.
    """
    streams.open_closed()
    with streams.tolerant("stdout") as output, streams.tolerant("stderr"):
        try:
            parser = command_parser()
            answer_shell(parser)
            options = parser.parse_args(arguments)
        except ConfigurationError as error:
            print(f"sweeps: error: {error}", file=sys.stderr)
            return EXIT_USAGE
        damage.forget_warnings()
        secrets.guard()
        for uri in ("tracking_uri", "study_storage", "archive"):
            secrets.remember(getattr(options, uri, None))
        hide_in_process_list()
        code = _exit_code(options, arguments or sys.argv[1:])
        output.flush()
        if output.error is None:
            return code
        if not isinstance(output.error, BrokenPipeError):  # the reader of a pipe may stop early
            reason = output.error.strerror
            print(f"sweeps: error: cannot write to standard output ({reason})", file=sys.stderr)
        return code if options.trains else code or EXIT_INCOMPLETE


def _exit_code(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the command and print any error in one line."""
    options.recorded_command = recorded_command(*without_notices(arguments))
    try:
        require_folders(options)
        with signals.interrupting(signals.ENDING if options.trains else (signal.SIGINT,)):
            code = int(options.run(options))
        if (outlines := sys.modules.get("sweeps.outlines.kept")) is not None:
            outlines.keep_outlines()
        return code
    except ConfigurationError as error:
        print(f"sweeps: error: {error}", file=sys.stderr)
        return EXIT_CUT_SHORT if isinstance(error, CutShortError) else EXIT_USAGE
    except OSError as error:
        what = in_full(error) if error.filename is None else f"{error.filename}: {error.strerror}"
        if isinstance(error, PermissionError):
            print(f"sweeps: error: {what}", file=sys.stderr)
            return EXIT_USAGE
        print(f"sweeps: error: {what}; run the same command again to continue", file=sys.stderr)
        return EXIT_CUT_SHORT
    except KeyboardInterrupt as stop:
        why = "" if stop.__cause__ is None else f" ({in_full(stop.__cause__)})"
        again = command_line(*arguments)
        print(f"\nsweeps: stopped{why}; to continue, run: {again}", file=sys.stderr)
        return EXIT_INTERRUPTED


def require_folders(options: argparse.Namespace) -> None:
    """Refuse a file or a URL where an option takes a folder.

    Args:
        options: the parsed command line.

    Raises:
        ConfigurationError: see above.
    """
    for name in ("storage", "data", "scratch", "out"):
        folder = getattr(options, name, None)
        first = folder.parts[0] if folder is not None and folder.parts else ""
        if re.fullmatch(r"[A-Za-z][\w+.-]+:", first):
            raise ConfigurationError(
                f"--{name} {folder}: must be a folder, not a URL; mount the remote folder and give "
                "its path"
            )
        if folder is None:
            continue
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                file = "it" if place == folder else str(place)
                raise ConfigurationError(
                    f"--{name} {folder}: must be a folder, but {file} is a file"
                )


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="sweeps",
        description="Run and report sweeps and searches that train quantized networks.",
    )
    parser.add_argument(
        "--version",
        action=VersionAction,
        help="print the versions of this program and its packages",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in COMMANDS:
        module = importlib.import_module(f"sweeps.cli.commands.{each}")
        command = commands.add_parser(
            module.NAME, help=module.HELP, description=module.HELP, epilog=EXIT_CODES
        )
        command.set_defaults(run=module.run, trains=False, parser=command)
        module.add_options(command)
    return parser
