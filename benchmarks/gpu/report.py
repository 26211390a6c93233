"""What was measured so far, as a JSON file that is whole at any moment."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Report:
    """The parts of the command, each with its measurements, written anew after each of them."""

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        self._file = file
        self._started = time.time()
        self._parts: dict[str, dict[str, Any]] = {}
        self._content: dict[str, Any] = {"settings": dict(settings), "parts": self._parts}
        file.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def describe(self, machine: Mapping[str, Any]) -> None:
        """Say on which machine it is measured."""
        self._content["machine"] = dict(machine)
        self._write()

    def begin(self, part: str, limit: float) -> None:
        """A part that may take so many seconds."""
        self._parts[part] = {"state": "begun", "limit_seconds": limit, "measurements": {}}
        self._write()

    def measured(self, part: str, name: str, result: Mapping[str, Any]) -> None:
        """One measurement, or what there is of it, or why there is none (``failed``)."""
        self._parts[part]["measurements"][name] = dict(result)
        self._write()

    def end(self, part: str, state: str, seconds: float) -> None:
        """A part is over."""
        self._parts[part] |= {"state": state, "seconds": seconds}
        self._write()

    def results(self, part: str) -> Mapping[str, Mapping[str, Any]]:
        """Name -> measurement."""
        found: Mapping[str, Mapping[str, Any]] = self._parts.get(part, {}).get("measurements", {})
        return found

    def _write(self) -> None:
        self._content["seconds"] = time.time() - self._started
        beside = self._file.with_suffix(".part")
        beside.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self._file)
