"""Command lines that reports and messages print."""

from pathlib import Path

from sweeps.cli.command_line import changed_options
from sweeps.cli.options import folder, nonnegative_number
from sweeps.cli.parsing.parser import Parser


def test_only_options_that_differ_from_the_parsers_defaults_are_listed() -> None:
    parser = Parser(prog="made")
    parser.set_defaults(parser=parser)
    parser.add_argument("--storage", type=folder, default=Path("runs"))
    parser.add_argument("--margin", type=nonnegative_number, default=3.0)
    parser.add_argument("--tracking-uri")
    names = ("storage", "tracking_uri", "margin")
    assert changed_options(parser.parse_args(["--storage", "runs"]), *names) == []
    options = parser.parse_args(["--margin", "2.5", "--tracking-uri", "http://me:word@host"])
    assert changed_options(options, *names) == [
        *("--tracking-uri", "http://me:***@host"),
        *("--margin", "2.5"),
    ]
