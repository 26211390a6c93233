"""The command `sweeps export`, which writes the network of a finished trial to a file."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from quantlab import ConfigurationError
from quantlab.export.network import finished_network, network_file
from quantlab.export.onnx_file import onnx_bytes
from quantlab.files.partial import replacing
from quantlab.tasks.dimensions import Dimensions
from sweeps.cli.chosen import load_chosen_or_study
from sweeps.cli.json_output import print_json
from sweeps.coordinates import classes
from sweeps.inventory.trials import cell_named
from sweeps.searching.results import cells_of, load, trials_of, winner
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.study import StudySpec


def export(options: argparse.Namespace) -> int:
    """Write the network of a trial to a file, and print its size.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: there is no such trial, or it has no network. Nothing is written then.
    """
    spec, storage = load_chosen_or_study(options), Storage(options.storage)
    cells = _cells(spec, storage, options)
    cell = _best(cells, storage) if options.best else cell_named(cells, options.trial, storage)
    data, full_bytes = _content(cell, storage, options)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{cell.fingerprint}.{options.format}"
    with replacing(path) as file:
        file.write(data)
    if options.json:
        print_json(
            {
                "fingerprint": cell.fingerprint,
                "name": cell.name,
                "file": path,
                "format": options.format,
                "bytes": len(data),
                "float32_bytes": full_bytes,
            }
        )
        return 0
    print(f"{cell.name} ({cell.fingerprint})")
    print(f"{path}: {len(data):,} bytes, {full_bytes / len(data):.1f} times smaller than float32")
    return 0


def _cells(
    spec: SweepSpec | StudySpec, storage: Storage, options: argparse.Namespace
) -> Sequence[Cell]:
    """Return the trials to choose from."""
    if isinstance(spec, SweepSpec):
        return spec.cells
    study = load(spec, storage, options.study_storage)
    if not options.best:
        return cells_of(spec, study, storage)
    best = winner(spec, study).number
    return next(cells for trial, cells in trials_of(spec, study, storage) if trial.number == best)


def _best(cells: Sequence[Cell], storage: Storage) -> Cell:
    """Return the first of the quantized trials with the best main metric on validation images."""
    metric, values = cells[0].recipe.task.metrics[0], {}
    for cell in cells:
        result = storage.trial(cell.fingerprint).result.read()
        value = None if result is None else result.validation.get(metric.name)
        if cell.recipe.quantization is not None and value is not None:
            values[cell.fingerprint] = value if metric.higher_is_better else -value
    if not values:
        raise ConfigurationError(
            f"--best: no quantized trial has a validation {metric.label}; run the sweep, or choose "
            "a trial with --trial"
        )
    best = max(values, key=values.__getitem__)
    return next(cell for cell in cells if cell.fingerprint == best)


def _content(cell: Cell, storage: Storage, options: argparse.Namespace) -> tuple[bytes, int]:
    """Return the content of the file, and the size of the network in float32."""
    folder = storage.trial(cell.fingerprint)
    result = folder.result.read()
    if result is None or result.state is not TrialState.COMPLETE:
        raise ConfigurationError(
            f"trial {cell.fingerprint} ({cell.name}): is {folder.state().value}; must be COMPLETE "
            "to have a network"
        )
    weights = folder.intact_weights()
    if not weights.exists():
        raise ConfigurationError(
            f"trial {cell.fingerprint} ({cell.name}): its network {weights} is missing; to train "
            f"the trial again, remove {folder.result.path.name} beside it"
        )
    sizes: dict[str, Any]
    if result.dimensions:
        sizes = {"dimensions": Dimensions.from_json(result.dimensions)}
    else:
        sizes = {"num_classes": result.classes or classes(cell.recipe)}
        if sizes["num_classes"] is None:
            raise ConfigurationError(
                f"trial {cell.fingerprint} ({cell.name}): its result is of an earlier release, "
                f"which did not store the number of classes; remove {folder.result.path} and train "
                "it again"
            )
    state = torch.load(weights, map_location="cpu", weights_only=True)
    file = network_file(cell.recipe, state, **sizes)
    if options.format != "onnx":
        return file.to_bytes(), file.full_bytes
    network = finished_network(cell.recipe, state, **sizes)
    found = sizes.get("dimensions") or cell.recipe.dataset.find_dimensions(options.data)
    return onnx_bytes(file, network, found.input, found.dtype), file.full_bytes
