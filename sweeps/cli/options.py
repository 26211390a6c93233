"""Types and groups of options of the `sweeps` command.

Each type checks its value while the command line is parsed.
"""

import argparse
import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from quantlab.execution import parse_execution
from sweeps.cli.naming.name_in_file import SplitName
from sweeps.cli.parsing.completion import completed_by, names_or_files
from sweeps.loading import named_studies, named_sweeps
from sweeps.placement.resources import Resources

if TYPE_CHECKING:
    from sweeps.archive.archive import Archive

T = TypeVar("T")

DEFAULT_STORAGE = "runs"
"""Folder of all results if none is given, in the working folder."""

_MAX_NUMBER = 1_000_000
"""Larger numbers are taken for typing errors."""

_MAX_FILE_NAME_BYTES = 255


def positive_integer(text: str) -> int:
    """Parse an integer >= 1."""
    return _integer(text, least=1, most=_MAX_NUMBER)


def nonnegative_integer(text: str) -> int:
    """Parse an integer >= 0."""
    return _integer(text, least=0, most=_MAX_NUMBER)


def port(text: str) -> int:
    """Parse the port of a TCP server."""
    return _integer(text, least=1, most=65535)


def integer_or_auto(text: str) -> int | None:
    """Parse an integer >= 1, or ``auto``, which gives None."""
    return _or_auto(text, positive_integer)


def nonnegative_number(text: str) -> float:
    """Parse a finite number >= 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MAX_NUMBER:
        raise ArgumentTypeError(f"{text!r}: must be a number from 0 to {_MAX_NUMBER}")
    return value


def number_or_auto(text: str) -> float | None:
    """Parse a finite number >= 0, or ``auto``, which gives None."""
    return _or_auto(text, nonnegative_number)


def positive_number(text: str) -> float:
    """Parse a finite number > 0."""
    value = nonnegative_number(text)
    if value == 0:
        raise ArgumentTypeError(f"{text!r}: must be a number > 0")
    return value


def some_text(text: str) -> str:
    """Require text that is not empty, such as the value of an unset shell variable."""
    if not text.strip():
        raise ArgumentTypeError(f"{text!r}: must not be empty; omit the option instead")
    return text


def folder(text: str) -> Path:
    """Parse a path, whose parts must be valid file names."""
    path = Path(some_text(text))
    if any(len(os.fsencode(part)) > _MAX_FILE_NAME_BYTES for part in path.parts):
        raise ArgumentTypeError(
            f"{text[:40]!r}...: must have names of at most {_MAX_FILE_NAME_BYTES} bytes"
        )
    return path


def _or_auto(text: str, parse: Callable[[str], T]) -> T | None:
    if text == "auto":
        return None
    try:
        return parse(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, or auto") from error


def _integer(text: str, *, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ArgumentTypeError(f"{text!r}: must be an integer from {least} to {most}")
    return value


def sweep_argument(
    command: argparse.ArgumentParser,
    *,
    kinds: Sequence[str],
    default: str | None = None,
    several: bool = False,
) -> None:
    """Add the argument ``sweep``: a name of the release, or the path of a file.

    If that is ``FILE.py:NAME``, ``sweep`` is the file, and ``name_in_file`` the name.

    Args:
        command: the parser of the command.
        kinds: what the command accepts: ``sweep``, ``study`` and ``table``.
        default: the name that need not be given, which may be empty; None if one must be given.
        several: whether there may be several, which are the list ``sources`` instead of ``sweep``,
            and folders of results among them.
    """
    names = named_sweeps() if "sweep" in kinds else []
    names += named_studies() if "study" in kinds else []
    tables = "table" in kinds
    argument = command.add_argument(
        "sources" if several else "sweep",
        metavar="NAME|FILE.py" + ("|TABLE.csv" if tables else "") + ("|DIR" if several else ""),
        help=f"one of {', '.join(names)}; or the path of a Python file"
        + (", with :NAME for one of a sweep and a study in it" if "study" in kinds else "")
        + (", or of a table of trials (.csv, .tsv, .parquet)" if tables else "")
        + (
            ", or of a folder of results; several are joined, and each may be TAG=NAME"
            if several
            else ""
        )
        + (" (default: %(default)s)" if default else ""),
        nargs="+" if several else "?" if default is not None else None,
        default=default,
        action="store" if several else SplitName,
    )
    command.set_defaults(name_in_file="")
    endings = ("py", "csv", "tsv", "parquet") if tables else ("py",)
    completed_by(argument, names_or_files(names, endings))


def storage_folder(command: argparse.ArgumentParser) -> None:
    """Add the option for the folder of all results."""
    command.add_argument(
        "--storage",
        type=folder,
        default=Path(DEFAULT_STORAGE),
        metavar="DIR",
        help="folder of all results (default: %(default)s)",
    )


def selection_options(command: argparse.ArgumentParser) -> None:
    """Add the options that choose trials of a sweep, and change their settings."""
    command.add_argument(
        "--only",
        type=some_text,
        action="append",
        default=[],
        metavar="CONDITIONS",
        help="only the trials that fulfil all conditions, such as 'method=PC|PQ,set=ternary' or "
        "'rho0>=0.1'; operators are = != < <= > >=, values may be patterns with * ? [ab]",
    )
    command.add_argument(
        "--seeds",
        type=some_text,
        metavar="SEEDS",
        help="train each configuration with these seeds, such as 0-9 or 0,2,5",
    )
    command.add_argument(
        "--set",
        type=some_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of all recipes, such as epochs=5 or optimizer.options.momentum=0.8; "
        "the trials are those of another sweep, with a name and a report of its own",
    )


SELECTION = ("seeds", "only", "set")
"""The options of `selection_options`, as attributes of the parsed command line."""


def study_storage(command: argparse.ArgumentParser) -> None:
    """Add the option for the database of a study."""
    command.add_argument(
        "--study-storage",
        type=some_text,
        metavar="URL",
        help="Optuna storage, such as postgresql+psycopg2://...; drivers that use the same storage "
        "share the work (default: a SQLite file in the folder of all results)",
    )


def tracking_uri(command: argparse.ArgumentParser) -> None:
    """Add the option for the MLflow server."""
    command.add_argument(
        "--tracking-uri",
        type=some_text,
        metavar="URI",
        help="MLflow server (default: MLFLOW_TRACKING_URI, or a SQLite file in the folder of all "
        "results)",
    )


def archive_option(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add the option for the archive of finished trials.

    Args:
        command: the parser of the command.
        required: whether the command is of no use without an archive.
    """
    command.add_argument(
        "--archive",
        type=some_text,
        required=required,
        metavar="URL",
        help="archive of finished trials, such as s3://bucket/folder; they are written to it, and "
        "taken from it instead of being trained again",
    )


