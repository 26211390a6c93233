"""What the `sweeps` command takes from its command line, checked while it is read."""

import argparse
import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from quantlab import ConfigurationError
from sweeps.loading import suggestion

T = TypeVar("T")

_MOST = 1_000_000
"""Of anything that is counted; more is a slip."""

_LONGEST_FILE_NAME = 255


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the options that may have been meant."""

    def error(self, message: str) -> NoReturn:
        """The usage is left to ``--help``.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"{message}; see {self.prog} --help")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """As argparse has it, but for the message on unknown options."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command: Parser = getattr(options, "parser", self)
            known = [name for action in command._actions for name in action.option_strings]
            alike = suggestion(unknown[0].partition("=")[0], known)
            command.error(f"unrecognized arguments: {' '.join(unknown)}{alike}")
        return options


def count(text: str) -> int:
    """A whole number >= 1."""
    return _whole(text, least=1, most=_MOST)


def number(text: str) -> int:
    """A whole number >= 0."""
    return _whole(text, least=0, most=_MOST)


def port(text: str) -> int:
    """Of a TCP server."""
    return _whole(text, least=1, most=65535)


def pack(text: str) -> int | None:
    """A whole number >= 1; None for ``auto``."""
    return _or_auto(text, count)


def share(text: str) -> float:
    """A finite number >= 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MOST:
        raise ArgumentTypeError(f"{text!r}: must be a number of 0 to {_MOST}")
    return value


def share_or_auto(text: str) -> float | None:
    """A finite number >= 0; None for ``auto``."""
    return _or_auto(text, share)


def positive_share(text: str) -> float:
    """A finite number > 0."""
    value = share(text)
    if value == 0:
        raise ArgumentTypeError(f"{text!r}: must be a number > 0")
    return value


def some_text(text: str) -> str:
    """Text that is not empty, as that of a shell's variable that is not set would be."""
    if not text.strip():
        raise ArgumentTypeError(f"{text!r}: must not be empty; leave the option out instead")
    return text


def folder(text: str) -> Path:
    """A path that file systems can have."""
    path = Path(some_text(text))
    if any(len(os.fsencode(part)) > _LONGEST_FILE_NAME for part in path.parts):
        raise ArgumentTypeError(
            f"{text[:40]!r}...: must have names of at most {_LONGEST_FILE_NAME} bytes"
        )
    return path


def _or_auto(text: str, of: Callable[[str], T]) -> T | None:
    if text == "auto":
        return None
    try:
        return of(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, or auto") from error


def _whole(text: str, *, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ArgumentTypeError(f"{text!r}: must be a whole number of {least} to {most}")
    return value


def study_storage(command: argparse.ArgumentParser) -> None:
    """Where Optuna's tables of a study are."""
    command.add_argument(
        "--study-storage",
        type=some_text,
        metavar="URL",
        help="Optuna's storage, such as postgresql+psycopg2://...; drivers with the same one share "
        "the work (default: a SQLite file)",
    )


def tracking_uri(command: argparse.ArgumentParser) -> None:
    """Where MLflow's runs are."""
    command.add_argument(
        "--tracking-uri",
        type=some_text,
        metavar="URI",
        help="MLflow server (default: MLFLOW_TRACKING_URI, or else a database in the storage)",
    )


def training_options(command: argparse.ArgumentParser) -> None:
    """What `run` and `search` have in common."""
    tracking_uri(command)
    command.add_argument(
        "--address", type=some_text, metavar="RAY", help="Ray cluster (default: this machine)"
    )
    command.add_argument("--concurrency", type=count, metavar="N", help="most trials at once")
    command.add_argument(
        "--cpus-per-trial",
        type=positive_share,
        metavar="X",
        help="default: one a thread and a worker",
    )
    command.add_argument(
        "--gpus-per-trial",
        type=share_or_auto,
        default=0.0,
        metavar="auto|X",
        help="may be a fraction; auto measures how many processes should share a GPU (default: 0, "
        "which is the CPU)",
    )
    command.add_argument(
        "--retries",
        type=number,
        default=3,
        metavar="N",
        help="how often a trial that crashed is taken up again (default: 3)",
    )
    command.add_argument(
        "--pack",
        type=pack,
        default=1,
        metavar="auto|K",
        help="train up to K trials as one stacked network; auto measures what is fastest "
        "(default: 1)",
    )
    command.add_argument(
        "--execution",
        default="",
        metavar="OPTIONS",
        help="how to compute trials, such as bf16,compile,no-channels_last,workers=4,threads=2",
    )
    data_folder(command)
    command.add_argument(
        "--scratch",
        type=folder,
        metavar="DIR",
        help="folder on each machine's own disk, to copy or unpack the data to once",
    )
    command.add_argument("--quiet", action="store_true", help="show no progress")


def data_folder(command: argparse.ArgumentParser) -> None:
    """Where the datasets are."""
    command.add_argument(
        "--data",
        type=folder,
        default=Path("data"),
        metavar="DIR",
        help="folder of the datasets (default: data)",
    )
