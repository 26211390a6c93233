"""Find the modules of the user whose code is sent to workers, and kept with the trials."""

import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from ray import cloudpickle

from quantlab.canonical import NAMED
from quantlab.identity.code_origin import OURS, SOURCE, is_added_module
from quantlab.identity.module_source import tree_of
from sweeps.loading.files import FILE_MODULE_PREFIX, last_file, modules_beside
from sweeps.storage.provenance import distributions, uncommitted_changes
from sweeps.worker.sent_modules import send_modules_by_name


def send_along() -> None:
    """Let Ray send the code of the user with the recipes; called before any recipe is sent."""
    for module in reached():
        cloudpickle.register_pickle_by_value(module)
    send_modules_by_name()


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


def sources() -> dict[str, bytes]:
    """Return the user's files and the uncommitted changes of this package by their paths.

    The sweep file and the modules beside it have their paths in its folder, so that the file can be
    loaded from a copy. Modules from elsewhere are in a folder ``elsewhere``, and the changes in a
    folder ``release``.
    """
    found = {f"release/{name}": content for name, content in uncommitted_changes().items()}
    file = last_file()
    folder = None if file is None or file.__file__ is None else Path(file.__file__).parent
    modules = [*reached(), *imported_late()]
    if file is not None:
        modules = [file, *modules_beside(), *modules]
    for module in modules:
        with suppress(OSError):  # it has been removed since it was imported
            if (content := _content(module)) is not None:
                found.setdefault(_name(module, folder), content)
    return found


def _travels(module: ModuleType) -> bool:
    if not is_added_module(module) or tree_of(module) is None:
        return False
    package = module.__name__.split(".")[0]
    return package in OURS or package not in distributions()


def _content(module: ModuleType) -> bytes | None:
    """Return the source of a module, as it was when it was imported if that is known."""
    known = vars(module).get(SOURCE)
    if isinstance(known, bytes):
        return known
    file = module.__file__
    return None if file is None or not file.endswith(".py") else Path(file).read_bytes()


def _name(module: ModuleType, folder: Path | None) -> str:
    path = Path(str(module.__file__))
    if folder is not None and path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return f"elsewhere/{module.__name__.replace('.', '/')}.py"
