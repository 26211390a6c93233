"""A digest of everything that determines what the sweeps of the release are."""

import ast
import hashlib
import os
import site
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from quantlab.identity.code_origin import ADDED_TO, OURS, is_installed

PACKAGES = Path(__file__).parents[2]
"""Folder of the packages of the project."""


@cache
def state_of_code() -> str:
    """Return a digest of this Python, the installed packages, and all files of the project.

    Packages count by the names of their folders of metadata, which have their versions.
    """
    digest = hashlib.sha256(f"{sys.version}\n{sys.prefix}\n{sys.platform}\n".encode())
    for name in sorted(_installed()):
        digest.update(f"{name}\n".encode())
    for file in _files():
        content = file.read_bytes()
        digest.update(f"{file.relative_to(PACKAGES)}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _installed() -> set[str]:
    """Return the names of folders of metadata. Libraries change `sys.path`, so it is not read."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = {*site.getsitepackages(), site.getusersitepackages(), *filter(None, named)}
    return {
        entry
        for folder in folders
        if os.path.isdir(folder)
        for entry in os.listdir(folder)
        if entry.endswith((".dist-info", ".egg-info"))
    }


def _files() -> Iterator[Path]:
    for package in ("quantlab", "sweeps"):
        for folder, folders, names in os.walk(PACKAGES / package):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (Path(folder, name) for name in sorted(names))


def uses_other_code(module: str) -> bool:
    """Whether a module of `sweeps.grids` imports files that `state_of_code` does not cover.

    Users may add modules to that package, which import files of theirs.

    Args:
        module: name of the module.
    """
    looked_at: set[str] = set()
    rest = [module]
    while rest:
        name = rest.pop()
        if name in looked_at:
            continue
        looked_at.add(name)
        package = name.split(".")[0]
        if package in OURS:
            if name.startswith(ADDED_TO):
                rest += _imported(PACKAGES.joinpath(*name.split(".")).with_suffix(".py"))
        elif package not in sys.stdlib_module_names:
            spec = find_spec(package)
            if spec is None or spec.origin is None or not is_installed(spec.origin):
                return True
    return False


def _imported(file: Path) -> Iterator[str]:
    """Yield the names of the modules that a file imports, and of the names that may be modules."""
    if not file.exists():  # the last part of the name is no module
        return
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module.split(".")[0] in OURS:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
