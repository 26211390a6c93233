"""The command `sweeps report`."""

import argparse

from sweeps.cli.options import (
    folder,
    json_option,
    nonnegative_number,
    selection_options,
    some_text,
    storage_folder,
    study_storage,
    sweep_argument,
    tracking_uri,
)
from sweeps.cli.parsing.deciding import MARGIN

NAME = "report"
HELP = "Write tables, figures and an HTML page, and print the main tables."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study", "table"), several=True)
    selection_options(command)
    command.add_argument(
        "--where",
        type=some_text,
        action="append",
        default=[],
        metavar="CONDITION",
        help="only the trials for which this is true of the columns of tables/trials.csv, such as "
        "\"method != 'rPC' and seed < 3\"; the report says what it leaves out",
    )
    command.add_argument(
        "--by",
        choices=("sweep", "tag"),
        help="keep the trials of different sweeps apart, or those of different TAGs; without it, "
        "all trials are compared as if one sweep had them",
    )
    storage_folder(command)
    study_storage(command)
    command.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="folder of the report (default: STORAGE/reports/SWEEP)",
    )
    command.add_argument(
        "--format",
        type=some_text,
        default="all",
        metavar="LIST",
        help="comma-separated list of html, markdown, latex, csv, parquet and figures "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--columns",
        type=some_text,
        action="append",
        default=[],
        metavar="TABLE=LIST",
        help="columns of a table in LaTeX, such as sensitivity=set,method,range; tables have "
        "the names of their files",
    )
    command.add_argument(
        "--select",
        choices=("val", "test"),
        default="val",
        help="select ρ0 on validation images or, as the papers do, on test images "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--metric",
        type=some_text,
        metavar="NAME",
        help="compare the trials of a table by its columns validation_NAME and test_NAME; "
        "NAME:lower if lower values are better (default: accuracy)",
    )
    command.add_argument(
        "--compare",
        type=some_text,
        metavar="PAPER",
        help="compare with the published numbers of a paper, such as proxconnect",
    )
    command.add_argument(
        "--margin",
        type=nonnegative_number,
        metavar="POINTS",
        help="loss over ρ0 up to which a method is called stable, in points of accuracy or, of a "
        "metric without bounds, in %% of the best value (default: that of the last run until "
        f"decided, or {MARGIN:g})",
    )
    tracking_uri(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Write the report, and return the exit code."""
    from sweeps.cli.report import report

    return report(options)
