"""Options of the commands that give the open questions of a sweep further seeds."""

import argparse

from quantlab.errors import ConfigurationError
from sweeps.cli.options import nonnegative_number, positive_integer

MARGIN = 3.0
"""The margin of a sweep in points, if no other is given."""
MOST_SEEDS = 20
_ALONE = ("margin", "most_seeds")


def deciding_options(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument(
        "--until-decided",
        action="store_true",
        help="add further seeds to the configurations of open questions: whether the ρ0 of a "
        "method can be left untuned, and whether two methods differ; stop when all are decided",
    )
    command.add_argument(
        "--margin",
        type=nonnegative_number,
        metavar="POINTS",
        help="with --until-decided: loss over ρ0 up to which a method is stable, as of `sweeps "
        f"report` (default: {MARGIN:g})",
    )
    command.add_argument(
        "--most-seeds",
        type=positive_integer,
        metavar="N",
        help="with --until-decided: largest number of seeds of a configuration "
        f"(default: {MOST_SEEDS})",
    )


def require_until_decided(options: argparse.Namespace) -> None:
    """Check that options which need ``--until-decided`` are not given without it.

    Args:
        options: the parsed command line.

    Raises:
        ConfigurationError: one is; or there are ``--seeds`` beside ``--until-decided``.
    """
    for name in _ALONE:
        if getattr(options, name) is not None and not options.until_decided:
            raise ConfigurationError(
                f"--{name.replace('_', '-')} {getattr(options, name):g}: applies with "
                "--until-decided only; add that option, or omit this one"
            )
    if options.until_decided and options.seeds is not None:
        raise ConfigurationError(
            f"--seeds {options.seeds}: must not be given with --until-decided, which adds the next "
            "seeds to those of the sweep; omit one of them"
        )


def margin_of(options: argparse.Namespace) -> float:
    """Return the margin in points."""
    return MARGIN if options.margin is None else float(options.margin)


def most_seeds_of(options: argparse.Namespace) -> int:
    """Return the largest number of seeds of a configuration."""
    return MOST_SEEDS if options.most_seeds is None else int(options.most_seeds)
