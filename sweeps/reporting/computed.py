"""How the trials of a sweep were computed, and the options that compute them that way again."""

from collections import Counter
from collections.abc import Iterable, Sequence

from quantlab.execution import DEFAULT_EXECUTION, Execution, parse_execution
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.storage.records import Result


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
