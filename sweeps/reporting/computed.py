"""How the trials of a sweep were computed, and the command that computes them like that again."""

from collections import Counter
from collections.abc import Iterable, Sequence

from quantlab.execution import DEFAULT_EXECUTION, Execution, parse_execution
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.storage.records import Result


def results_of(cells: Iterable[Cell], storage: Storage) -> list[Result]:
    """The results of those that have finished."""
    found = (storage.trial(cell.fingerprint).result.read() for cell in cells)
    return [result for result in found if result is not None]


def options_of(results: Sequence[Result]) -> list[str]:
    """What `sweeps run` must be told so that it computes as most of these were; empty for nothing.

    A pack of fewer trials than `--pack` allows is what was left over, so that the largest counts.
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
    """The options that are not as by default."""
    usual = set(str(DEFAULT_EXECUTION).split(","))
    return ",".join(word for word in str(execution).split(",") if word not in usual)


def told(results: Sequence[Result]) -> str:
    """In one line: on what, in packs of how many, and when numbers are the same again."""
    if not results:
        return ""
    packs = Counter(result.pack for result in results)
    sizes = [
        f"{count} alone" if size == 1 else f"{count} in packs of {size}"
        for size, count in sorted(packs.items(), reverse=True)
    ]
    places = dict.fromkeys(result.device for result in results if result.device)
    ways = dict.fromkeys(
        _words(parse_execution(result.execution)) for result in results if result.execution
    )
    said = [", ".join(sizes), *([f"on {' and '.join(places)}"] if places else [])]
    if any(ways):
        said.append("execution " + " and ".join(way or "as by default" for way in ways))
    return (
        "; ".join(said) + "; the same numbers to the last bit only in the same packs, with the "
        "same options and packages, on the same kind of processor"
    )
