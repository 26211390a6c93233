"""JSON on standard output, in the shapes of docs/json.md."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def print_json(value: Mapping[str, Any]) -> None:
    """Print an object as JSON; numbers that are not finite become null, and paths text."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=1))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
