"""Checks and notes on a network that the rehearsal of preflight has built."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn

from quantlab import Recipe
from quantlab.canonical import canonical
from quantlab.datasets.base import Dimensions
from quantlab.errors import OF_DEVICES, one_line
from quantlab.training.batch_statistics import (
    has_batch_of_one,
    parts_of_batches,
    require_one_image_fits,
    statistics_note,
)
from quantlab.training.epoch import images_of
from sweeps.planning.parameter_notes import full_precision_note, quantized_note


def notes_on(
    model: nn.Module, recipes: Iterable[Recipe], *, fully: bool = False
) -> list[list[str]]:
    """Describe what a network leaves in full precision, and averages with inexact statistics.

    Args:
        model: the network, as built.
        recipes: recipes of this network.
        fully: whether parameters that are quantized are listed, too.

    Returns:
        Lines for the terminal, for each recipe.
    """
    keys = [(_key(recipe), recipe) for recipe in recipes]
    found = {
        key: [
            one_line(f"{recipe.model.name}: {note}")
            for note in (
                quantized_note(model, recipe.quantization) if fully else "",
                full_precision_note(model, recipe.quantization),
                statistics_note(model, recipe.quantization),
            )
            if note
        ]
        for key, recipe in dict(keys).items()
    }
    return [found[key] for key, _ in keys]


def require_last_batches_fit(
    model: nn.Module,
    recipes: Sequence[Recipe],
    dimensions: Dimensions,
    data_dir: Path,
    *,
    runs_here: bool,
) -> None:
    """Check that a network can train on the last batch of an epoch, which may have one image.

    Args:
        model: the network; its buffers do not change.
        recipes: recipes of this network, with one dataset.
        dimensions: the dimensions of the dataset.
        data_dir: folder of the datasets.
        runs_here: whether the network must be able to run on the CPU.

    Raises:
        ConfigurationError: an epoch ends with a single image, which the network cannot process.
    """
    images = recipes[0].dataset.count_train_images(data_dir)
    if images is None:
        return
    cuts = dict.fromkeys(
        (images_of(recipe, images), recipe.batch_size, parts_of_batches(recipe))
        for recipe in recipes
    )
    for count, batch_size, parts in cuts:
        if has_batch_of_one(count, batch_size, parts[1]):
            with torch.random.fork_rng(devices=[]):
                one = dimensions.random_inputs(1)
                try:
                    require_one_image_fits(model.train(), one, count, batch_size, parts)
                except OF_DEVICES:
                    if runs_here:
                        raise


def _key(recipe: Recipe) -> str:
    """Return a key; recipes of one network with the same key have the same notes."""
    quantization = recipe.quantization
    value = quantization and {
        "exclude": quantization.exclude,
        "include": quantization.include,
        "has_average": quantization.averaging is not None,
        "reestimate_batchnorm": quantization.reestimate_batchnorm,
    }
    return json.dumps(canonical(value), sort_keys=True)
