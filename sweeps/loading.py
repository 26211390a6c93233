"""Finding a sweep or a study: by its name among those that ship, or by the path of a file."""

import importlib
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import sweeps.grids
import sweeps.studies
from quantlab import ConfigurationError
from sweeps.source_identity import with_identities
from sweeps.spec import SweepSpec

if TYPE_CHECKING:
    from sweeps.study import StudySpec

T = TypeVar("T")

FILE_MODULE_PREFIX = "sweep_file_"
"""Modules made from a user's files are called so; workers get their classes by value."""


def named_sweeps() -> list[str]:
    """Names of the sweeps that ship."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.grids.__path__))


def named_studies() -> list[str]:
    """Names of the studies that ship."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.studies.__path__))


def load_sweep(name_or_path: str) -> SweepSpec:
    """The sweep of a name, or of a Python file (its path ends in ``.py``) that defines ``SWEEP``.

    Raises:
        ConfigurationError: there is none, the file cannot be run, or the sweep is not valid; all
            of its cells have been expanded once this returns.
    """
    sweep = _load("sweep", name_or_path, named_sweeps(), "sweeps.grids", "SWEEP", SweepSpec)
    _ = sweep.cells
    return sweep


def load_study(name_or_path: str) -> "StudySpec":
    """The study of a name, or of a Python file that defines ``STUDY``.

    Raises:
        ConfigurationError: there is none, or the file cannot be run.
    """
    from sweeps.study import StudySpec  # Optuna takes its time to import

    return _load("study", name_or_path, named_studies(), "sweeps.studies", "STUDY", StudySpec)


def load_either(name_or_path: str) -> "SweepSpec | StudySpec":
    """The sweep or the study of a name, or of a Python file; the study if it defines both.

    Raises:
        ConfigurationError: see `load_sweep` and `load_study`.
    """
    if name_or_path in named_studies():
        return load_study(name_or_path)
    if not name_or_path.endswith(".py"):
        if name_or_path not in named_sweeps():
            both = [*named_sweeps(), *named_studies()]
            raise _unknown("sweep", name_or_path, "sweeps and studies", both)
        return load_sweep(name_or_path)
    module = _load_file(Path(name_or_path), "sweep")
    if hasattr(module, "STUDY"):
        from sweeps.study import StudySpec

        return _defined(module, "study", name_or_path, "STUDY", StudySpec)
    sweep = _defined(module, "sweep", name_or_path, "SWEEP", SweepSpec)
    _ = sweep.cells
    return sweep


def _load(
    what: str, name_or_path: str, names: list[str], package: str, variable: str, kind: type[T]
) -> T:
    if name_or_path.endswith(".py"):
        module = _load_file(Path(name_or_path), what)
    elif name_or_path in names:
        module = importlib.import_module(f"{package}.{name_or_path}")
    else:
        plural = {"sweep": "sweeps", "study": "studies"}[what]
        raise _unknown(what, name_or_path, plural, names)
    return _defined(module, what, name_or_path, variable, kind)


def _unknown(what: str, name: str, plural: str, names: list[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{what} {name!r}: unknown; {plural}: {', '.join(names)}; "
        "or the path of a file that ends in .py"
    )


def _defined(module: ModuleType, what: str, name_or_path: str, variable: str, kind: type[T]) -> T:
    found = getattr(module, variable, None)
    if not isinstance(found, kind):
        raise ConfigurationError(
            f"{what} {name_or_path!r}: defines no {variable} = {kind.__name__}(...)"
        )
    return found


def _load_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"{what} {str(path)!r}: no such file")
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
