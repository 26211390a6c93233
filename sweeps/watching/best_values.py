"""BestValues: the best trial of each method and set so far, for the display."""

from collections.abc import Collection, Iterable, Iterator

from quantlab.tasks import Metric
from sweeps.coordinates import level_set
from sweeps.spec import Cell
from sweeps.storage.records import Result


class BestValues:
    """The best values of the main metric on the validation images, by method and set.

    A network in full precision is thereby not compared with a quantized one, nor a binary network
    with a ternary one. Trials whose main metric is another one than that of the first trial of
    their method and set are left out.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        """Set the order of the methods and sets.

        Args:
            cells: trials of all of them, as far as they are known.
        """
        self._order = dict.fromkeys((cell.method, level_set(cell)) for cell in cells)
        self._best: dict[tuple[str, str], tuple[Metric, float]] = {}
        """Method and set -> metric and value."""
        self._new: set[tuple[str, str]] = set()

    def consider(self, cell: Cell, result: Result | None) -> None:
        """Keep the value of a trial if it is the best one of its method and set.

        Args:
            cell: the trial.
            result: its result; None without one.
        """
        key = cell.method, level_set(cell)
        metric = cell.recipe.task.metrics[0]
        value = None if result is None else result.validation.get(metric.name)
        if value is None:
            return
        known, best = self._best.get(key, (metric, value))
        sign = 1 if metric.higher_is_better else -1
        if known == metric and (key not in self._best or sign * value > sign * best):
            self._order.setdefault(key)
            self._best[key] = metric, value
            self._new.add(key)

    def lines(self) -> Iterator[str]:
        """Yield a line for each method, such as ``"PC  binary 97.22 %, ternary 97.59 %"``."""
        widest = max((len(method) for method, _ in self._best), default=0)
        for method, values in self._by_method(self._best):
            yield f"{method:<{widest}}  {values}"

    def values(self) -> list[str]:
        """Return the best value of each set without its method, such as ``"ternary 97.59 %"``."""
        return [values for _, values in self._by_method(self._best)]

    def news(self) -> str:
        """Return the values that have changed since the last call, in one line; empty if none."""
        found = [f"{method} {values}" for method, values in self._by_method(self._new)]
        self._new.clear()
        return " · ".join(found)

    def _by_method(self, keys: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield each method with the values of its sets."""
        found: dict[str, list[str]] = {}
        for method, own_set in self._order:
            if (method, own_set) in keys:
                metric, value = self._best[method, own_set]
                found.setdefault(method, []).append(f"{own_set} {metric.shown(value)}".strip())
        for method, values in found.items():
            yield method, ", ".join(values)
