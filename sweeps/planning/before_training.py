"""What networks are looked through for before they are trained: batches of one, full precision."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch

from quantlab import Recipe
from quantlab.canonical import canonical
from quantlab.datasets import DatasetSpec
from quantlab.datasets.base import Dimensions
from quantlab.errors import one_line
from quantlab.optim.bits import full_precision_note
from quantlab.training.batch_statistics import (
    has_last_batch_of_one,
    require_one_image_fits,
    statistics_note,
)
from sweeps import streams
from sweeps.planning.preflight import preflight
from sweeps.spec import Cell
from sweeps.storage.folder import Storage


def check_before_training(
    cells: list[Cell], storage: Storage, data_dir: Path, *, runs_here: bool
) -> None:
    """Find out what would make trials fail, and print what else there is to know before them.

    Args:
        cells: see `preflight`.
        storage: see there.
        data_dir: see there.
        runs_here: see there.

    Raises:
        ConfigurationError: see there and `check_networks`.
    """
    with streams.each_line_once():
        preflight(cells, storage, data_dir, runs_here=runs_here)
        notes = check_networks((cell.recipe for cell in cells), data_dir)
    for note in notes:
        print(note, flush=True)


def check_networks(recipes: Iterable[Recipe], data_dir: Path) -> list[str]:
    """Build each network once more, and find out what its epochs and its result will lack.

    Of datasets that are not unpacked yet, nothing may be known; what would make trials fail is then
    found when they start.

    Args:
        recipes: to be trained, whose networks are known to work.
        data_dir: where datasets lie.

    Returns:
        Lines for people, each once: which weights stay in full precision, and whether an average
        has statistics of other weights.

    Raises:
        ConfigurationError: an epoch ends with a single image, which the network cannot take.
    """
    lines: dict[str, None] = {}
    for recipe in {_key(recipe): recipe for recipe in recipes}.values():
        dimensions = _dimensions(recipe.dataset, data_dir)
        if dimensions is None:
            continue
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model = recipe.model.build(
                num_classes=dimensions.num_classes, num_channels=recipe.dataset.num_channels
            )
            images = recipe.dataset.count_train_images(data_dir)
            if images is not None and has_last_batch_of_one(images, recipe.batch_size):
                one = torch.rand(1, *dimensions.image).to(dimensions.dtype)
                require_one_image_fits(model.train(), one, images, recipe.batch_size)
        for note in (
            full_precision_note(model, recipe.quantization),
            statistics_note(model, recipe.quantization),
        ):
            if note:
                lines[one_line(f"{recipe.model.name}: {note}")] = None
    return [*lines]


def _dimensions(dataset: DatasetSpec, data_dir: Path) -> Dimensions | None:
    if dataset.dimensions is not None:
        return dataset.dimensions
    is_there = all((data_dir / name).exists() for name in dataset.files)
    return dataset.find_dimensions(data_dir) if is_there else None


def _key(recipe: Recipe) -> str:
    """Recipes with the same one have the same notes, and the same last batch."""
    quantization = recipe.quantization
    value = {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "batch_size": recipe.batch_size,
        "quantization": quantization
        and {
            "exclude": quantization.exclude,
            "include": quantization.include,
            "has_average": quantization.averaging is not None,
            "reestimate_batchnorm": quantization.reestimate_batchnorm,
        },
    }
    return json.dumps(canonical(value), sort_keys=True)
