"""Writing and reading of exported networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from quantlab.canonical import canonical_json
from quantlab.errors import ConfigurationError, brief
from quantlab.export.layout import Layout, first_names
from quantlab.export.model_spec import built, model_spec_of
from quantlab.export.network_file import NetworkFile
from quantlab.models.state_dicts import fit_weights
from quantlab.recipe import Recipe
from quantlab.training.checkpoint import replacing


def save(
    path: Path | str, recipe: Recipe, weights: Mapping[str, Tensor], *, num_classes: int
) -> NetworkFile:
    """Write a finished network to a file that `load` reads.

    Args:
        path: the file, which is replaced if it exists.
        recipe: recipe that the network was trained with.
        weights: its state dict, such as `TrainingRun.final_weights` or a trial's ``weights.pt``.
        num_classes: number of classes of the dataset.

    Returns:
        The content of the file.

    Raises:
        ConfigurationError: if the weights are not those of the recipe's network.
        OSError: if the file cannot be written.
    """
    file = network_file(recipe, weights, num_classes=num_classes)
    with replacing(Path(path)) as opened:
        opened.write(file.to_bytes())
    return file


def network_file(recipe: Recipe, weights: Mapping[str, Tensor], *, num_classes: int) -> NetworkFile:
    """Return what `save` writes.

    Args:
        recipe: see `save`.
        weights: see `save`.
        num_classes: see `save`.

    Raises:
        ConfigurationError: if the weights are not those of the recipe's network, or if the network
            has state that is not a tensor.
    """
    model = finished_network(recipe, weights, num_classes=num_classes)
    as_codes, plain = Layout.of(model, recipe.quantization).split(model.state_dict())
    return NetworkFile(
        recipe=canonical_json(recipe),
        num_classes=num_classes,
        num_channels=recipe.dataset.num_channels,
        coded=as_codes,
        plain=plain,
    )


def finished_network(
    recipe: Recipe, weights: Mapping[str, Tensor], *, num_classes: int
) -> nn.Module:
    """Build the network of a recipe with given weights, in evaluation mode.

    Args:
        recipe: see `save`.
        weights: see `save`.
        num_classes: see `save`.

    Raises:
        ConfigurationError: if the weights are not those of the recipe's network.
    """
    channels = recipe.dataset.num_channels
    with torch.random.fork_rng(devices=[]):
        model = recipe.model.build(num_classes=num_classes, num_channels=channels)
    fit_weights(model, weights, f"weights of {recipe.model.name}")
    return model.eval()


def load(path: Path | str, *, into: nn.Module | None = None) -> nn.Module:
    """Load an exported network.

    The file is data only. Only classes of quantlab's release build the network, and no other code
    is imported or run.

    Args:
        path: the file.
        into: network that receives the weights, which is needed if its class is not part of
            quantlab; None to build the network that the file names.

    Returns:
        The network on the CPU, or `into`, in evaluation mode. It maps normalized images (batch,
        channels, height, width) to (batch, num_classes) logits, and its state dict is bit for bit
        that of the trained network.

    Raises:
        ConfigurationError: if the file does not exist, was changed or truncated, or is of another
            program, or if the weights do not fit the network.
        OSError: if the file cannot be read.
    """
    source = f"exported network {brief(str(path))[1:-1]}"
    file = read(path)
    model = into
    if model is None:
        model = built(
            model_spec_of(file.recipe, source),
            num_classes=file.num_classes,
            num_channels=file.num_channels,
            most_numbers=sum(of.num_weights for of in file.coded.values())
            + sum(value.numel() for value in file.plain.values()),
            source=source,
        )
    found = file.state_dict()
    names = first_names(model)
    state = {name: found[first] for name, first in names.items() if first in found}
    fit_weights(model, state | found, source)
    return model.eval()


def read(path: Path | str) -> NetworkFile:
    """Read the content of an exported network.

    Raises:
        ConfigurationError: see `load`.
        OSError: if the file cannot be read.
    """
    source = f"exported network {brief(str(path))[1:-1]}"
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{source}: the file does not exist") from error
    except IsADirectoryError as error:
        raise ConfigurationError(f"{source}: must be a file, but is a folder") from error
    return NetworkFile.from_bytes(data, source)
