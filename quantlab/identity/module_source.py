"""The source of a loaded module: its statements, and those that bind or change a name."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from weakref import WeakKeyDictionary

from quantlab.identity.code_origin import LIBRARIES, SOURCE, is_installed, is_users_module
from quantlab.identity.normal_form import names_of, references

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_TREES: "WeakKeyDictionary[ModuleType, ast.Module]" = WeakKeyDictionary()


def tree_of(module: ModuleType) -> ast.Module | None:
    """Return the syntax tree of a module, as of the first call; None if no source can be read."""
    if module not in _TREES:
        source = vars(module).get(SOURCE)
        try:
            if source is None:
                source = Path(module.__file__ or "").read_bytes()
            _TREES[module] = ast.parse(source)
        except (AttributeError, OSError, SyntaxError, ValueError):
            return None
    return _TREES[module]


def is_of_file(function: FunctionType, module: ModuleType) -> bool:
    """Whether a function is defined in the file of a module, and not by ``exec``."""
    here = function.__code__.co_filename
    there: str | None = getattr(module, "__file__", None)
    if here.startswith("<") or there is None or function.__globals__ is not vars(module):
        return False
    return Path(here).resolve() == Path(there).resolve()


def covers(node: ast.stmt, function: FunctionType) -> bool:
    """Whether a function of the same file is defined within the lines of a statement."""
    first: int = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    return first <= function.__code__.co_firstlineno <= (node.end_lineno or first)


def statements(module: ModuleType) -> list[ast.stmt]:
    """Return a module's statements, including those within ``if``, ``try`` and similar blocks."""

    def of(tree: ast.AST) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for child in ast.iter_child_nodes(tree):
            if isinstance(child, ast.stmt):
                found.append(child)
            if not isinstance(child, (*DEFINITIONS, ast.expr)):
                found += of(child)
        return found

    tree = tree_of(module)
    return [] if tree is None else of(tree)


def definitions(module: ModuleType, name: str) -> list[ast.stmt]:
    """Return all classes and functions of a name. Which one is used may depend on the machine."""
    return [
        node for node in statements(module) if isinstance(node, DEFINITIONS) and node.name == name
    ]


def making(module: ModuleType, name: str) -> list[ast.stmt]:
    """Return the top-level statements that bind a name, call its object, or assign to a part."""
    tree = tree_of(module)
    found = []
    for node in tree.body if tree is not None else ():
        if name in names_of(node) or (
            not isinstance(node, (*DEFINITIONS, ast.Import, ast.ImportFrom))
            and any(chain[0] == name for chain in references(node))
            and (not _only_names_a_value(node) or _calls(node, name))
        ):
            found.append(node)
    return found


def _only_names_a_value(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    is_assignment = isinstance(node, ast.Assign | ast.AnnAssign)
    return is_assignment and all(isinstance(target, ast.Name) for target in targets)


def _calls(node: ast.stmt, name: str) -> bool:
    """Whether a statement calls a method of the object of a name."""
    return any(
        isinstance(inner, ast.Call)
        and isinstance(inner.func, ast.Attribute)
        and any(chain[0] == name for chain in references(inner.func))
        for inner in ast.walk(node)
    )


def library_import(module: ModuleType, name: str) -> str | None:
    """Return the import of a name from a library, if no other statement binds the name."""
    binding = [node for node in statements(module) if name in names_of(node)]
    if len(binding) != 1 or not isinstance(node := binding[0], ast.ImportFrom) or node.level:
        return None
    library = sys.modules.get(node.module or "")
    if library is None or is_users_module(library):
        return None
    (alias,) = (each for each in node.names if (each.asname or each.name) == name)
    is_it = getattr(library, alias.name, None) is vars(module).get(name)
    return f"from {node.module} import {alias.name}" if is_it else None


def imported_by(
    node: ast.Import | ast.ImportFrom, module: ModuleType
) -> list[tuple[ModuleType, str]]:
    """Return the user's modules from which a statement imports, each with the imported name.

    The name is "" if the module itself is imported.

    Raises:
        Exception: any error that the import of such a module raises.
    """
    if isinstance(node, ast.Import):
        found = [(_users_module(alias.name), "") for alias in node.names]
    else:
        name = node.module or ""
        if node.level:
            package = getattr(module, "__package__", None)
            name = importlib.util.resolve_name("." * node.level + name, package)
        source = _users_module(name)
        found = [(source, alias.name) for alias in node.names]
    return [(source, name) for source, name in found if source is not None]


def _users_module(name: str) -> ModuleType | None:
    top = name.split(".")[0]
    if top in sys.stdlib_module_names or top in LIBRARIES:
        return None
    module = sys.modules.get(name)
    if module is None:
        spec = importlib.util.find_spec(name)
        if spec is None or (spec.origin is not None and is_installed(spec.origin)):
            return None
        module = importlib.import_module(name)
    return module if is_users_module(module) else None
