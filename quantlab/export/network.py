"""Writing and reading of exported networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from quantlab.canonical import canonical_json
from quantlab.datasets import ImageDatasetSpec
from quantlab.errors import ConfigurationError, brief
from quantlab.export.layout import Layout, first_names
from quantlab.export.model_spec import built, model_spec_of
from quantlab.export.network_file import NetworkFile
from quantlab.files.partial import replacing
from quantlab.models import ModelSpec
from quantlab.models.state_dicts import fit_weights
from quantlab.recipe import Recipe
from quantlab.tasks.dimensions import Dimensions


def save(
    path: Path | str,
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    *,
    num_classes: int | None = None,
    dimensions: Dimensions | None = None,
) -> NetworkFile:
    """Write a finished network to a file that `load` reads.

    Args:
        path: the file, which is replaced if it exists.
        recipe: recipe that the network was trained with.
        weights: its state dict, such as `TrainingRun.final_weights` or a trial's ``weights.pt``.
        num_classes: number of classes of a dataset of images. It is enough for networks that are
            built from the numbers of classes and channels.
        dimensions: instead of it, the dimensions of the dataset (`TrainingRun.dimensions`).

    Returns:
        The content of the file.

    Raises:
        ConfigurationError: if the weights are not those of the recipe's network, or if the network
            needs `dimensions` to be built.
        OSError: if the file cannot be written.
    """
    file = network_file(recipe, weights, num_classes=num_classes, dimensions=dimensions)
    with replacing(Path(path)) as opened:
        opened.write(file.to_bytes())
    return file


def network_file(
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    *,
    num_classes: int | None = None,
    dimensions: Dimensions | None = None,
) -> NetworkFile:
    """Return what `save` writes.

    Args:
        recipe: see `save`.
        weights: see `save`.
        num_classes: see `save`.
        dimensions: see `save`.

    Raises:
        ConfigurationError: see `save`. It is also raised if the network
            has state that is not a tensor.
    """
    of = _dimensions_of(recipe, num_classes, dimensions)
    model = finished_network(recipe, weights, dimensions=of)
    as_codes, plain = Layout.of(model, recipe.quantization).split(model.state_dict())
    return NetworkFile(
        recipe=canonical_json(recipe),
        num_classes=of.num_classes,
        num_channels=of.input[0] if of.input else 1,
        coded=as_codes,
        plain=plain,
        dimensions=None if recipe.model.is_built_from_channels(of) else of,
    )


def finished_network(
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    *,
    num_classes: int | None = None,
    dimensions: Dimensions | None = None,
) -> nn.Module:
    """Build the network of a recipe with given weights, in evaluation mode.

    Args:
        recipe: see `save`.
        weights: see `save`.
        num_classes: see `save`.
        dimensions: see `save`.

    Raises:
        ConfigurationError: see `save`.
    """
    of = _dimensions_of(recipe, num_classes, dimensions)
    return network_with(recipe.model, of, weights, f"weights of {recipe.model.name}")


def network_with(
    model: ModelSpec, of: Dimensions, weights: Mapping[str, Tensor], source: str
) -> nn.Module:
    """Build a network with given weights, in evaluation mode.

    Args:
        model: the network.
        of: dimensions of its inputs and targets.
        weights: its state dict.
        source: name of the weights in messages.

    Raises:
        ConfigurationError: if the weights are not those of the network.
    """
    with torch.random.fork_rng(devices=[]):
        if model.is_built_from_channels(of):
            built = model.build(num_classes=of.num_classes, num_channels=of.input[0])
        else:
            built = model.build_for(of)
    fit_weights(built, weights, source)
    return built.eval()


def _dimensions_of(
    recipe: Recipe, num_classes: int | None, dimensions: Dimensions | None
) -> Dimensions:
    """Return the dimensions. With `num_classes`, images are of a size that is not known."""
    if (num_classes is None) == (dimensions is None):
        raise TypeError("exporting a network needs either num_classes or dimensions")
    if dimensions is not None:
        return dimensions
    assert num_classes is not None
    dataset = recipe.dataset
    if isinstance(dataset, ImageDatasetSpec):
        unknown = Dimensions(num_classes, (dataset.num_channels, 1, 1))
        if recipe.model.is_built_from_channels(unknown):
            return unknown
    raise ConfigurationError(
        f"{recipe.model.name}: num_classes is not enough to build it for {dataset.name}; give "
        "dimensions, such as those of dataset.find_dimensions(data_dir)"
    )


def load(path: Path | str, *, into: nn.Module | None = None) -> nn.Module:
    """Load an exported network.

    The file is data only. Only classes of quantlab's release build the network, and no other code
    is imported or run.

    Args:
        path: the file.
        into: network that receives the weights, which is needed if its class is not part of
            quantlab; None to build the network that the file names.

    Returns:
        The network on the CPU, or `into`, in evaluation mode. It maps inputs as in
        training, such as normalized images (batch, channels, height, width), to its outputs. Its
        state dict is bit for bit that of the trained network.

    Raises:
        ConfigurationError: if the file does not exist, was changed or truncated, or is of another
            program, or if the weights do not fit the network.
        OSError: if the file cannot be read.
    """
    source = f"exported network {brief(str(path))[1:-1]}"
    file = read(path)
    model = into
    if model is None:
        spec = model_spec_of(file.recipe, source)
        model = built(
            spec,
            lambda: (
                spec.build(num_classes=file.num_classes, num_channels=file.num_channels)
                if file.dimensions is None
                else spec.build_for(file.dimensions)
            ),
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
