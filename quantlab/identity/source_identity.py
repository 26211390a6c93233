"""The identity of user code: a hash of everything that a class or function can reach.

The fingerprint of a recipe with a user's class changes if that class changes, or anything that it
uses in the user's files: functions, base classes and constants. Code is hashed in its
`normal_form`, data by its value, and an object of a library by the statements that create it. Code
that cannot be followed, such as ``exec``, is refused. If code computes names, its whole file is
hashed. Installed packages are hashed by their names only. The names of the user's files and modules
are not hashed, so that a copy of a class has the same identity.
"""

import ast
import builtins
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from quantlab.identity.code_origin import (
    home_of,
    is_added_module,
    is_users,
    is_users_module,
    public_name,
    release_name,
)
from quantlab.identity.module_source import (
    covers,
    definitions,
    imported_by,
    is_of_file,
    library_import,
    making,
    statements,
    tree_of,
)
from quantlab.identity.normal_form import normal_form, references
from quantlab.identity.value_text import OPAQUE, ValueText, fields_of, inner_of, is_code

_REFUSED = {"import_module", "spec_from_file_location", "run_path", "run_module", "exec_module"}
_REFUSED_BUILTINS = {"exec", "eval", "compile", "__import__"}
_COMPILED = ("Script", "RecursiveScript", "Traced", "TopLevelTraced")
"""Prefixes of the names of classes of `torch.jit`."""
_WHOLE_FILE = {"__subclasses__", "__globals__", "f_globals"}
_WHOLE_FILE_BUILTINS = {"globals", "locals", "vars"}
_OF_THE_FILE = {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__"}
"""Names that describe the place of the code."""
_GENERATED = {f"__{name}__" for name in ("init", "repr", "eq", "hash", "new", "replace")}
_GENERATED |= {f"__{name}__" for name in ("lt", "le", "gt", "ge", "setattr", "delattr")}
_GENERATED |= {f"__{name}__" for name in ("getstate", "setstate", "getnewargs")}
"""Methods that `dataclass` and similar decorators generate from code that is hashed already."""


CANONICAL_NAME = "__canonical_name__"
"""Attribute that stores the canonical name of a user's class or function (name and digest of its
source). It is set when the name is first computed, and travels with the code to machines without
its source."""


class UntraceableError(Exception):
    """Code of a recipe cannot be followed to its source. The message names the code and why."""


@dataclass(frozen=True)
class _Making:
    """The statements that create the object of a name."""

    module: ModuleType
    name: str


class Reach(ValueText):
    """Everything that a user's class or function can reach: classes, functions and modules."""

    def __init__(self, kind: type | FunctionType) -> None:
        """Follow a class or function.

        Args:
            kind: a user's class or function.

        Raises:
            UntraceableError: if it uses code that cannot be followed.
        """
        super().__init__()
        self.modules: set[str] = set()
        """Names of the modules with user code that the class reaches."""
        self.imported_late: set[str] = set()
        """Names of those modules that are imported within functions."""
        self.what = f"{'class' if isinstance(kind, type) else 'function'} {kind.__qualname__}"
        """What is followed, for messages."""
        self._numbers: dict[str, int] = {}
        self._keys: dict[object, str] = {}
        self._targets: list[Any] = []
        self._entry(kind, kind, kind.__qualname__, self._module_of(kind))
        lines = []
        for place, target in enumerate(self._targets):  # which grow meanwhile
            if isinstance(target, type):
                parts = self._of_class(target)
            elif isinstance(target, FunctionType):
                parts = self._of_function(target)
            elif isinstance(target, _Making):
                parts = self._of_making(target)
            else:
                parts = self._of_module(target)
            lines += [f"{place}", *(f" {part}" for part in parts)]
        self.digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
        """Hash of everything that it can reach: twelve hexadecimal digits."""

    def _refused(self, why: str) -> UntraceableError:
        return UntraceableError(f"{self.what}: its identity cannot be determined, because {why}")

    def _entry(self, identity: object, target: Any, name: str, module: ModuleType) -> str:
        """Return a reference to an entry. Modules are numbered in the order in which they occur."""
        if identity not in self._keys:
            self.modules.add(module.__name__)
            if not self._targets:
                file = getattr(module, "__file__", None)
                self.folder = str(Path(file).absolute().parent) if file else ""
            number = self._numbers.setdefault(module.__name__, len(self._numbers))
            self._keys[identity] = f"<{len(self._targets)} {number}:{name}>"
            self._targets.append(target)  # which also keeps its `id` from being used again
        return self._keys[identity]

    def _module_of(self, value: Any) -> ModuleType:
        module = home_of(value)
        if module is None:
            raise self._refused(f"the module of {_name(value)} is not loaded")
        return module

    def of_value(self, value: Any) -> str | None:
        """Return a value as text; see `ValueText.of_value`.

        Raises:
            UntraceableError: if the value is an object of `torch.jit`, which has no source, or if
                code in it cannot be followed.
        """
        kind = type(value)
        if kind.__module__.split(".")[0] == "torch" and kind.__name__.startswith(_COMPILED):
            raise self._refused(f"it uses a {kind.__name__} of torch.jit; use the plain function")
        return super().of_value(value)

    def _of_code(self, value: Any) -> str | None:
        if isinstance(value, ModuleType):
            if not is_added_module(value):
                return f"module {value.__name__}"
            return self._entry(id(value), value, "", value)
        if (inner := inner_of(value)) is not None:
            return self.of_items(f"{type(value).__name__} {_name(value)}", inner)
        if (name := release_name(value)) is not None:
            return f"release {name}"
        if not is_users(value):
            return public_name(value)
        if not isinstance(value, type | FunctionType):  # compiled
            home = self._module_of(value)
            return f"{_name(value)} of {self._entry(id(home), home, '', home)}"
        return self._entry(value, value, _name(value), self._module_of(value))

    def _of_class(self, kind: type) -> Iterator[str]:
        module = self._module_of(kind)
        if tree_of(module) is None:
            yield self._of_file(module)
        nodes = definitions(module, kind.__qualname__.split(".")[0])
        for node in nodes:
            yield from self._of_source(node, module, {})
        yield f"bases {[self.of_value(each) for each in (*kind.__bases__, type(kind))]}"
        for field in fields_of(kind):
            default = (
                field.default_factory if field.default is dataclasses.MISSING else field.default
            )
            yield f"field {field.name} {field.init} {field.kw_only} {self.of_value(default)}"
        if issubclass(kind, Enum):
            for name, member in kind.__members__.items():
                yield f"member {name} {self.of_value(member.value)}"
        for name, value in sorted(vars(kind).items()):
            functions = inner_of(value) or [value]
            is_code = any(isinstance(each, FunctionType) for each in functions)
            is_special = name.startswith("__") or issubclass(kind, Enum)
            if is_special and not any(map(self._is_own, functions)):
                continue
            if is_code and all(self._stands_in(each, nodes, module) for each in functions):
                for each in functions:
                    yield from self._of_closure(each)
            elif (text := self.of_value(value)) is not None:
                yield f"{name} = {text}"

    def _is_own(self, function: Any) -> bool:
        """Whether a special method is neither a library's nor generated."""
        if not isinstance(function, FunctionType):
            return False
        if function.__code__.co_filename.startswith("<"):
            return function.__name__ not in _GENERATED
        module = home_of(function)
        return module is None or is_users_module(module)

    def _stands_in(self, function: Any, nodes: list[ast.stmt], module: ModuleType) -> bool:
        if function is None:
            return True  # a property without a setter
        if not isinstance(function, FunctionType) or not is_of_file(function, module):
            return False
        return any(covers(node, function) for node in nodes)

    def _of_function(self, function: FunctionType) -> Iterator[str]:
        module = self._module_of(function)
        if not is_of_file(function, module):
            raise self._refused(f"{_name(function)} was created by exec or a similar function")
        nodes = definitions(module, _name(function).split(".")[0])
        if not nodes:  # a lambda
            nodes = [node for node in statements(module) if covers(node, function)][:1]
        if not nodes:
            raise self._refused(f"{_name(function)} is not in {module.__file__} any more")
        for node in nodes:
            yield from self._of_source(node, module, _closure(function))
        yield from self._of_closure(function)
        yield f"defaults {self.of_value([function.__defaults__, function.__kwdefaults__])}"

    def _of_closure(self, function: FunctionType | None) -> Iterator[str]:
        if function is not None:
            for key, value in sorted({**_closure(function), **vars(function)}.items()):
                if key == CANONICAL_NAME:
                    continue
                yield f"{_name(function)}, {key} = {self.of_value(value)}"

    def _of_module(self, module: ModuleType) -> Iterator[str]:
        tree = tree_of(module)
        if tree is None:
            yield self._of_file(module)
            return
        yield from self._of_source(tree, module, {})
        for name, value in sorted(vars(module).items()):
            if not name.startswith("__"):
                yield f"{name} = {self.of_value(value)}"

    def _of_file(self, module: ModuleType) -> str:
        """Return a hash of the file of a compiled module."""
        try:
            content = Path(getattr(module, "__file__", None) or "").read_bytes()
        except OSError:
            raise self._refused(f"module {module.__name__} has no source") from None
        return hashlib.sha256(content).hexdigest()

    def _of_making(self, target: _Making) -> Iterator[str]:
        nodes = making(target.module, target.name)
        for node in nodes:
            yield from self._of_source(node, target.module, {})
        if not nodes:
            yield f"somewhere in {self._of_code(target.module)}"

    def _of_source(
        self, node: ast.AST, module: ModuleType, closure: Mapping[str, Any]
    ) -> Iterator[str]:
        """Yield the code itself, and the objects of all its names."""
        yield normal_form(node)
        at_top = statements(module)
        computes_names = False
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                yield from self._of_import(inner, module, late=inner not in at_top)
            name = getattr(inner, "attr", None) or getattr(inner, "id", None)
            if name in _REFUSED:
                raise self._refused(f"it uses {name}; import by a statement instead")
            computes_names |= name in _WHOLE_FILE
        for chain in sorted(set(references(node))):
            computes_names |= chain[:2] == ("sys", "modules")
            if chain[0] not in closure and chain[0] not in vars(module):
                if chain[0] in _REFUSED_BUILTINS:
                    raise self._refused(f"it uses {chain[0]}; write the code out instead")
                computes_names |= chain[0] in _WHOLE_FILE_BUILTINS
            if (text := self._of_reference(chain, module, closure)) is not None:
                yield f"{'.'.join(chain)}: {text}"
        if computes_names and node in at_top:
            yield f"all of {self._entry(id(module), module, '', module)}"

    def _of_reference(
        self, chain: tuple[str, ...], module: ModuleType, closure: Mapping[str, Any]
    ) -> str | None:
        name, *rest = chain
        if name in closure:
            return self.of_value(closure[name])
        if name in _OF_THE_FILE:
            return None
        if name not in vars(module):
            is_missing = not hasattr(builtins, name) and making(module, name)
            return self._made(module, name) if is_missing else None
        value = vars(module)[name]
        while rest and isinstance(value, ModuleType) and is_users_module(value):
            if rest[0].startswith("__") or not hasattr(value, rest[0]):
                break
            self.modules.add(value.__name__)
            module, name = value, rest.pop(0)
            value = getattr(module, name)
        is_library = is_code(value) and not isinstance(value, ModuleType) and not inner_of(value)
        if is_library and not is_users(value) and (found := library_import(module, name)):
            return found  # does not depend on how the library is laid out
        text = self.of_value(value)
        if text is None or OPAQUE in text:
            return f"{text} {self._made(module, name)}"
        return text

    def _made(self, module: ModuleType, name: str) -> str:
        return self._entry((module.__name__, name), _Making(module, name), name, module)

    def _of_import(
        self, node: ast.Import | ast.ImportFrom, module: ModuleType, *, late: bool
    ) -> Iterator[str]:
        """Yield what a statement imports from the user's modules."""
        try:
            found = imported_by(node, module)
        except Exception as error:  # the user's module may raise anything
            raise self._refused(f"the import in line {node.lineno} fails ({error!r})") from error
        for source, name in found:
            self.modules.add(source.__name__)
            if late:
                self.imported_late.add(source.__name__)
            value = getattr(source, name, source)
            yield f"import {name}: {self.of_value(value) or self._made(source, name)}"


def _name(value: Any) -> str:
    if isinstance(value, FunctionType):
        return value.__code__.co_qualname
    return str(getattr(value, "__qualname__", ""))


def _closure(function: FunctionType) -> dict[str, Any]:
    """Return the bound variables of a function's closure."""
    found = {}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    found.pop("__class__", None)
    return found
