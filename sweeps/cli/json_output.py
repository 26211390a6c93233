"""JSON on standard output, in the shapes of docs/json.md."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def print_json(value: Mapping[str, Any]) -> None:
    """Print an object as JSON; numbers that are not finite become null, and paths text.

    What standard output cannot encode is escaped, and so are bytes in names that are no text.
    """
    data = _plain(value)
    text = json.dumps(data, ensure_ascii=False, indent=1)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=1)
    print(text)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
