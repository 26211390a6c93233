"""The command `sweeps taxonomy`."""

import argparse

from sweeps.cli.options import json_option, sweep_argument
from sweeps.printing import streams

NAME = "taxonomy"
HELP = "Print the properties of the methods of a sweep, and Table 1 of the ProxConnect paper."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command, which reads no results."""
    sweep_argument(command, kinds=("sweep",), default="taxonomy")
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print the properties of the methods of a sweep, and Table 1 of the ProxConnect paper.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: if the sweep is invalid or has no quantized trials.
    """
    from rich.console import Console
    from rich.text import Text

    from sweeps.cli.json_output import print_json
    from sweeps.cli.naming.name_in_file import require_named
    from sweeps.loading import load_sweep
    from sweeps.reporting.taxonomy import properties_table, published_table
    from sweeps.reporting.terminal import print_table

    with streams.each_line_once():
        sweep = load_sweep(options.sweep)
        require_named(options, sweep)
        found = properties_table(sweep.name, sweep.cells)
    published, lines = published_table()
    if options.json:
        tables = {
            "methods": found.body.to_dict("records"),
            "published": published.body.to_dict("records"),
        }
        print_json({"name": sweep.name, **tables, "agreement": lines})
        return 0
    console = Console()
    for table in (found, published):
        print_table(table, console)
    for line in lines:
        console.print(Text(line))
    return 0
