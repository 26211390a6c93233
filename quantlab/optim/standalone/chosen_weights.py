"""Which parameters of torch's groups are quantized, and how."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from quantlab.errors import ConfigurationError, brief
from quantlab.models.weights import layer_of
from quantlab.optim.standalone.torch_parameters import named, require_quantizable
from quantlab.quantizers import Quantizer
from quantlab.recipe import Quantization, WeightGroup
from quantlab.scales import Scale
from quantlab.schedules import Schedule

_SHARDED = ("FullyShardedDataParallel",)


@dataclass(frozen=True, kw_only=True)
class ChosenWeight:
    """A quantized weight with its map."""

    name: str
    quantizer: Quantizer
    scale: Scale | None
    sharpness: Schedule | None
    """Schedule of its own; None for that of the quantization."""


def chosen_in_model(model: nn.Module, quantization: Quantization) -> dict[int, ChosenWeight]:
    """Return the weights that the patterns of a quantization choose, by the id of the parameter.

    Args:
        model: network, which may be wrapped by DistributedDataParallel or torch.compile.
        quantization: see `Quantization.group_of_weights`.

    Raises:
        ConfigurationError: if a pattern or a scale does not fit, or if the network is sharded.
    """
    for module in model.modules():
        if type(module).__name__ in _SHARDED:
            raise ConfigurationError(
                f"model: is sharded by {type(module).__name__}, so that no process has whole "
                "weights to quantize; use DistributedDataParallel"
            )
    bare = unwrapped(model)
    return {
        id(weight := bare.get_parameter(name)): _chosen(
            name, weight, group or quantization, layer_of(bare, name)
        )
        for name, group in quantization.group_of_weights(bare).items()
    }


def chosen_by_groups(
    groups: Sequence[Mapping[str, Any]],
    own: Sequence[Mapping[str, Any]],
    quantization: Quantization,
    first: int = 0,
) -> dict[int, ChosenWeight]:
    """Return the weights of the groups that say so, by the id of the parameter.

    Frozen parameters stay in full precision.

    Args:
        groups: groups as torch has read them.
        own: entries `OWN_KEYS` of each group.
        quantization: the common settings.
        first: position of the first group in the optimizer, for names.

    Raises:
        ConfigurationError: if an entry is not of its type or fits no quantized group, or if a scale
            does not fit a weight.
    """
    chosen = {}
    for place, (group, entries) in enumerate(zip(groups, own, strict=True), start=first):
        where = f"param_groups[{place}]"
        of = _group_settings(where, entries, quantization)
        if of is None:
            continue
        for name, parameter in named(group, place):
            if parameter.requires_grad:
                chosen[id(parameter)] = _chosen(name, parameter, of)
    return chosen


def divided(
    groups: Sequence[Mapping[str, Any]],
    chosen: Mapping[int, ChosenWeight],
    known: Iterable[str] = (),
) -> tuple[dict[str, tuple[nn.Parameter, Quantizer]], list[nn.Parameter]]:
    """Return the quantized weights of groups by their names, and all other parameters.

    Args:
        groups: groups as torch has read them.
        chosen: ids of quantized weights with their maps.
        known: names that other weights have.

    Raises:
        ConfigurationError: if a weight cannot be quantized, or if its name is taken.
    """
    weights: dict[str, tuple[nn.Parameter, Quantizer]] = {}
    others, taken = [], set(known)
    for parameter in (parameter for group in groups for parameter in group["params"]):
        of = chosen.get(id(parameter))
        if of is None:
            others.append(parameter)
            continue
        require_quantizable(of.name, parameter)
        if of.name in taken:
            raise ConfigurationError(
                f"params: two quantized weights have the name {of.name}; give each its own name"
            )
        taken.add(of.name)
        weights[of.name] = parameter, of.quantizer
    return weights, others


def require_arguments(
    algorithm: object, quantization: object, steps_per_epoch: object, model: object
) -> None:
    """Check the types of the constructor's arguments; see `ProxOptimizer`.

    Raises:
        ConfigurationError: if one is wrong.
    """
    if not (isinstance(algorithm, type) and issubclass(algorithm, Optimizer)):
        raise ConfigurationError(
            f"algorithm = {brief(algorithm)}: must be a class of torch.optim, such as "
            "torch.optim.AdamW; its arguments follow as keywords"
        )
    if not isinstance(quantization, Quantization):
        raise ConfigurationError(f"quantization = {brief(quantization)}: must be a Quantization")
    if type(steps_per_epoch) is not int or steps_per_epoch < 1:
        raise ConfigurationError(
            f"steps_per_epoch = {brief(steps_per_epoch)}: must be a whole number >= 1"
        )
    if model is not None and not isinstance(model, nn.Module):
        raise ConfigurationError(f"model = {brief(model)}: must be a torch.nn.Module, or None")
    if model is None and (quantization.exclude or quantization.include or quantization.groups):
        raise ConfigurationError(
            "model = None: must be the network, because the quantization has patterns (exclude, "
            "include or groups) of its layers"
        )


def require_all_there(weights: Mapping[str, object], chosen: Iterable[ChosenWeight]) -> None:
    """Check that an optimizer has all chosen weights, and at least one.

    Raises:
        ConfigurationError: if not.
    """
    for of in chosen:
        if of.name not in weights:
            raise ConfigurationError(
                f"params: has no {of.name}, which the quantization chooses; put it into a group, "
                "or its layer into quantization.exclude"
            )
    if not weights:
        raise ConfigurationError(
            "params: no parameter is quantized; add 'quantized': True to a group, or give the "
            "network as model"
        )


def require_still_there(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> None:
    """Check that a network still has its quantized weights.

    Raises:
        ConfigurationError: if it does not, as if it was sharded after the optimizer was built.
    """
    there = {id(parameter) for parameter in model.parameters()}
    for name, weight in weights.items():
        if id(weight) not in there:
            raise ConfigurationError(
                f"{name}: is no longer a parameter of the model, which was sharded or changed "
                "after the optimizer was built; build the optimizer afterwards"
            )


def require_no_entries(own: Sequence[Mapping[str, Any]]) -> None:
    """Check that no group says whether it is quantized.

    Raises:
        ConfigurationError: if one does.
    """
    for place, entries in enumerate(own):
        for key, value in entries.items():
            raise ConfigurationError(
                f"param_groups[{place}][{key!r}] = {brief(value)}: is not allowed with model, in "
                "which the quantization chooses the weights; leave out one of the two"
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.DataParallel | nn.parallel.DistributedDataParallel
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _chosen(
    name: str,
    weight: nn.Parameter,
    of: Quantization | WeightGroup,
    layer: nn.Module | None = None,
) -> ChosenWeight:
    if of.scale is not None:
        of.scale.require_fits_weight(weight.shape, name, layer)
    own = of.sharpness if isinstance(of, WeightGroup) else None
    return ChosenWeight(name=name, quantizer=of.quantizer, scale=of.scale, sharpness=own)


def _group_settings(
    where: str, entries: Mapping[str, Any], quantization: Quantization
) -> Quantization | WeightGroup | None:
    """Return the settings of a group; None if it is in full precision."""
    is_quantized = entries.get("quantized", False)
    if not isinstance(is_quantized, bool):
        raise ConfigurationError(
            f"{where}['quantized'] = {brief(is_quantized)}: must be True or False"
        )
    own = {key: value for key, value in entries.items() if key != "quantized"}
    if not is_quantized:
        for key, value in own.items():
            raise ConfigurationError(
                f"{where}[{key!r}] = {brief(value)}: is for quantized groups; add 'quantized': True"
            )
        return None
    if not own:
        return quantization
    given = {"quantizer": quantization.quantizer, "scale": quantization.scale, **own}
    try:
        group = WeightGroup(layers=("*",), **given)
        replace(quantization, groups=(group,))  # which checks that they fit together
        return group
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
