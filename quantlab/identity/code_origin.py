"""Origin of code: this release, an installed package, or the user."""

import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from quantlab.identity.release import RELEASE

SOURCE = "__source_bytes__"
"""Attribute with the content of the file, for modules that were made from a file, not imported."""

OURS = ("quantlab", "sweeps", "analysis")
"""The packages of the project."""
ADDED_TO = ("sweeps.grids.", "sweeps.studies.")
"""Packages in `sweeps` to which users add modules of their own."""
LIBRARIES = frozenset(("torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "pandas"))
"""Packages that count as libraries even if they are installed from a clone."""


def home_of(kind_or_function: Any) -> ModuleType | None:
    """Return the module whose global names a class or function uses; None if it is not loaded."""
    if isinstance(kind_or_function, FunctionType):
        names = kind_or_function.__globals__
        module = sys.modules.get(names.get("__name__", ""))
        return module if module is not None and vars(module) is names else None
    return sys.modules.get(getattr(kind_or_function, "__module__", None) or "")


def release_name(kind_or_function: Any) -> str | None:
    """Return the name by which a class or function of the release is identified.

    Returns:
        A name that does not change when the definition moves; None for code that is not part of the
        release.
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
    """Whether a class or function belongs neither to the release nor to an installed package."""
    if release_name(kind_or_function) is not None:
        return False
    module = home_of(kind_or_function)
    return module is None or is_users_module(module)


def is_users_module(module: ModuleType) -> bool:
    """Whether a module can contain user code. Modules of `quantlab` can."""
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
    """Whether a module contains user code only, so that other machines may not have it."""
    is_package = module.__name__.split(".")[0] == "quantlab" and hasattr(module, "__path__")
    return is_users_module(module) and not is_package and module.__name__ not in RELEASE


@cache
def is_installed(file: str) -> bool:
    """Whether a file belongs to an installed package or to Python itself."""
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
    """Return the name of a library's class or function without private modules."""
    module = getattr(kind_or_function, "__module__", None) or "builtins"
    parts = [part for part in str(module).split(".") if not part.startswith("_")]
    name = getattr(kind_or_function, "__qualname__", type(kind_or_function).__qualname__)
    return f"{'.'.join(parts)}:{name}"
