"""The identity of classes in a user's sweep file: their name and a digest of their source.

A recipe with such a class has another fingerprint once the class is changed, and the same one in a
copy of the file under another name. Comments and layout do not count; what the class uses from its
own file (functions, constants, base classes) does. What it imports from elsewhere does not.
"""

import ast
import hashlib

from quantlab.canonical import CANONICAL_NAME


def with_identities(source: str) -> ast.Module:
    """The file's code, with its canonical name as an attribute of every class from its start on.

    So the file itself may already ask for the fingerprint of a recipe that has such a class.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    definitions: dict[str, ast.stmt] = {}
    for statement in tree.body:
        for name in _names_defined(statement):
            definitions[name] = statement
    classes = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
    # All digests first: a name in a class's body must not count in those that use the class.
    names = [f"{kind.name}@{_digest(kind.name, definitions)}" for kind in classes]
    for kind, name in zip(classes, names, strict=True):
        kind.body.append(ast.Assign([ast.Name(CANONICAL_NAME, ast.Store())], ast.Constant(name)))
    return ast.fix_missing_locations(tree)


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
