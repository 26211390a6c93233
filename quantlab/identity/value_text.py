"""Text of user data, for the identity of the code that uses the data."""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cached_property, partial
from inspect import getattr_static
from pathlib import PurePath
from re import Pattern
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from quantlab.identity.code_origin import home_of, is_users, is_users_module
from quantlab.identity.normal_form import plain

_BASIC = (tuple, list, dict, set, frozenset, str, bytes, int, float)
OPAQUE = "<?>"
"""Text of an object that can be described only by the statements that create it."""


class ValueText(ABC):
    """Text of values. Different values give different texts, except for `OPAQUE` ones."""

    def __init__(self) -> None:
        self.folder = ""
        """Folder of the user's files, which is left out of the text."""
        self._open: set[int] = set()

    @abstractmethod
    def _of_code(self, value: Any) -> str | None:
        """Return a class, function, module or a wrapper of one as text; see `of_value`."""

    def of_value(self, value: Any) -> str | None:
        """Return a value as text. The user's classes, functions and modules become references.

        Returns:
            The text; None for an object that can be described only by the statements that create
            it.

        Raises:
            UntraceableError: if code in the value cannot be followed.
        """
        kind = type(value)
        if value is None or kind in (bool, int, float, complex, bytes, type(...)):
            return plain(value)
        if kind is str:
            is_there = len(self.folder) > 1 and f"{value}/".startswith(f"{self.folder}/")
            return plain(f"<folder>{value.removeprefix(self.folder)}" if is_there else value)
        if id(value) in self._open:
            return "<itself>"
        self._open.add(id(value))
        try:
            return self._of_code(value) if is_code(value) else self._of_data(value)
        finally:
            self._open.remove(id(value))

    def of_items(self, name: str, items: Iterable[Any]) -> str:
        """Return the items as text, in parentheses after a name."""
        texts = (self.of_value(item) for item in items)
        return f"{name}({','.join(OPAQUE if text is None else text for text in texts)})"

    def _of_data(self, value: Any) -> str | None:
        kind = type(value)
        if kind in (tuple, list):
            return self.of_items(kind.__name__, value)
        if kind in (set, frozenset):  # whose order changes from process to process
            return self.of_items("set", sorted(value, key=_set_order))
        if kind in (dict, MappingProxyType):
            return self.of_items("dict", [part for pair in value.items() for part in pair])
        if kind in (range, slice):
            return self.of_items(kind.__name__, [value.start, value.stop, value.step])
        if isinstance(value, PurePath):
            return self.of_items("path", [str(value)])
        if isinstance(value, Pattern):
            return self.of_items("pattern", [value.pattern, value.flags])
        if isinstance(value, Enum):
            return self.of_items("enum", [kind, value.name])
        if _has(value, "tolist", "dtype", "shape"):  # NumPy's arrays, and torch's
            return self.of_items("array", [str(value.dtype), *value.shape, _numbers(value)])
        if dataclasses.is_dataclass(value):
            own = {field.name: getattr(value, field.name, None) for field in fields_of(value)}
            return self.of_items("object", [kind, own])
        basic = next((base for base in _BASIC if isinstance(value, base)), None)
        if is_users(kind) or basic is not None:  # also a `defaultdict`, a namedtuple
            slots = {name: getattr(value, name) for name in _slots(kind) if hasattr(value, name)}
            own = {**slots, **getattr(value, "__dict__", {})}
            content: list[Any] = [] if basic is None else [basic(value)]
            if isinstance(value, defaultdict):
                content.append(value.default_factory)
            return self.of_items("object", [kind, dict(sorted(own.items())), *content])
        if _has(value, "state_dict", "named_modules"):  # a network of torch's own layers
            return self.of_items("network", [kind, repr(value), value.state_dict()])
        return None


def is_code(value: object) -> bool:
    """Whether a value is a class, a function, a module, or a wrapper of functions."""
    if isinstance(value, type | ModuleType | FunctionType) or inner_of(value) is not None:
        return True
    return callable(value) and _has(value, "__qualname__")


def _has(value: object, *names: str) -> bool:
    """Whether a value has attributes, without calling its ``__getattr__``."""
    missing = object()
    return all(getattr_static(value, name, missing) is not missing for name in names)


def inner_of(value: Any) -> list[Any] | None:
    """Return the objects that a wrapper of functions wraps; None for any other value."""
    if isinstance(value, type | ModuleType):
        return None
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, cached_property):
        return [value.func]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    home = home_of(value) if isinstance(value, FunctionType) else None
    if _has(value, "__wrapped__") and (home is None or not is_users_module(home)):
        return [value.__wrapped__, getattr(value, "registry", None)]  # that of `singledispatch`
    return None


def _numbers(array: Any) -> Any:
    """Return a hash of an array's bytes, or its content as a list if it is not numeric."""
    try:
        own = array.detach().cpu().contiguous().numpy() if hasattr(array, "detach") else array
        if not own.dtype.hasobject:
            return hashlib.sha256(own.tobytes()).hexdigest()
    except (AttributeError, TypeError):  # such as bfloat16, which NumPy does not have
        pass
    return array.tolist()


def _set_order(value: Any) -> tuple[str, str]:
    return type(value).__name__, getattr(value, "__qualname__", None) or ascii(value)


def fields_of(value: Any) -> "tuple[dataclasses.Field[Any], ...]":
    """Return the fields of a dataclass or its instance; an empty tuple for any other value."""
    return dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from [slots] if isinstance(slots, str) else slots
