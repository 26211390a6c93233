"""Load a sweep or a study, by its name or from a Python file."""

import dataclasses
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from quantlab import ConfigurationError
from quantlab.canonical import NAMED, canonical
from quantlab.errors import described, suggestion
from quantlab.identity.code_origin import SOURCE, is_installed, is_users
from quantlab.identity.source_identity import Reach
from sweeps.loading.names import RENAMED_SWEEPS, named_studies, named_sweeps
from sweeps.spec import SweepSpec

if TYPE_CHECKING:
    from sweeps.study import StudySpec

T = TypeVar("T")

FILE_MODULE_PREFIX = "sweep_file_"
"""Prefix of the names of modules from the user's files; workers receive their classes by value."""


def load_sweep(name_or_path: str) -> SweepSpec:
    """Load a sweep, and expand its cells.

    Args:
        name_or_path: the name of a sweep in `sweeps.grids`, or the path of a file that ends in
            ``.py`` and defines ``SWEEP``.

    Raises:
        ConfigurationError: there is no such sweep, the file raises an error, or the sweep is
            invalid.
    """
    return expanded(
        _load("sweep", name_or_path, named_sweeps(), "sweeps.grids", "SWEEP", SweepSpec)
    )


def load_study(name_or_path: str) -> "StudySpec":
    """Load a study.

    Args:
        name_or_path: the name of a study in `sweeps.studies`, or the path of a file that ends in
            ``.py`` and defines ``STUDY``.

    Raises:
        ConfigurationError: there is no such study, or the file raises an error.
    """
    from sweeps.study import StudySpec  # imports Optuna, which is slow

    return _load("study", name_or_path, named_studies(), "sweeps.studies", "STUDY", StudySpec)


def expanded(sweep: SweepSpec) -> SweepSpec:
    """Return a sweep after its cells were expanded.

    Raises:
        ConfigurationError: the sweep is invalid.
    """
    try:
        _ = sweep.cells
    except SystemExit as error:
        raise ConfigurationError(f"sweep {sweep.name}: {_reason(error)}") from error
    return sweep


def _load(
    what: str, name_or_path: str, names: list[str], package: str, variable: str, kind: type[T]
) -> T:
    if name_or_path.endswith(".py"):
        module = load_file(Path(name_or_path), what)
    elif name_or_path in names:
        _files.clear()
        module = importlib.import_module(f"{package}.{name_or_path}")
    else:
        if what == "sweep" and name_or_path in named_studies():
            renamed = RENAMED_SWEEPS.get(name_or_path)
            raise ConfigurationError(
                f"{name_or_path!r} is a study; use `sweeps search`, or give a sweep"
                + (f"; the sweep of this name is {renamed!r} now" if renamed else "")
            )
        if what == "study" and name_or_path in named_sweeps():
            raise ConfigurationError(
                f"{name_or_path!r} is a sweep; use `sweeps run`, or give a study"
            )
        plural = {"sweep": "sweeps", "study": "studies"}[what]
        raise unknown(what, name_or_path, plural, names)
    return defined(module, what, name_or_path, variable, kind)


def unknown(what: str, name: str, plural: str, names: list[str]) -> ConfigurationError:
    """Return the error for a name that is none of `names`."""
    return ConfigurationError(
        f"{what} {name!r} is unknown{suggestion(name, names)}; give one of the {plural} "
        f"{', '.join(names)}, or the path of a file that ends in .py"
    )


def _require_plain_absence(module: ModuleType) -> None:
    """Check the ``__getattr__`` of a module, which Python and Ray call with unknown names.

    Raises:
        ConfigurationError: it raises another error than AttributeError.
    """
    if "__getattr__" not in vars(module):
        return
    try:
        getattr(module, "_a_name_that_is_not_there", None)
    except Exception as error:  # the user's code may raise anything
        raise ConfigurationError(
            f"__getattr__ raises {described(error)} for an unknown name: must raise AttributeError"
        ) from error


def _require_two_names(module: ModuleType) -> None:
    """Require that a sweep and a study in one file have different names.

    Raises:
        ConfigurationError: they have the same name, under which both would keep their reports,
            requests and records.
    """
    sweep, study = vars(module).get("SWEEP"), vars(module).get("STUDY")
    if isinstance(sweep, SweepSpec) and sweep.name == getattr(study, "name", None):
        raise ConfigurationError(
            f"SWEEP and STUDY have the same name {sweep.name!r}; give one of them another name"
        )


