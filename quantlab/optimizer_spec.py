"""OptimizerSpec: a torch optimizer with its settings, and groups of parameters with their own."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from quantlab.errors import ConfigurationError, brief
from quantlab.models.weights import type_of_layer
from quantlab.plain_values import require_items, require_number, require_options
from quantlab.schedules import Schedule, value_at
from quantlab.schedules.constant import set_schedule

FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Optimizers that torch implements as a single kernel, on the CPU too. On one flat tensor it is the
fastest of torch's implementations; results differ by rounding."""

_EXEMPT = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods that torch exempts from compilation, for which it imports the compiler when they run."""
_SHOWN = 12
"""Largest number of names in a message."""
_SHAPES = ((1,), (1, 1))
"""Shapes of the parameter that options are tried with. Muon takes matrices only."""
_FACTOR = "learning_rate_factor"
"""Key of a group of torch's optimizers with `ParameterGroup.learning_rate_factor`."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters with options of their own, like the parameter groups of torch's optimizers.

    ``ParameterGroup(parameters=("BatchNorm2d",), options={"weight_decay": 0.0})`` trains batch
    normalization without weight decay ("Mirror Descent View for Neural Network Quantization",
    Table 11).
    """

    parameters: tuple[str, ...]
    """Types of layers (``"BatchNorm2d"``), which stand for all parameters of such layers, and
    shell-style patterns of parameter names (``"*.bias"``). Each must match at least one parameter,
    and a parameter must be in one group only. For a quantized weight, the options are those of its
    latent weights."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments that replace those of `OptimizerSpec.options`."""
    learning_rate_factor: float = 1.0
    """Factor >= 0 of the learning rate."""

    def __post_init__(self) -> None:
        require_items(self, "parameters", str, "a sequence of patterns")
        if not self.parameters:
            raise ConfigurationError(
                "ParameterGroup.parameters = (): must have at least one pattern"
            )
        require_options(self, "options", "{'momentum': 0.9}")
        factor = require_number(self, "learning_rate_factor")
        object.__setattr__(self, "learning_rate_factor", float(factor))

    @property
    def own_options(self) -> dict[str, Any]:
        """Entries of the group in torch's `param_groups`, apart from its parameters."""
        if self.learning_rate_factor == 1:
            return dict(self.options)
        return {**self.options, _FACTOR: self.learning_rate_factor}


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """A torch optimizer with its settings."""

    algorithm: type[Optimizer] = torch.optim.SGD
    """Any `torch.optim.Optimizer` class."""
    learning_rate: Schedule
    """The learning rate of every step. A number is a constant learning rate."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the class, such as momentum."""
    groups: tuple[ParameterGroup, ...] = ()
    """Groups of parameters with options of their own. A parameter in no group has `options`."""
    clip_norm: float | None = None
    """Largest norm of the gradient, > 0, to which it is scaled down before every step, as by
    `torch.nn.utils.clip_grad_norm_`; None for no limit. It is the norm over all parameters that
    are trained, of the gradient of the whole batch. For quantized weights, it is the gradient of
    their latents, after the backward map, and that of learned numbers belongs to it. An optimizer
    that evaluates the loss several times a step gets every gradient clipped."""

    def __post_init__(self) -> None:
        set_schedule(
            self, "learning_rate", "a number >= 0 or a schedule, such as Cosine(0.1, epochs=200)"
        )
        if not (isinstance(self.algorithm, type) and issubclass(self.algorithm, Optimizer)):
            raise ConfigurationError(
                f"OptimizerSpec.algorithm = {brief(self.algorithm)}: must be a class of "
                "torch.optim.Optimizer, such as torch.optim.SGD; its arguments are learning_rate "
                "and options"
            )
        require_options(self, "options", "{'momentum': 0.9}")
        require_items(self, "groups", ParameterGroup, "a sequence of ParameterGroup")
        if self.clip_norm is not None:
            limit = require_number(self, "clip_norm", exclusive=True)
            object.__setattr__(self, "clip_norm", float(limit))
        known = self._tried("OptimizerSpec.options", self.options).defaults.keys() - {"lr"}
        for position, group in enumerate(self.groups):
            where = f"OptimizerSpec.groups[{position}].options"
            for name in group.options.keys() - known:
                raise ConfigurationError(
                    f"{where} = {brief(dict(group.options))}: {name!r} must be one of "
                    f"{', '.join(sorted(known))}, the options of {self.algorithm.__name__} (the "
                    "learning rate of a group is set with learning_rate_factor)"
                )
            self._tried(where, group.options)

    def build(
        self, parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]], **execution: bool
    ) -> Optimizer:
        """Build the optimizer at the learning rate of step 0.

        Args:
            parameters: parameters that it updates, or groups of them in torch's form.
            execution: keyword arguments that choose an implementation, such as ``fused``. Those in
                `options` take precedence.

        Raises:
            ConfigurationError: if the optimizer does not take parameters of these shapes.
        """
        try:
            optimizer = self._built(parameters, {**execution, **self.options})
        except ValueError as error:  # the options have been tried
            raise ConfigurationError(
                f"OptimizerSpec.algorithm = {self.algorithm.__name__}: must be an optimizer of "
                f"these parameters; it raised: {error}"
            ) from error
        rate = value_at(self.learning_rate, 0, 1, "optimizer.learning_rate")
        set_learning_rate(optimizer.param_groups, rate)
        return optimizer

    def build_fast(
        self, parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]]
    ) -> Optimizer:
        """Build the optimizer as a single kernel, if torch has one and `options` allow it."""
        chosen = self.options.keys() & {"fused", "foreach", "differentiable"}
        if self.algorithm in FUSED and not chosen:
            return self.build(parameters, fused=True)
        return self.build(parameters)

    def members_of_groups(self, model: nn.Module) -> list[list[nn.Parameter]]:
        """Return the parameters of each group.

        Raises:
            ConfigurationError: see `group_of_parameters`.
        """
        members: list[list[nn.Parameter]] = [[] for _ in self.groups]
        patterns = [group.parameters for group in self.groups]
        for name, place in group_of_parameters(model, patterns).items():
            members[place].append(model.get_parameter(name))
        return members

    def _built(self, parameters: Any, options: Mapping[str, Any]) -> Optimizer:
        rate = value_at(self.learning_rate, 0, 1, "optimizer.learning_rate")
        algorithm: Any = self.algorithm  # its constructor has further arguments
        return uncompiled(algorithm)(parameters, **{"lr": rate, **options})

    def _tried(self, where: str, options: Mapping[str, Any]) -> Optimizer:
        """Build the optimizer of one number, to check options."""
        failed: Exception | None = None
        for shape in _SHAPES:
            try:
                return self._built([nn.Parameter(torch.zeros(shape))], {**self.options, **options})
            except ConfigurationError:
                raise
            except Exception as error:  # torch's and users' optimizers raise errors of many types
                failed = failed or error
        raise ConfigurationError(
            f"{where} = {brief(dict(options))}: must be keyword arguments that "
            f"{self.algorithm.__name__} accepts; it raised: {failed}"
        ) from failed


