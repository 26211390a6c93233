"""AnyModule: a network of the user's, or of any library, with its arguments."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, ClassVar

from torch import nn

from quantlab.errors import ConfigurationError, brief, described
from quantlab.identity.code_origin import is_users
from quantlab.models.base import ModelSpec
from quantlab.plain_values import require_options
from quantlab.tasks.dimensions import Dimensions

_EXAMPLES = "a class of nn.Module, a function, or text such as 'package.module:name'"


@dataclass(frozen=True)
class AnyModule(ModelSpec):
    """Any network, made by a class or a function.

    ``AnyModule(MyNetwork, {"width": 16})`` is ``MyNetwork(width=16)``. Arguments of the names
    ``num_classes``, ``num_channels`` and ``dimensions`` that the class or function has are those of
    the dataset, unless `options` give them: the number of outputs, the first size of an input, and
    the `Dimensions`.

    A class or function of the user is identified by its source, one of an installed package by its
    name. Every result has the version of the package.
    """

    is_named: ClassVar[bool] = False
    maker: type[nn.Module] | Callable[..., nn.Module] | str
    """A class or a function, or ``"module:name"``. Text that names the user's own code is replaced
    by the class or function."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments."""

    def __post_init__(self) -> None:
        made_by = self.maker
        if isinstance(made_by, str):
            made_by = imported(made_by)
            if is_users(made_by):
                object.__setattr__(self, "maker", made_by)
        is_network = isinstance(made_by, type) and issubclass(made_by, nn.Module)
        if not (is_network or isinstance(made_by, FunctionType)):
            raise ConfigurationError(f"AnyModule.maker = {brief(self.maker)}: must be {_EXAMPLES}")
        require_options(self, "options", "{'width': 16}")
        self._require_accepted(made_by)

    def _require_accepted(self, made_by: Callable[..., nn.Module]) -> None:
        try:
            signature = inspect.signature(made_by)
        except (TypeError, ValueError):  # a class may hide it
            return
        try:
            signature.bind(**self.options, **dict.fromkeys(self._of_dataset(made_by)))
        except TypeError as error:
            raise ConfigurationError(
                f"AnyModule.options = {brief(dict(self.options))}: must be the keyword arguments "
                f"of {self.name}{signature}; {error}"
            ) from error

    def _of_dataset(self, made_by: Callable[..., nn.Module]) -> list[str]:
        """Return the names of the arguments that are those of the dataset."""
        try:
            known = inspect.signature(made_by).parameters
        except (TypeError, ValueError):
            return []
        return [
            name
            for name in ("num_classes", "num_channels", "dimensions")
            if name in known
            and name not in self.options
            and known[name].kind in (known[name].POSITIONAL_OR_KEYWORD, known[name].KEYWORD_ONLY)
        ]

    @property
    def name(self) -> str:
        """Name of the class or function."""
        if isinstance(self.maker, str):
            return self.maker.rpartition(":")[2]
        return self.maker.__name__

    @property
    def packages(self) -> tuple[str, ...]:
        """The package that defines the network, unless it is the user's."""
        made_by = imported(self.maker) if isinstance(self.maker, str) else self.maker
        where = self.maker if isinstance(self.maker, str) else made_by.__module__
        return () if is_users(made_by) else (where.partition(":")[0].split(".")[0],)

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Call the class or function."""
        made_by = imported(self.maker) if isinstance(self.maker, str) else self.maker
        values = {
            "num_classes": dimensions.num_classes,
            "num_channels": dimensions.input[0] if dimensions.input else 1,
            "dimensions": dimensions,
        }
        given = {name: values[name] for name in self._of_dataset(made_by)}
        made: nn.Module = made_by(**self.options, **given)
        return made


def imported(text: str, what: str = "AnyModule.maker") -> Any:
    """Return what ``"module:name"`` names.

    Args:
        text: the module and the name in it.
        what: what has this value, for messages.

    Raises:
        ConfigurationError: if there is no such module or name.
    """
    where = f"{what} = {brief(text)}"
    module, _, names = text.partition(":")
    if not (names and all(part.isidentifier() for part in (*module.split("."), *names.split(".")))):
        raise ConfigurationError(f"{where}: must be {_EXAMPLES}")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{where}: there is no module {error.name}; install its package, or correct the name"
        ) from error
    except Exception as error:  # a module may raise anything when it is imported
        raise ConfigurationError(
            f"{where}: importing {module} raises {described(error)}"
        ) from error
    for name in names.split("."):
        if not hasattr(found, name):
            raise ConfigurationError(f"{where}: {module} has no {names}; correct the name")
        found = getattr(found, name)
    return found