def defined(module: ModuleType, what: str, name_or_path: str, variable: str, kind: type[T]) -> T:
    """Return what a module defines under a name.

    Args:
        module: the module.
        what: ``sweep`` or ``study``, for the message.
        name_or_path: how the user gave the module, for the message.
        variable: the name.
        kind: class of what it must be.

    Raises:
        ConfigurationError: the module does not define it.
    """
    found = getattr(module, variable, None)
    if not isinstance(found, kind):
        raise ConfigurationError(
            f"{what} {name_or_path!r}: must define {variable} = {kind.__name__}(...)"
        )
    return found


def load_file(path: Path, what: str) -> ModuleType:
    """Load a file as a module, which is the last one from then on.

    Args:
        path: the file.
        what: ``sweep`` or ``study``, for the message.

    Raises:
        ConfigurationError: the file does not exist, or raises an error.
    """
    if not path.is_file():
        raise ConfigurationError(f"{what} {str(path)!r}: the file does not exist")
    module = ModuleType(FILE_MODULE_PREFIX + re.sub(r"\W", "_", path.stem))
    module.__file__ = str(path.absolute())  # independent of the current folder
    sys.modules[module.__name__] = module  # dataclasses look up their module there
    _files[:] = [module]
    named = set(NAMED)
    try:
        with _modules_beside(path):
            content = path.read_bytes()  # the first lines may declare the encoding
            setattr(module, SOURCE, content)
            with chdir(os.curdir):  # a file may change the folder, to which --storage is relative
                exec(compile(content, str(path), "exec"), vars(module))
            for kind in NAMED.keys() - named:
                _require_unchanged(kind)
            for kind in list(vars(module).values()):
                is_part = isinstance(kind, type) and (
                    dataclasses.is_dataclass(kind) or issubclass(kind, nn.Module)
                )
                if is_part and is_users(kind):
                    with suppress(ConfigurationError):  # raised again if a recipe uses the class
                        canonical(kind)  # determine its identity before any of its code runs
        for each in (module, *(sys.modules[name] for name in _beside)):
            _require_plain_absence(each)
        _require_two_names(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise ConfigurationError(f"{_place(error, path)}: {_reason(error)}") from error
    return module


def last_file() -> ModuleType | None:
    """Return the module of the file that was loaded last; None if it was a sweep of the release."""
    return _files[0] if _files else None


def modules_beside() -> list[ModuleType]:
    """Return the modules that the last file has imported from its folder so far."""
    return [sys.modules[name] for name in _beside if name in sys.modules]


@contextmanager
def _modules_beside(path: Path) -> Iterator[None]:
    """Let a file import modules of its folder; installed modules of the same name have precedence.

    Modules of the folder of a file that was loaded earlier are removed, because their names may
    occur in another folder too.
    """
    for name in _beside:
        sys.modules.pop(name, None)
    _beside.clear()
    for earlier in _folders:
        sys.path.remove(earlier)
    _folders.clear()
    folder = str(path.absolute().parent)
    before = set(sys.modules)
    if folder not in sys.path:
        sys.path.append(folder)
        _folders.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder) and not is_installed(file):
                _beside.append(name)


_beside: list[str] = []
"""Names of the modules that the last file has imported from its folder."""
_files: list[ModuleType] = []
"""The last file, if a file was loaded last and not a name."""
_folders: list[str] = []
"""The folder of the last file, if it was added to Python's path; code may import from it later."""


def _require_unchanged(kind: type | FunctionType) -> None:
    """Refuse a file that changes code after computing a fingerprint, which would not cover it."""
    if Reach(kind).digest != NAMED[kind].digest:
        raise ConfigurationError(
            f"{NAMED[kind].what}: the code that it uses changed after a fingerprint of it "
            "was computed; compute the fingerprint at the end of the file"
        )


def _place(error: BaseException, path: Path) -> str:
    """Return the file, and the last line in it through which the error passed."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    if isinstance(error, SyntaxError) and (error.filename is None or Path(error.filename) == path):
        lines = [error.lineno]
    return f"{path}, line {lines[-1]}" if lines and lines[-1] else str(path)


def _reason(error: BaseException) -> str:
    """Describe an error in one line."""
    if isinstance(error, SystemExit):
        return "the code calls sys.exit or raises SystemExit; remove the call"
    text = " ".join(str(error).split())
    if isinstance(error, ConfigurationError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
