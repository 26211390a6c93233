"""The network of an exported file, of classes of this release only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from quantlab.errors import ConfigurationError, described
from quantlab.export.recipe_json import NETWORK, read_part
from quantlab.models import ModelSpec


def model_spec_of(recipe: str, source: str) -> ModelSpec:
    """Return the model of a recipe's canonical JSON.

    Args:
        recipe: the text, which may come from anybody.
        source: name of its file in messages.

    Raises:
        ConfigurationError: if the text is not that of a recipe, or if the model is not of a class
            of this release.
    """
    advice = "build the network and give it to load: load(path, into=network)"
    model: ModelSpec = read_part(recipe, NETWORK, source, advice)
    return model


def built(
    spec: ModelSpec, build: Callable[[], nn.Module], *, most_numbers: int, source: str
) -> nn.Module:
    """Build a network without drawing from the caller's random numbers.

    Args:
        spec: the network.
        build: builds it.
        most_numbers: number of parameters above which the network cannot be that of the file.
        source: name of the file in messages.

    Raises:
        ConfigurationError: if the network has more parameters, or cannot be built.
    """
    try:
        with torch.random.fork_rng(devices=[]), _at_most(most_numbers):
            return build()
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error
    except Exception as error:  # such as a size that no memory holds
        raise ConfigurationError(f"{source}: {spec.name}: {described(error)}") from error


@contextmanager
def _at_most(most_numbers: int) -> Iterator[None]:
    """Refuse parameters before they are initialized, if there are too many of them.

    A layer that will share the weight of another one begins with a weight of its own, so that a
    network may have twice as many parameters while it is built.
    """
    seen: dict[int, nn.Parameter] = {}
    count = 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        if parameter is not None and id(parameter) not in seen:
            seen[id(parameter)] = parameter
            count += max(1, parameter.numel())
        if count > 2 * most_numbers:
            raise ConfigurationError(
                f"the network of the recipe has more than the {most_numbers:,} numbers of the file"
            )

    hook = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()
