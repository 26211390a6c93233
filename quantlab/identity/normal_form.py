"""A normal form of Python code that does not depend on layout, comments and docstrings.

It is the same on all versions of Python that quantlab supports, because identities depend on it.
Therefore it uses neither `ast.dump` nor the `repr` of text, which change with the version.
"""

import ast
from collections.abc import Iterator, Sequence

_NO_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of nodes that are redundant."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def normal_form(node: ast.AST) -> str:
    """Return code as text that is equal for equal code.

    Layout, comments, docstrings, other statements that consist of a constant, and ``pass`` are
    ignored. Names and the order of statements are not.
    """
    fields = []
    for name in sorted(node._fields):  # a later Python may have them in another order
        value = getattr(node, name, None)
        if name in _NO_MEANING or value is None or value == []:
            continue  # unused fields of a later Python have no effect
        fields.append(f"{name}={_field(node, value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _field(owner: ast.AST, value: object) -> str:
    if isinstance(value, ast.AST):
        return normal_form(value)
    if isinstance(value, list):
        if isinstance(owner, ast.JoinedStr):
            value = _joined(value)
        items = (item for item in value if not _says_nothing(item))
        return f"[{','.join(_field(owner, item) for item in items)}]"
    return plain(value)


def plain(value: object) -> str:
    """Return a constant as text. Different constants give different texts."""
    if isinstance(value, frozenset):
        return f"frozenset({','.join(sorted(map(plain, value)))})"
    if isinstance(value, tuple):
        return f"({','.join(map(plain, value))})"
    return f"{type(value).__name__}:{value!a}"


def _says_nothing(node: object) -> bool:
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _joined(parts: Sequence[ast.expr]) -> list[ast.expr]:
    """Merge adjacent constants of an f-string, which Python versions split differently."""
    joined: list[ast.expr] = []
    for part in parts:
        if isinstance(part, ast.Constant) and not part.value:
            continue
        last = joined[-1] if joined else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(part.value))
        else:
            joined.append(part)
    return joined


def names_of(statement: ast.AST) -> set[str]:
    """Return the names that code binds in its own scope.

    Names are bound by assignment, ``for``, ``with``, ``import``, a walrus, ``except``, ``match``,
    ``def`` and ``class``.
    """
    return set(_bound(statement))


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node.id
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.split(".")[0]
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    if isinstance(node, _COMPREHENSIONS):  # its targets are its own; a walrus in it is not
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                yield inner.target.id
        return
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def references(node: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """Yield the names that code uses but does not bind, each with its attributes.

    ``nn.Linear(WIDTH, n)`` gives ``("nn", "Linear")``, ``("WIDTH",)`` and ``("n",)``. Names that
    the body of a class binds are yielded as well, because the body may read a global name and bind
    the same name later.

    Args:
        node: the code.
        bound: names that are bound outside of `node`.
    """
    if isinstance(node, ast.Name):
        if node.id not in bound:
            yield (node.id,)
    elif isinstance(node, ast.Attribute):
        chain, root = [node.attr], node.value
        while isinstance(root, ast.Attribute):
            chain.append(root.attr)
            root = root.value
        if not isinstance(root, ast.Name):
            yield from references(root, bound)
        elif root.id not in bound:
            yield (root.id, *reversed(chain))
    elif isinstance(node, _FUNCTIONS):
        yield from _references_of_function(node, bound)
    elif isinstance(node, _COMPREHENSIONS):
        first, *_ = node.generators
        targets = {name for each in node.generators for name in names_of(each.target)}
        yield from references(first.iter, bound)
        for child in ast.iter_child_nodes(node):
            yield from references(child, bound | targets)
    else:
        for child in ast.iter_child_nodes(node):
            yield from references(child, bound)


def _references_of_function(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, bound: frozenset[str]
) -> Iterator[tuple[str, ...]]:
    body = node.body if isinstance(node.body, list) else [node.body]
    parameters = {item.arg for item in ast.walk(node.args) if isinstance(item, ast.arg)}
    own = parameters | {name for statement in body for name in names_of(statement)}
    for statement in body:
        for inner in _of_this_scope(statement):
            if isinstance(inner, ast.Global):
                own -= set(inner.names)
                yield from ((name,) for name in inner.names)
    inside = {id(statement) for statement in body}
    for child in ast.iter_child_nodes(node):  # defaults and decorators belong to the scope outside
        yield from references(child, bound | own if id(child) in inside else bound)


def _of_this_scope(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        for child in ast.iter_child_nodes(node):
            yield from _of_this_scope(child)
