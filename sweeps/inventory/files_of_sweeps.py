"""Whether a user's file defines the sweep or study that a storage remembers, without running it."""

import ast
from collections.abc import Iterator

from sweeps.inventory.known_sweeps import SWEEP, KnownSweep

_MAKERS = ("SweepSpec", "StudySpec", "replace")


def other_name_in_file(known: KnownSweep) -> str:
    """Return the name of what the file of a sweep or study defines instead of it.

    Earlier releases recorded the file also for a sweep with settings that ``--set`` had changed,
    and a user may have given the one in the file another name. Only a name that stands in the
    file is known, as in ``SWEEP = SweepSpec(name="mine", ...)``.

    Args:
        known: the sweep or study.

    Returns:
        The other name; empty if the file defines this one, is not there, or computes the name.
    """
    try:
        with open(known.source, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    names = list(_names(tree, "SWEEP" if known.kind == SWEEP else "STUDY"))
    return "" if None in names or known.name in names else next(filter(None, names), "")


def _names(tree: ast.Module, variable: str) -> Iterator[str | None]:
    """Yield the name in each assignment to a variable; None for one that is computed."""
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign):
            targets, value = [node.target], node.value
        elif isinstance(node, ast.ImportFrom) and {variable, "*"} & {
            one.asname or one.name for one in node.names
        }:
            yield None
        names = [name for one in targets for name in ast.walk(one) if isinstance(name, ast.Name)]
        if any(name.id == variable for name in names):
            yield _name_in_call(value)


def _name_in_call(value: ast.expr | None) -> str | None:
    """Return the text of ``name=`` in a call that uses it as it is; None if there is none."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func).split(".")[-1] not in _MAKERS:
        return None  # a function of the user may make another name of it
    for keyword in value.keywords:
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None