@cache
def uncompiled(algorithm: type[Optimizer]) -> type[Optimizer]:
    """Return an optimizer of torch that computes the same, and does not import torch's compiler.

    The import takes a second or two in each process. torch's optimizers need it only in a step that
    is compiled. Those of users stay as they are, because their methods may do anything.

    Args:
        algorithm: any optimizer.

    Returns:
        A subclass of it, or `algorithm` itself if it is none of torch's.
    """
    if not algorithm.__module__.startswith("torch.optim."):
        return algorithm
    plain = inspect.unwrap(algorithm.step)

    def step(self: Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return plain(self, *arguments, **options)

    def reduced(self: Optimizer, protocol: Any) -> tuple[Any, ...]:
        _, _, *state = cast(tuple[Any, ...], object.__reduce_ex__(self, max(2, protocol)))
        return (_empty, (algorithm,), *state)

    methods = {name: inspect.unwrap(getattr(algorithm, name)) for name in _EXEMPT}
    methods["__reduce_ex__"] = reduced  # the class cannot be found by its name
    names = {name: getattr(algorithm, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(algorithm.__name__, (algorithm,), {**names, **methods, "step": step})


def _empty(algorithm: Any) -> Optimizer:
    """Return an optimizer without state, as it is read from a pickle."""
    kind = uncompiled(algorithm)
    return kind.__new__(kind)


def group_of_parameters(model: nn.Module, groups: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the group of each parameter that is in one.

    Args:
        model: any module. Its frozen parameters are matched, too.
        groups: for each group, shell-style patterns of parameter names (``"*.bias"``), and types of
            layers (``"BatchNorm2d"``), which stand for all parameters of such layers themselves.

    Returns:
        Parameter names with the position of their group. A parameter that layers share is listed
        once, under its first name.

    Raises:
        ConfigurationError: if a pattern matches nothing, if a parameter is in two groups, or if
            only some of the names of a shared parameter are in a group.
    """
    names = dict(model.named_parameters(remove_duplicate=False))
    kinds = {name: type_of_layer(model.get_submodule(name.rpartition(".")[0])) for name in names}
    member_of: dict[str, int] = {}
    for position, patterns in enumerate(groups):
        where = f"optimizer.groups[{position}].parameters"
        for pattern in patterns:
            matches = [
                name for name in names if kinds[name] == pattern or fnmatchcase(name, pattern)
            ]
            if not matches:
                raise ConfigurationError(
                    f"{where}: {pattern!r} matches no parameter; must match a name "
                    f"({_listed(list(names))}) or a type of layer "
                    f"({_listed(sorted(set(kinds.values())))})"
                )
            for name in matches:
                if member_of.setdefault(name, position) != position:
                    raise ConfigurationError(
                        f"{where}: {pattern!r} matches {name}, which is already in "
                        f"groups[{member_of[name]}]; a parameter must be in one group only"
                    )
    found: dict[int, tuple[str, int | None]] = {}
    for name, parameter in names.items():
        place = member_of.get(name)
        first, same = found.setdefault(id(parameter), (name, place))
        if place != same:
            raise ConfigurationError(
                f"optimizer.groups: {first} and {name} are one parameter, but are not in the same "
                "group; match both in one group"
            )
    return {name: place for name, place in found.values() if place is not None}


def _listed(names: Sequence[str]) -> str:
    further = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "there are none") + further


def set_learning_rate(groups: Iterable[dict[str, Any]], rate: float) -> None:
    """Set the learning rate of an optimizer's groups.

    Args:
        groups: `param_groups` of an optimizer that `OptimizerSpec.build` returned.
        rate: the learning rate; that of a group is multiplied by its `learning_rate_factor`.
    """
    for group in groups:
        group["lr"] = rate * factor_of(group)


def factor_of(group: Mapping[str, Any]) -> float:
    """Return the factor of the learning rate in one of the `param_groups` of an optimizer."""
    factor: float = group.get(_FACTOR, 1.0)
    return factor