def opened_archive(options: argparse.Namespace) -> "Archive | None":
    """Open the archive of ``--archive``; None without the option.

    Raises:
        ConfigurationError: the URL is invalid.
    """
    if options.archive is None:
        return None
    from sweeps.archive.archive import Archive

    return Archive(options.archive)


def placement_options(command: argparse.ArgumentParser) -> None:
    """Add the options for the resources of a trial; their defaults are those of `Resources`."""
    command.add_argument(
        "--concurrency",
        type=positive_integer,
        metavar="N",
        help="maximum number of trials or packs that run at once (default: as many as fit)",
    )
    command.add_argument(
        "--cpus-per-trial",
        type=positive_number,
        metavar="X",
        help="CPUs to reserve for a trial (default: one for each thread and data loader process)",
    )
    command.add_argument(
        "--gpus-per-trial",
        type=number_or_auto,
        default=Resources.gpus_per_trial,
        metavar="auto|X",
        help="GPUs to reserve for a trial, which may be a fraction; several GPUs train a trial "
        "together, each on a share of every batch; 0 trains on the CPU, auto measures how many "
        "processes should share a GPU (default: %(default)g)",
    )
    command.add_argument(
        "--memory-per-trial",
        type=number_or_auto,
        metavar="auto|GIB",
        help="memory to reserve for each process that trains, in GiB; 0 reserves none, auto what "
        "finished trials of the same network needed (default: auto)",
    )
    command.add_argument(
        "--pack",
        type=integer_or_auto,
        default=Resources.pack,
        metavar="auto|K",
        help="train up to K trials as one stacked network; auto measures which K is fastest "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--execution",
        default="",
        metavar="OPTIONS",
        help="how to compute trials, such as bf16,compile,no-channels_last,workers=4,threads=2; "
        "with replicas=2 and without GPUs, two processes train each trial together",
    )


def training_options(command: argparse.ArgumentParser) -> None:
    """Add the options that `run` and `search` share; their defaults are those of `Resources`."""
    command.set_defaults(trains=True)
    tracking_uri(command)
    archive_option(command)
    command.add_argument(
        "--address",
        type=some_text,
        metavar="RAY",
        help="address of a Ray cluster (default: start Ray on this machine)",
    )
    placement_options(command)
    command.add_argument(
        "--retries",
        type=nonnegative_integer,
        default=Resources.retries,
        metavar="N",
        help="how many times to retry a trial that crashed (default: %(default)s)",
    )
    data_folder(command)
    command.add_argument(
        "--scratch",
        type=folder,
        metavar="DIR",
        help="folder on the local disk of each machine, into which datasets are copied or unpacked "
        "once",
    )
    command.add_argument("--quiet", action="store_true", help="print no progress")


def training_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the options of `training_options` as arguments of `run_cells` and `run_study`."""
    from sweeps.storage.records import Origin

    names = ("address", "retries", "scratch")
    own = {name: getattr(options, name) for name in names}
    return {
        "tracking_uri": options.tracking_uri,
        "data_dir": options.data,
        "quiet": options.quiet,
        "origin": Origin(command=options.recorded_command, folder=os.getcwd()),
        "archive": opened_archive(options),
        "resources": placed_resources(options, **own),
    }


def placed_resources(options: argparse.Namespace, **further: Any) -> Resources:
    """Return the resources of a trial that `placement_options` and further arguments describe."""
    return Resources(
        concurrency=options.concurrency,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        memory_per_trial=options.memory_per_trial,
        execution=parse_execution(options.execution),
        pack=options.pack,
        **further,
    )


def json_option(command: argparse.ArgumentParser) -> None:
    """Add the option that prints JSON, in the shapes of docs/json.md, instead of text."""
    command.add_argument("--json", action="store_true", help="print JSON instead of text")


def data_folder(command: argparse.ArgumentParser) -> None:
    """Add the option for the folder of the datasets."""
    command.add_argument(
        "--data",
        type=folder,
        default=Path("data"),
        metavar="DIR",
        help="folder of the datasets (default: %(default)s)",
    )
