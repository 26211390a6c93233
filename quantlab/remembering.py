"""A cache for functions whose arguments need not be hashable."""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def are_equal(first: object, second: object) -> bool:
    """Whether two values are equal. Values that cannot be compared, such as arrays, are not."""
    try:
        return first is second or bool(first == second)
    except (ValueError, RuntimeError):
        return False


def remembering(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Cache results as `functools.lru_cache` does, also for arguments that are not hashable.

    Args:
        most: number of results that are kept. The least recently used result is dropped first.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        lock = Lock()
        kept: list[tuple[object, T]] = []

        @wraps(function)
        def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
            call = (args, kwargs)
            with lock:
                for position, (known, result) in enumerate(kept):
                    if are_equal(known, call):
                        kept.append(kept.pop(position))
                        return result
            result = function(*args, **kwargs)
            with lock:
                kept.append((call, result))
                del kept[:-most]
            return result

        return remembered

    return decorate
