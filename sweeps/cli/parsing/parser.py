"""Parser: an argument parser with errors of one line, and suggestions for unknown names."""

import argparse
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

from quantlab.errors import ConfigurationError, suggestion


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with a suggestion for unknown options."""

    rest: str | None = None
    """Name under which the arguments after ``--`` are kept as a list, for another command; None if
    they are arguments of this parser."""
    rest_of: tuple[str, ...] = ()
    """The commands to which the arguments after ``--`` belong."""

    def __init__(self, **options: Any) -> None:
        """Create a parser as argparse does, but one that takes no beginning for a whole option.

        Args:
            options: arguments of `argparse.ArgumentParser`.
        """
        super().__init__(**{"allow_abbrev": False, **options})
        self._words: list[str] = []

    def error(self, message: str) -> NoReturn:
        """Raise an error that refers to ``--help`` instead of printing the usage.

        Raises:
            ConfigurationError: always.
        """
        if found := re.fullmatch(r"argument (\S+): expected one argument", message):
            option = found[1].split("/")[-1]
            for word, value in pairwise(self._words):
                if word == option and value.startswith("-"):
                    message += f"; if {value} is its value, write {option}={value}"
        raise ConfigurationError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is no choice, and suggest the choice that it may stand for."""
        if action.choices is not None and value not in action.choices:
            names = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action,
                f"{value!r} is unknown{suggestion(str(value), names)}; must be one of "
                f"{', '.join(names)}",
            )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse a command line as argparse does, up to ``--`` if the rest is kept."""
        self._words = list(args or ())
        if self.rest is None or args is None:
            return super().parse_known_args(args, namespace)
        own = list(args)
        place = own.index("--") if "--" in own else len(own)
        options, unknown = super().parse_known_args(own[:place], namespace)
        setattr(options, self.rest, own[place + 1 :])
        return options, unknown

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Parse a command line as argparse does, and suggest an option for an unknown one."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command: Parser = getattr(options, "parser", self)
            known = [name for action in command._actions for name in action.option_strings]
            alike = suggestion(unknown[0].partition("=")[0], known)
            if self._is_of_rest(command, unknown[0].partition("=")[0]):
                commands = " or ".join(f"`sweeps {name}`" for name in command.rest_of)
                alike = f"; options of {commands} go after `--`"
            command.error(f"unrecognized arguments: {' '.join(unknown)}{alike}")
        return options

    def _is_of_rest(self, command: "Parser", option: str) -> bool:
        """Return whether an option belongs after the ``--`` of a command."""
        commands = next(
            (one for one in self._actions if isinstance(one, argparse._SubParsersAction)), None
        )
        parsers = [] if commands is None else [commands.choices[name] for name in command.rest_of]
        return any(option in action.option_strings for one in parsers for action in one._actions)
