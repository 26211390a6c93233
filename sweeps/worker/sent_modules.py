"""Modules of libraries that recipes take along when they are sent between processes."""

import copyreg
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType


def send_modules_by_name() -> None:
    """Let modules that are objects of a class of their own, such as `torch.classes`, be sent.

    A function that is sent takes modules along: those of a package it uses, if their names occur in
    it in any meaning. ``self.classes`` beside ``torch.zeros`` is enough for `torch.classes`, and
    only plain modules are sent by their names. The driver and the workers call this function,
    because both send recipes.
    """
    for module in list(sys.modules.values()):
        kind = type(module)
        if isinstance(module, ModuleType) and kind not in (ModuleType, *copyreg.dispatch_table):
            copyreg.pickle(kind, _by_name)


def _by_name(module: ModuleType) -> tuple[Callable[[str], ModuleType], tuple[str]]:
    return import_module, (module.__name__,)
