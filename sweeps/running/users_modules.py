"""Find the modules of the user whose code must be sent to workers, which cannot import them."""

import sys
from importlib.metadata import packages_distributions
from types import ModuleType

from quantlab.canonical import NAMED
from quantlab.identity.code_origin import OURS, is_added_module
from quantlab.identity.module_source import tree_of
from sweeps.loading import FILE_MODULE_PREFIX


def reached() -> list[ModuleType]:
    """Return sweep files, and modules of the user whose code the recipes use.

    Installed packages, also editable ones, are assumed to be installed on all machines.
    """
    names = {name for reach in NAMED.values() for name in reach.modules}
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(FILE_MODULE_PREFIX) or (name in names and _travels(module))
    ]


def imported_late() -> tuple[ModuleType, ...]:
    """Return modules of the user that the code of the recipes imports only when it runs."""
    names = {name for reach in NAMED.values() for name in reach.imported_late}
    return tuple(
        module
        for name in sorted(names)
        if (module := sys.modules.get(name)) is not None and _travels(module)
    )


def _travels(module: ModuleType) -> bool:
    if not is_added_module(module) or tree_of(module) is None:
        return False
    package = module.__name__.split(".")[0]
    return package in OURS or package not in packages_distributions()
