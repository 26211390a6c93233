"""The identity of classes in a user's sweep file: their name and a digest of their source.

A recipe with such a class has another fingerprint once the class is changed, and the same one in a
copy of the file under another name. Comments and layout do not count; what the class uses from its
own file (functions, constants, base classes) does. What it imports from elsewhere does not.
"""

import ast
import hashlib
from types import ModuleType

from quantlab.canonical import CANONICAL_NAME


def identify_classes(module: ModuleType, source: str) -> None:
    """Give every class that the module's file defines its canonical name."""
    definitions: dict[str, ast.stmt] = {}
    for statement in ast.parse(source).body:
        for name in _names_defined(statement):
            definitions[name] = statement
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            digest = _digest(value.__name__, definitions)
            setattr(value, CANONICAL_NAME, f"{value.__qualname__}@{digest}")


def _names_defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def _digest(name: str, definitions: dict[str, ast.stmt]) -> str:
    """Of a definition and of all that it uses, directly or not."""
    used: dict[str, str] = {}
    open_names = [name]
    while open_names:
        current = open_names.pop()
        if current in used or current not in definitions:
            continue
        statement = definitions[current]
        used[current] = ast.dump(statement)
        open_names += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    text = "\n".join(f"{key} {used[key]}" for key in sorted(used))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
