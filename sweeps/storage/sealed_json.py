"""Write dataclasses as JSON with a digest, which detects damage.

The first entry of the JSON object is the digest of the remaining text and of the name of its owner,
so that a changed bit is detected, and so is the file of another trial::

    {"digest": "0123456789abcdef", "epochs": 3, ...}

Texts of older versions have no digest. Only their form is checked, and that values are plausible.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union

from quantlab import ConfigurationError

T = TypeVar("T")

_HEAD = '{"digest": "'
_DIGITS = 16
_BODY = len(_HEAD) + _DIGITS + 2
"""Where the text covered by the digest starts: after the quotation mark and the comma."""


class DamagedError(ValueError):
    """A text differs from what was written. The message describes the damage in a few words."""


@typing.runtime_checkable
class MayBeImplausible(typing.Protocol):
    """A record whose values tell damage where there is no digest."""

    def require_plausible(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value cannot have been written.
        """


class NewerError(ConfigurationError):
    """A later version of this program wrote the text."""


def encode(value: Any, owner: str, *, indent: int | None = None) -> str:
    """Encode a dataclass as JSON with a digest and the ``VERSION`` of the class.

    Fields with their default value are omitted. The numbers of a mapping are written beside the
    fields, with the name of its field before their own: ``test = {"accuracy": 0.9}`` becomes
    ``"test_accuracy": 0.9``.

    Args:
        value: an instance of a dataclass, with fields that `decode` supports.
        owner: the owner of the text, such as a fingerprint.
        indent: see `json.dumps`; None for one line.
    """
    content = {}
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        if isinstance(own, Mapping):
            content.update({f"{field.name}_{name}": plain(number) for name, number in own.items()})
        elif not _is_default(field, own):
            content[field.name] = plain(own)
    content["version"] = value.VERSION
    body = json.dumps(content, indent=indent, sort_keys=True)[1:]
    if indent is None:
        body = " " + body
    return f'{_HEAD}{_digest(body, owner)}",{body}'


def decode(kind: type[T], text: str, owner: str) -> T:
    """Decode a text of `encode`, or a text of an older version without a digest.

    Args:
        kind: the dataclass.
        text: the text.
        owner: see `encode`.

    Raises:
        DamagedError: the text was changed, belongs to another owner, or is not of this class.
        NewerError: a later version of this program wrote the text.
    """
    sealed = text.startswith(_HEAD)
    if sealed and text[len(_HEAD) : _BODY] != f'{_digest(text[_BODY:], owner)}",':
        raise DamagedError("changed after it was written, or of another trial")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError("not JSON") from error
    if not isinstance(content, dict):
        raise DamagedError("not a JSON object")
    version = content.pop("version", 0)
    content.pop("digest", None)
    if sealed and version > kind.VERSION:  # type: ignore[attr-defined]
        raise NewerError(
            f"has version {version}, but this program reads versions up to "
            f"{kind.VERSION}; update the program"  # type: ignore[attr-defined]
        )
    if version and not sealed:
        raise DamagedError("no digest")
    if sealed:  # ignore fields that later versions have added
        known = _readers(kind)[0]  # type: ignore[arg-type]
        content = {
            name: value
            for name, value in content.items()
            if name in known or _mapping_of(kind, name) is not None  # type: ignore[arg-type]
        }
    record = _typed(kind, content)
    if not sealed and isinstance(record, MayBeImplausible):
        try:
            record.require_plausible()
        except ValueError as error:
            raise DamagedError(str(error)) from error
    return record


def plain(value: Any) -> Any:
    """Convert a value to JSON data: NaN to None, an enum to its value, tuples to lists."""
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _digest(body: str, owner: str) -> str:
    return hashlib.sha256(f"{owner}\n{body}".encode()).hexdigest()[:_DIGITS]


def _is_default(field: "dataclasses.Field[Any]", value: Any) -> bool:
    default = field.default
    if default is dataclasses.MISSING:
        return False
    is_missing = value != value and default != default  # both are NaN
    return bool(value == default or is_missing)


def _typed(kind: type[T], content: Any) -> T:
    if not isinstance(content, dict):
        raise DamagedError("not a JSON object")
    readers, required = _readers(kind)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in readers and (mapping := _mapping_of(kind, name)) is not None:  # type: ignore[arg-type]
            try:
                number = _number(value)
            except TypeError as error:
                raise DamagedError(f"{name} = {value!r:.40}") from error
            values.setdefault(mapping, {})[name.removeprefix(f"{mapping}_")] = number
            continue
        if name not in readers:
            raise DamagedError(f"unknown field {name!r:.40}")
        try:
            values[name] = readers[name](value)
        except (TypeError, ValueError) as error:
            raise DamagedError(f"{name} = {value!r:.40}") from error
    if missing := required - values.keys():
        raise DamagedError(f"field {min(missing)!r} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise DamagedError(str(error)) from error


@lru_cache(maxsize=32)
def _readers(kind: type) -> tuple[dict[str, Callable[[Any], Any]], frozenset[str]]:
    """Return a function for each field that converts its JSON data, and the required fields."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    required = frozenset(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return {field.name: _reader(hints[field.name]) for field in fields}, required


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return a function that converts JSON data to a type, or raises TypeError or ValueError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        (other,) = (_reader(item) for item in arguments if item is not type(None))
        return lambda value: None if value is None else other(value)
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda value: tuple(item(one) for one in _exactly(list, value))
    if hint is float:
        return _number
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        known = {field.name for field in dataclasses.fields(hint)}

        def read(value: Any) -> Any:
            """Ignore fields that later versions have added."""
            fields = _exactly(dict, value).items()
            return _typed(hint, {name: item for name, item in fields if name in known})

        return read
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    return lambda value: _exactly(hint, value)


@lru_cache(maxsize=256)
def _mapping_of(kind: type, name: str) -> str | None:
    """Return the mapping of numbers that an entry belongs to; None if there is none."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if typing.get_origin(hints[field.name]) is Mapping and name.startswith(f"{field.name}_"):
            return field.name
    return None


def _number(value: Any) -> float:
    if value is None:
        return float("nan")
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value
