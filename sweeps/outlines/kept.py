"""Outlines in the user's cache folder: load a sweep from its outline, and keep it up to date."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.loading import named_sweeps
from sweeps.outlines.outline import outline_of, sweep_of
from sweeps.outlines.state_of_code import PACKAGES, state_of_code, uses_other_code
from sweeps.spec import SweepSpec
from sweeps.storage.record_files import write_atomically

if TYPE_CHECKING:
    from quantlab import Recipe

_loaded: dict[str, tuple[SweepSpec, int]] = {}
"""Name of a module -> its sweep, and the number of facts that its outline in the cache has."""


def load_outlined(name_or_path: str) -> SweepSpec:
    """Load a sweep for a command that only looks.

    A sweep of the release comes from its outline if an earlier command kept one. Its blocks have no
    recipes then, and those of its trials are loaded when they are used. An outline counts only
    together with the code and the packages that made it (see `state_of_code`). A user's file is
    always loaded.

    Args:
        name_or_path: see `load_sweep`.

    Raises:
        ConfigurationError: see `load_sweep`.
    """
    if name_or_path not in named_sweeps():
        return _load(name_or_path)
    state = state_of_code()
    # Otherwise, it is made again. A user may have no home, which is a RuntimeError.
    with suppress(OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError):
        kept = json.loads(_file(name_or_path).read_bytes())
        if kept["state_of_code"] == state:
            sweep = sweep_of(kept["outline"], lambda _: _recipes(name_or_path))
            _loaded[name_or_path] = sweep, _num_facts(sweep)
            return sweep
    sweep = _load(name_or_path)
    if not uses_other_code(f"sweeps.grids.{name_or_path}"):
        _loaded[name_or_path] = sweep, -1
    return sweep


def keep_outlines() -> None:
    """Write the outlines of the loaded sweeps of which more is known than the cache has.

    A cache that cannot be written is left alone: later commands take longer then.
    """
    grown = {name: sweep for name, (sweep, kept) in _loaded.items() if _num_facts(sweep) > kept}
    _loaded.clear()
    if not grown:
        return
    state = state_of_code()
    state_of_code.cache_clear()
    if state_of_code() != state:  # somebody has changed the code meanwhile
        return
    for name, sweep in grown.items():
        with suppress(OSError, RuntimeError):
            file = _file(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            kept = {"state_of_code": state, "outline": outline_of(sweep)}
            write_atomically(file, json.dumps(kept))


def _load(name_or_path: str) -> SweepSpec:
    from sweeps.loading.files import load_sweep  # which imports torch

    return load_sweep(name_or_path)


def _num_facts(sweep: SweepSpec) -> int:
    return sum(len(cell.facts) for cell in sweep.cells)


@cache
def _recipes(name: str) -> "Mapping[str, Recipe]":
    return {cell.fingerprint: cell.recipe for cell in _load(name).cells}


def _file(name: str) -> Path:
    """Return the file of an outline; installations of the project have different ones.

    Raises:
        RuntimeError: the user has no home folder, such as in a container with any user ID.
    """
    cached = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cached) if os.path.isabs(cached) else Path.home() / ".cache"
    place = hashlib.sha256(os.fsencode(PACKAGES)).hexdigest()[:8]
    return folder / "quantlab" / "outlines" / f"{name}-{place}.json"
