"""Where code comes from: the release, an installed package, or the user."""

import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from quantlab.identity.release import RELEASE

SOURCE = "__source_bytes__"
"""A module that was not imported, but made from a file, has the file's content under this name."""

OURS = ("quantlab", "sweeps", "analysis")
"""The packages of the project."""
ADDED_TO = ("sweeps.grids.", "sweeps.studies.")
"""Where users add modules of their own to `sweeps`."""
LIBRARIES = frozenset(("torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "pandas"))
"""Libraries, even where somebody works on a clone of them."""


def home_of(kind_or_function: Any) -> ModuleType | None:
    """The module whose names the code of a class or a function uses, if it is there."""
    if isinstance(kind_or_function, FunctionType):
        names = kind_or_function.__globals__
        module = sys.modules.get(names.get("__name__", ""))
        return module if module is not None and vars(module) is names else None
    return sys.modules.get(getattr(kind_or_function, "__module__", None) or "")


def release_name(kind_or_function: Any) -> str | None:
    """What a class or a function of the release is known by, wherever it stands in the package.

    Returns:
        None for whatever is not of the release.
    """
    module = getattr(kind_or_function, "__module__", None)
    name = getattr(kind_or_function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    package = module.split(".")[0]
    if package == "quantlab":
        return name if name.split(".")[0] in RELEASE.get(module, "").split() else None
    if package in OURS and not module.startswith(ADDED_TO):
        return f"{package}:{name}"
    return None


def is_users(kind_or_function: Any) -> bool:
    """Whether a class or a function is neither of the release nor of an installed package."""
    if release_name(kind_or_function) is not None:
        return False
    module = home_of(kind_or_function)
    return module is None or is_users_module(module)


def is_users_module(module: ModuleType) -> bool:
    """Whether there may be code of the user's in a module; in those of `quantlab`, there may."""
    package = module.__name__.split(".")[0]
    if package == "__main__" or SOURCE in vars(module):
        return True
    if package in OURS:
        return package == "quantlab" or module.__name__.startswith(ADDED_TO)
    if package in LIBRARIES or package in sys.stdlib_module_names:
        return False
    files = [*getattr(module, "__path__", ())] or [getattr(module, "__file__", None)]
    return any(file is not None and not is_installed(file) for file in files)


def is_added_module(module: ModuleType) -> bool:
    """Whether a module is wholly the user's, so that other machines need not have it."""
    is_package = module.__name__.split(".")[0] == "quantlab" and hasattr(module, "__path__")
    return is_users_module(module) and not is_package and module.__name__ not in RELEASE


@cache
def is_installed(file: str) -> bool:
    """Whether a file is of an installed package or of Python itself."""
    for place in (Path(file).absolute(), Path(file).resolve()):
        if {"site-packages", "dist-packages"} & set(place.parts):
            return True
        if any(place.is_relative_to(folder) for folder in _INSTALLED):
            return True
    return False


_INSTALLED = {
    Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
}


def public_name(kind_or_function: Any) -> str:
    """The name of a library's class or function, less the modules that it keeps to itself."""
    module = getattr(kind_or_function, "__module__", None) or "builtins"
    parts = [part for part in str(module).split(".") if not part.startswith("_")]
    name = getattr(kind_or_function, "__qualname__", type(kind_or_function).__qualname__)
    return f"{'.'.join(parts)}:{name}"
