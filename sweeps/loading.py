"""Finding a sweep: by its name among the grids, or by the path of a file."""

import importlib
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

import sweeps.grids
from quantlab import ConfigurationError
from sweeps.source_identity import with_identities
from sweeps.spec import SweepSpec

FILE_MODULE_PREFIX = "sweep_file_"
"""Modules made from a user's files are called so; workers get their classes by value."""


def named_sweeps() -> list[str]:
    """Names of the sweeps that ship."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.grids.__path__))


def load_sweep(name_or_path: str) -> SweepSpec:
    """The sweep of a name, or of a Python file (its path ends in ``.py``) that defines ``SWEEP``.

    Raises:
        ConfigurationError: there is none, the file cannot be run, or the sweep is not valid; all
            of its cells have been expanded once this returns.
    """
    if name_or_path.endswith(".py"):
        module = _load_file(Path(name_or_path))
    elif name_or_path in named_sweeps():
        module = importlib.import_module(f"sweeps.grids.{name_or_path}")
    else:
        raise ConfigurationError(
            f"sweep {name_or_path!r}: unknown; sweeps: {', '.join(named_sweeps())}; "
            "or the path of a file that ends in .py"
        )
    sweep = getattr(module, "SWEEP", None)
    if not isinstance(sweep, SweepSpec):
        raise ConfigurationError(f"sweep {name_or_path!r}: defines no SWEEP = SweepSpec(...)")
    _ = sweep.cells
    return sweep


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"sweep {str(path)!r}: no such file")
    module = ModuleType(FILE_MODULE_PREFIX + re.sub(r"\W", "_", path.stem))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        code = compile(with_identities(path.read_text(encoding="utf-8")), str(path), "exec")
        exec(code, vars(module))
    except Exception as error:
        del sys.modules[module.__name__]
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == path
        ]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        kind = "" if isinstance(error, ConfigurationError) else f"{type(error).__name__}: "
        raise ConfigurationError(f"{where}: {kind}{error}") from error
    return module
