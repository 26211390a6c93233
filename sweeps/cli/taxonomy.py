"""The command `sweeps taxonomy`."""

from rich.console import Console
from rich.text import Text

from sweeps import streams
from sweeps.loading import load_sweep
from sweeps.reporting.taxonomy import properties_table, published_table
from sweeps.reporting.terminal import print_table


def taxonomy(name_or_path: str) -> int:
    """Print the properties of the methods of a sweep, and Table 1 of the ProxConnect paper.

    Args:
        name_or_path: name of a sweep, or the path of its file.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: if the sweep is invalid or has no quantized trials.
    """
    with streams.each_line_once():
        sweep = load_sweep(name_or_path)
        found = properties_table(sweep.name, sweep.cells)
    published, lines = published_table()
    console = Console()
    for table in (found, published):
        print_table(table, console)
    for line in lines:
        console.print(Text(line))
    return 0
