"""Selection of the quantized parameters of a model, and of their weight groups."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from quantlab.errors import ConfigurationError

_WEIGHT_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_OWNER = "quantization"
"""Name of the owner of patterns in messages, unless another one is given."""
_SHOWN = 40
"""Largest number of names in a message."""


def type_of_layer(layer: nn.Module) -> str:
    """Return the type of a layer by which patterns match it.

    A layer that replaces one of the network during training stands for it, and has a text
    ``stands_for`` that says so.
    """
    replaced: object = getattr(layer, "stands_for", None)
    return replaced if isinstance(replaced, str) else type(layer).__name__


def weight_layers(
    model: nn.Module, exclude: Sequence[str] = (), *, owner: str = _OWNER
) -> dict[str, nn.Module]:
    """Return all convolution and linear layers except the excluded ones.

    Args:
        model: any module.
        exclude: module types (``"Linear"``) and shell-style patterns of layer names (``"conv1"``,
            ``"layer3.*"``).
        owner: name of what `exclude` is a field of, for messages.

    Returns:
        Names with the layers, in the order of the model.

    Raises:
        ConfigurationError: if a pattern matches no such layer.
    """
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, _WEIGHT_LAYERS)
    }
    where = f"{owner}.exclude"
    excluded = {name for pattern in exclude for name in _matching(layers, pattern, where)}
    return {name: layer for name, layer in layers.items() if name not in excluded}


def called_layers(model: nn.Module, exclude: Sequence[str], owner: str) -> list[nn.Module]:
    """Return the layers of `weight_layers`, whose outputs or inputs will be changed.

    Args:
        model: any module.
        exclude: see `weight_layers`.
        owner: name of the class that changes them, for the message.

    Raises:
        ConfigurationError: see `weight_layers`. It is also raised if the network uses the weight of
            a layer without calling it, so that nothing would be changed.
    """
    layers = weight_layers(model, exclude, owner=owner)
    for name in layers:
        if isinstance(layer_of(model, name), nn.MultiheadAttention):
            raise ConfigurationError(
                f"{owner}: {name} has no output of its own, because nn.MultiheadAttention uses its "
                f"weight directly; name {name} in {owner}.exclude"
            )
    return list(layers.values())


def quantized_weights(
    model: nn.Module,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    *,
    owner: str = _OWNER,
) -> dict[str, nn.Parameter]:
    """Return the weights of all convolution and linear layers that are not excluded.

    Layers are selected by module type, so that batch normalization and biases stay in full
    precision (ProxConnect paper, B.1.1) unless `include` names them. Weights that the model has
    frozen (``requires_grad=False``) are not quantized. A weight that layers share is listed once,
    under the name of the first layer.

    Args:
        model: any module.
        exclude: see `weight_layers`.
        include: shell-style patterns of the names of further parameters, and types of modules that
            have them (``"Embedding"``, ``"ConvTranspose1d"``). A pattern selects the parameters of
            two or more dimensions that it matches (``"*.in_proj_weight"``); if it only matches
            parameters of fewer dimensions, such as biases (``"*.bias"``), it selects these. It does
            not matter whether the layer of such a parameter is excluded.
        owner: see `weight_layers`.

    Returns:
        Parameter names with the parameters, in the order of the model's layers.

    Raises:
        ConfigurationError: if a pattern matches nothing, if only some of the layers that share a
            weight are excluded, if a weight cannot be quantized, or if no weight is left.
    """
    weights: dict[int, tuple[str, nn.Parameter]] = {}
    for name, weight in _weights_under_all_names(model, exclude, include, owner).items():
        weights.setdefault(id(weight), (name, weight))
    return dict(weights.values())


def group_of_weights(
    model: nn.Module,
    exclude: Sequence[str],
    groups: Sequence[Sequence[str]],
    include: Sequence[str] = (),
) -> dict[str, int | None]:
    """Return the weight group of every quantized weight.

    The groups are the factors of the product map (ProxConnect paper, Theorem 3.2).

    Args:
        model: any module.
        exclude: see `weight_layers`.
        groups: for each group, its module types and patterns of layer names. A pattern that matches
            no layer may match names of parameters (``"*.in_proj_weight"``).
        include: see `quantized_weights`.

    Returns:
        Parameter names with the position of their group, or None for a weight in no group, in the
        order of the model's layers.

    Raises:
        ConfigurationError: see `quantized_weights`. It is also raised if a pattern matches no
            quantized layer, if a layer is in two groups, or if layers that share a weight are in
            different groups.
    """
    weights = _weights_under_all_names(model, exclude, include)
    chosen = {id(weight) for weight in weights.values()}
    tied = {
        name: parameter
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in chosen and name not in weights
    }
    names = [*weights, *tied]
    layers = {_layer_name(name): layer_of(model, name) for name in names}
    member_of: dict[str, int] = {}
    for position, patterns in enumerate(groups):
        for pattern in patterns:
            where = f"quantization.groups[{position}].layers"
            matches = [name for name in names if fnmatchcase(name, pattern)]
            if not matches or any(_is_match(name, layers[name], pattern) for name in layers):
                found_layers = _matching(layers, pattern, where)
                matches = [name for name in names if _layer_name(name) in found_layers]
            for name in matches:
                if member_of.setdefault(name, position) != position:
                    raise ConfigurationError(
                        f"{where}: {pattern!r} matches {_layer_name(name)}, which is already in "
                        f"groups[{member_of[name]}]; a layer must be in one group only"
                    )
    found: dict[int, tuple[str, int | None]] = {}
    for name, weight in (weights | tied).items():
        place = member_of.get(name)
        first, same = found.setdefault(id(weight), (name, place))
        if place == same or (name in tied and place is None):
            continue
        if name in tied and same is None:  # the group names the weight by its other layer
            found[id(weight)] = first, place
            continue
        raise ConfigurationError(
            f"quantization.groups: {_layer_name(first)} and {_layer_name(name)} share one weight, "
            "but are not in the same group; put both into one group"
        )
    return dict(found.values())


def full_precision_weights(
    model: nn.Module, exclude: Sequence[str] = (), include: Sequence[str] = ()
) -> dict[str, nn.Parameter]:
    """Return the parameters of two or more dimensions that are not quantized.

    Args:
        model: any module.
        exclude: see `weight_layers`.
        include: see `quantized_weights`.

    Returns:
        Names with the parameters. A shared parameter is listed once, under its first name.

    Raises:
        ConfigurationError: see `quantized_weights`.
    """
    quantized = {id(weight) for weight in quantized_weights(model, exclude, include).values()}
    return {
        name: weight
        for name, weight in model.named_parameters()
        if weight.dim() >= 2 and id(weight) not in quantized
    }


def _weights_under_all_names(
    model: nn.Module, exclude: Sequence[str], include: Sequence[str], owner: str = _OWNER
) -> dict[str, nn.Parameter]:
    """Return the weights of `quantized_weights`, with a shared weight under each of its names."""
    layers, left = weight_layers(model), weight_layers(model, exclude, owner=owner)
    chosen = {f"{name}.weight": _weight_of(name, layer, owner) for name, layer in left.items()}
    further = {
        name: parameter
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name not in {f"{layer}.weight" for layer in layers}
    }
    for pattern in include:
        matches = [
            name
            for name in further
            if fnmatchcase(name, pattern) or type_of_layer(layer_of(model, name)) == pattern
        ]
        if not matches:
            raise ConfigurationError(
                f"quantization.include: {pattern!r} matches no further parameter; must match one "
                f"of {_listed(further)}, or the type of a module that has one"
            )
        # Recipes of finished trials have patterns that match biases as well, and left them alone.
        matrices = [name for name in matches if further[name].dim() >= 2]
        chosen |= {name: further[name] for name in matrices or matches}
    trained = {name: weight for name, weight in chosen.items() if weight.requires_grad}
    for name in [name for name in layers if name not in left]:
        weight = layers[name]._parameters.get("weight")
        shared = [_layer_name(other) for other, same in trained.items() if same is weight]
        if shared:
            raise ConfigurationError(
                f"{owner}.exclude = {tuple(exclude)}: {name} shares its weight with "
                f"{shared[0]}, which is not excluded; exclude both or neither"
            )
    if not trained and not layers:
        advice = "choose other initial weights"
        if owner == _OWNER:
            advice = (
                f"name other parameters in {owner}.include, which are {_listed(further)}, or set "
                f"{owner} to None"
            )
        raise ConfigurationError(
            f"{owner}: {type(model).__name__} has no convolution or linear layer with weights to "
            f"quantize; {advice}"
        )
    if not trained:
        frozen = " that the model has not frozen" if chosen else ""
        raise ConfigurationError(
            f"{owner}.exclude = {tuple(exclude)}: leaves no layer to quantize{frozen}; must "
            f"leave at least one of {', '.join(layers)}"
        )
    for name, weight in trained.items():
        if weight.is_complex():
            or_not = f", or do not name the parameter in {owner}.include" if include else ""
            raise ConfigurationError(
                f"{name}: has complex numbers and cannot be quantized; name the layer in "
                f"{owner}.exclude{or_not}"
            )
    return trained


def _weight_of(name: str, layer: nn.Module, owner: str) -> nn.Parameter:
    weight = layer._parameters.get("weight")
    if weight is None:
        raise ConfigurationError(
            f"{name or type(layer).__name__}.weight: is computed by a parametrization and cannot "
            f"be quantized; name the layer in {owner}.exclude, or remove the parametrization"
        )
    return weight


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """Return the layer that has a parameter.

    Args:
        model: any module.
        name: name of the parameter.
    """
    return model.get_submodule(_layer_name(name))


def _layer_name(name: str) -> str:
    """Return the name of a parameter's layer."""
    return name.rpartition(".")[0]


def _is_match(name: str, module: nn.Module, pattern: str) -> bool:
    return type_of_layer(module) == pattern or fnmatchcase(name, pattern)


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    further = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return (", ".join(shown[:_SHOWN]) or "(there are none)") + further


def _matching(layers: Mapping[str, nn.Module], pattern: str, where: str) -> list[str]:
    """Return the names of layers whose type or name matches a pattern."""
    names = [name for name, module in layers.items() if _is_match(name, module, pattern)]
    if not names:
        types = sorted(set(map(type_of_layer, layers.values())))
        raise ConfigurationError(
            f"{where}: {pattern!r} matches no layer; must match a name ({', '.join(layers)}) or a "
            f"type ({', '.join(types)})"
        )
    return names
