"""How the trials of a sweep were computed, and the options that compute them that way again."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from quantlab.execution import DEFAULT_EXECUTION, Execution, parse_execution
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.storage.records import Result

_MOST_SHOWN = 4
"""How many commands and machines the head of a report names."""


def results_of(cells: Iterable[Cell], storage: Storage) -> list[Result]:
    """Return the results of the trials that have finished."""
    found = (storage.trial(cell.fingerprint).result.read() for cell in cells)
    return [result for result in found if result is not None]


def options_of(results: Sequence[Result]) -> list[str]:
    """Return the options of `sweeps run` that compute trials as most of these results were.

    The size of the largest pack is used, as smaller packs are what was left over at the end.
    """
    options = []
    largest = max((result.pack for result in results), default=1)
    if largest > 1:
        options += ["--pack", str(largest)]
    executions = Counter(result.execution for result in results if result.execution)
    if executions and (words := _words(parse_execution(executions.most_common(1)[0][0]))):
        options += ["--execution", words]
    return options


def _words(execution: Execution) -> str:
    """Return the options that differ from the default, as `--execution` takes them."""
    usual = set(str(DEFAULT_EXECUTION).split(","))
    return ",".join(word for word in str(execution).split(",") if word not in usual)


def origin_of(results: Sequence[Result]) -> dict[str, str]:
    """Return the lines of a report's head on what trained the trials.

    Returns:
        The commands, the machines and the versions of packages, by the names of their lines; empty
        without results, and for those of earlier releases.
    """
    commands = Counter(result.command for result in results if result.command)
    machines = Counter(
        ", ".join(filter(None, (result.host, result.processor or result.device)))
        for result in results
        if result.host
    )
    versions: dict[str, dict[str, None]] = {}
    for text in dict.fromkeys(result.packages for result in results if result.packages):
        for name, version in json.loads(text).items():
            versions.setdefault(name, {})[version] = None
    lines = {
        "trained by": _counted(commands),
        "trained on": _counted(machines),
        "trained with": ", ".join(
            f"{name} {' and '.join(found)}" for name, found in versions.items()
        ),
    }
    return {name: line for name, line in lines.items() if line}


def _counted(found: Counter[str]) -> str:
    """Return the most common texts, with the numbers of their trials if there are several."""
    if len(found) <= 1:
        return "".join(found)
    shown = [
        f"{text} ({count} of {found.total()} trials)"
        for text, count in found.most_common(_MOST_SHOWN)
    ]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def description_of(results: Sequence[Result]) -> str:
    """Describe in one line the devices, packs and options, and when numbers are reproducible."""
    if not results:
        return ""
    packs = Counter(result.pack for result in results)
    sizes = [
        f"{count} trained alone" if size == 1 else f"{count} in packs of {size}"
        for size, count in sorted(packs.items(), reverse=True)
    ]
    places = dict.fromkeys(result.device for result in results if result.device)
    ways = dict.fromkeys(
        _words(parse_execution(result.execution)) for result in results if result.execution
    )
    parts = [", ".join(sizes), *([f"on {' and '.join(places)}"] if places else [])]
    if any(ways):
        parts.append("execution " + " and ".join(way or "default" for way in ways))
    return (
        "; ".join(parts) + "; bit-identical numbers need the same packs, options, package versions "
        "and kind of processor"
    )
