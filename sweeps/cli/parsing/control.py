"""Options of the commands that train on their budget, the order of trials, and notices."""

import argparse
from collections.abc import Sequence

from quantlab.errors import ConfigurationError
from sweeps.cli.options import some_text
from sweeps.control.budget import Budget

NOTICES = ("--on-end", "--on-failure")
"""Options whose values are commands of the user, for a shell."""


def budget_option(command: argparse.ArgumentParser) -> None:
    """Add the option for what may be spent."""
    command.add_argument(
        "--budget",
        type=_budget,
        metavar="AMOUNT",
        help="stop when this much was spent on the sweep in this storage, by all commands and in "
        "all: hours of GPUs, or of slots on CPUs, such as 200h, 5d or 90min, or finished trials, "
        "such as 50trials (default: no limit)",
    )


def require_time_budget(budget: Budget | None, configurations: int) -> None:
    """Refuse a budget of trials for a search.

    Args:
        budget: the budget; None for none.
        configurations: number of configurations after which the search ends.

    Raises:
        ConfigurationError: it is a number of trials.
    """
    if budget is not None and budget.trials is not None:
        raise ConfigurationError(
            f"--budget {budget.trials}trials: a search ends after its {configurations} "
            "configurations; give a time, such as 200h"
        )


def first_option(command: argparse.ArgumentParser) -> None:
    """Add the option for the trials that are trained first."""
    command.add_argument(
        "--first",
        type=some_text,
        action="append",
        default=[],
        metavar="CONDITIONS",
        help="train these trials first, and those whose networks they need; conditions as of "
        "--only; may be repeated, the earlier ones before the later ones",
    )


def notice_options(command: argparse.ArgumentParser) -> None:
    """Add the options for the user's commands at the end and at a failure."""
    command.add_argument(
        NOTICES[0],
        type=some_text,
        metavar="COMMAND",
        help="shell command to run when the sweep has ended or was stopped; variables such as "
        "QUANTLAB_SWEEP and QUANTLAB_STATE tell how",
    )
    command.add_argument(
        NOTICES[1],
        type=some_text,
        metavar="COMMAND",
        help="shell command to run when the first trial has failed; QUANTLAB_TRIAL and "
        "QUANTLAB_ERROR tell which and why",
    )


def without_notices(arguments: Sequence[str]) -> list[str]:
    """Return a command line without the user's commands, which may hold the address of a service.

    What is left can be run as it is.

    Args:
        arguments: the command line.
    """
    found = []
    words = iter(arguments)
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in NOTICES:
            found.append(word)
        elif not equals:
            next(words, None)  # the command
    return found


def _budget(text: str) -> Budget:
    try:
        return Budget.parse(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
