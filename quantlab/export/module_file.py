"""Files of networks that a `ProxOptimizer` has trained in somebody's loop, without a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from quantlab.errors import ConfigurationError
from quantlab.export.layout import Layout, QuantizedEntry, first_names
from quantlab.export.network_file import NetworkFile
from quantlab.files.partial import replacing
from quantlab.optim.standalone.chosen_weights import unwrapped
from quantlab.update_rules import Point

if TYPE_CHECKING:  # it imports torch's compiler, which takes a second in each process
    from quantlab.optim import ProxOptimizer


def save_module(path: Path | str, model: nn.Module, optimizer: "ProxOptimizer") -> NetworkFile:
    """Write a network with hard weights to a file, which `load` reads ``into`` a network.

    The model is as before afterwards, so that training can go on.

    Args:
        path: the file, which is replaced if it exists.
        model: network, which may be wrapped by DistributedDataParallel or torch.compile.
        optimizer: optimizer of its weights.

    Returns:
        The content of the file. It has no recipe, and 0 classes and channels.

    Raises:
        ConfigurationError: if the optimizer quantizes weights of another network, or if the network
            has state that is not a tensor.
        OSError: if the file cannot be written.
    """
    bare = unwrapped(model)
    with optimizer.weights_at(Point.HARD):
        as_codes, plain = _layout(bare, optimizer).split(bare.state_dict())
    file = NetworkFile(recipe="", num_classes=0, num_channels=0, coded=as_codes, plain=plain)
    with replacing(Path(path)) as opened:
        opened.write(file.to_bytes())
    return file


def _layout(model: nn.Module, optimizer: "ProxOptimizer") -> Layout:
    first = first_names(model)
    names = {id(parameter): first[name] for name, parameter in model.named_parameters()}
    quantized = {}
    for group in optimizer.groups:
        is_scaled = group.map.scale is not None
        for parameter in group.parameters:
            if id(parameter) not in names:
                raise ConfigurationError(
                    f"model: {type(model).__name__} does not have {optimizer.name_of(parameter)}, "
                    "which the optimizer quantizes; give the network that it trains"
                )
            quantized[names[id(parameter)]] = QuantizedEntry(
                group.quantizer.levels,
                num_rows=parameter.numel() // group.map.row_length if is_scaled else 1,
                is_scaled=is_scaled,
            )
    return Layout(tuple(dict.fromkeys(first.values())), quantized)
