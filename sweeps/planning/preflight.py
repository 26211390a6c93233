"""Preflight: find errors that would make trials fail, before any trial starts."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import TypeVar

from torch import nn

from quantlab import ConfigurationError, Quantizer, Recipe
from quantlab.backward_maps import BackwardMap
from quantlab.backward_maps.contract import (
    require_backward_contract,
    require_positive_sharpness,
)
from quantlab.canonical import canonical_key
from quantlab.datasets import DatasetSpec, ImageDatasetSpec
from quantlab.datasets.base import Dimensions
from quantlab.distributed.shared_batch import require_shares
from quantlab.errors import ElsewhereError, described
from quantlab.initial_weights import InitialWeights, TrialWeights
from quantlab.optim.latent_optimizer import ELEMENTWISE
from quantlab.optim.of_recipe import require_optimizer_fits
from quantlab.quantizers.contract import require_contract
from quantlab.scales import Scale
from quantlab.scales.contract import require_scale_contract
from quantlab.training.accumulation import require_one_process
from quantlab.training.rehearsal import (
    known_steps,
    rehearse,
    rehearse_schedules,
    require_effective,
)
from sweeps.planning.network_notes import notes_on, require_last_batches_fit
from sweeps.planning.teachers import require_networks_of_teachers
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.sharing import require_writable
from sweeps.worker.data import staging

T = TypeVar("T")

MOST_SHARPNESSES = 6
"""Number of sharpnesses at which a quantizer is checked, from the lowest to the highest value of
the sweep's schedules."""


def preflight(
    cells: list[Cell],
    storage: Storage,
    data_dir: Path,
    *,
    runs_here: bool = True,
    replicas: int = 1,
) -> list[str]:
    """Check data, weights, quantizers, networks and optimizers before any trial starts.

    Args:
        cells: the trials to train.
        storage: the storage of the trials.
        data_dir: folder of the datasets and of files with weights.
        runs_here: whether trials run on the CPU, as this process does.
        replicas: number of processes that train each trial together.

    Returns:
        Notes on the networks, one line each: the weights that stay in full precision, and averages
        that are evaluated with the batch statistics of other weights. There are none on datasets
        that have yet to be unpacked.

    Raises:
        ConfigurationError: data, initial weights or those of a teacher are missing or do not fit,
            an epoch ends with a single image that the network cannot process, several processes
            cannot share the batches of a recipe, or see `check_without_data`.
    """
    for cell in cells:
        require_shares(cell.recipe.batch_size, cell.recipe.batchnorm_shards, replicas)
        require_one_process(cell.recipe.accumulation, replicas)
        folder = storage.trial(cell.fingerprint)
        require_writable(folder.path, f"trial {cell.name!r}")
    recipes = [cell.recipe for cell in cells]
    _check_maps(recipes, runs_here)
    datasets = _distinct((recipe.dataset for recipe in recipes), canonical_key)
    dimensions = {canonical_key(dataset): _dimensions(dataset, data_dir) for dataset in datasets}
    to_train = {cell.fingerprint for cell in cells}
    require_networks_of_teachers(cells, storage)
    needed = (
        weights for recipe in recipes for weights in (recipe.initial_weights, _teacher_of(recipe))
    )
    for weights in _distinct(needed, canonical_key):
        if isinstance(weights, TrialWeights):
            parent = storage.trial(weights.fingerprint)
            if weights.fingerprint in to_train or parent.state() is TrialState.DIVERGED:
                continue  # the queue waits for the parent, or fails with it
        if weights is not None:
            weights.check(data_dir, lambda fingerprint: storage.trial(fingerprint).intact_weights())
    notes = _rehearse(
        recipes, lambda recipe: dimensions[canonical_key(recipe.dataset)], data_dir, runs_here
    )
    return list(dict.fromkeys(chain.from_iterable(notes)))


def check_without_data(cells: Iterable[Cell], data_dir: Path | None = None) -> list[str]:
    """Run the part of `preflight` that neither needs nor prepares data.

    Networks are tried for datasets whose dimensions are known, or whose files are there.

    Args:
        cells: the trials of a plan.
        data_dir: folder of the datasets; None to look for no files.

    Returns:
        Notes on the networks, one line each: the parameters that are quantized, those that are not,
        and why.

    Raises:
        ConfigurationError: a schedule, a quantizer, a network or an optimizer does not work; see
            `quantlab.training.rehearsal` and `quantlab.quantizers.contract`.
    """
    return list(dict.fromkeys(chain.from_iterable(notes_by_cell(cells, data_dir))))


def notes_by_cell(cells: Iterable[Cell], data_dir: Path | None = None) -> list[list[str]]:
    """Run `check_without_data`, and return the notes on the network of each trial.

    Args:
        cells: the trials of a plan.
        data_dir: folder of the datasets; None to look for no files.

    Raises:
        ConfigurationError: see `check_without_data`.
    """
    recipes = [cell.recipe for cell in cells]
    _check_maps(recipes, runs_here=False)
    found: dict[str, Dimensions | None] = {}

    def dimensions_of(recipe: Recipe) -> Dimensions | None:
        key = canonical_key(recipe.dataset)
        if key not in found:
            found[key] = _known_dimensions(recipe.dataset, data_dir)
        return found[key]

    return _rehearse(recipes, dimensions_of, None, runs_here=False)


def _check_maps(recipes: Sequence[Recipe], runs_here: bool) -> None:
    """Check optimizers and schedules, and maps at the sharpnesses that the schedules give."""
    for recipe in recipes:
        require_effective(recipe)
    tried: dict[str, tuple[Quantizer, BackwardMap, set[float]]] = {}
    scales: dict[str, tuple[Scale, tuple[float, ...]]] = {}
    for recipe in _distinct(recipes, _key_of_schedules):
        require_optimizer_fits(recipe)
        values = rehearse_schedules(recipe)
        if (quantization := recipe.quantization) is None:
            continue
        common = values["quantization.sharpness"]
        pairs = [(quantization.quantizer, common)]
        for position, group in enumerate(quantization.groups):
            own = values.get(f"quantization.groups.{position}.sharpness", common)
            pairs.append((group.quantizer, own))
        for quantizer, scale in quantization.maps:
            if scale is not None:
                scales[canonical_key((scale, quantizer.levels))] = scale, quantizer.levels
        for quantizer, sharpnesses in pairs:
            backward = quantization.backward
            require_positive_sharpness(backward, quantizer, sharpnesses)
            key = canonical_key((quantizer, backward))
            tried.setdefault(key, (quantizer, backward, set()))[-1].update(sharpnesses)
    for scale, levels in scales.values():
        try:
            require_scale_contract(scale, levels)
        except ElsewhereError:
            if runs_here:
                raise
    for quantizer, backward, met in tried.values():
        ordered = sorted(met)
        step = max(1.0, (len(ordered) - 1) / (MOST_SHARPNESSES - 1))
        places = {round(i * step) for i in range(min(MOST_SHARPNESSES, len(ordered)))}
        try:
            some = tuple(ordered[place] for place in sorted(places))
            require_contract(quantizer, some)
            require_backward_contract(backward, quantizer, some)
        except ElsewhereError:
            if runs_here:
                raise


def _rehearse(
    recipes: Iterable[Recipe],
    dimensions_of: Callable[[Recipe], Dimensions | None],
    data_dir: Path | None,
    runs_here: bool,
) -> list[list[str]]:
    """Rehearse each network once with each optimizer and each choice of layers.

    Returns:
        The notes on the network of each recipe.
    """
    groups: dict[str, list[tuple[int, Recipe]]] = {}
    for place, recipe in enumerate(recipes):
        groups.setdefault(_key_of_network(recipe), []).append((place, recipe))
    notes: list[list[str]] = [[] for group in groups.values() for _ in group]
    for group in groups.values():
        places, alike = zip(*group, strict=True)
        dimensions = dimensions_of(alike[0])
        if dimensions is None:
            continue
        model = _rehearsed(alike[0], dimensions, data_dir, runs_here)
        if data_dir is not None:
            require_last_batches_fit(model, alike, dimensions, data_dir, runs_here=runs_here)
        found = notes_on(model, alike, fully=data_dir is None)
        for place, lines in zip(places, found, strict=True):
            notes[place] = lines
    return notes


def _rehearsed(
    recipe: Recipe, dimensions: Dimensions, data_dir: Path | None, runs_here: bool
) -> nn.Module:
    """Rehearse a recipe, and return its network.

    The rehearsal freezes quantized weights for its second stage. This is undone.
    """
    built: list[nn.Module] = []
    are_trained: list[tuple[nn.Parameter, bool]] = []
    load_weights = _loading(recipe.initial_weights, data_dir)

    def load(model: nn.Module) -> None:
        load_weights(model)
        built.append(model)
        are_trained.extend((weight, weight.requires_grad) for weight in model.parameters())

    rehearse(
        recipe,
        dimensions,
        load=load,
        load_teacher=_loading(_teacher_of(recipe), data_dir),
        runs_here=runs_here,
    )
    (model,) = built
    for weight, is_trained in are_trained:
        weight.requires_grad_(is_trained)
    return model


def _teacher_of(recipe: Recipe) -> InitialWeights | None:
    return None if recipe.distillation is None else recipe.distillation.teacher


def _loading(weights: InitialWeights | None, data_dir: Path | None) -> Callable[[nn.Module], None]:
    """Return a function that loads the weights of a file into a network.

    Weights of other trials are not loaded: they fit, or do not exist yet.
    """
    own = _unless_of_trial(weights)
    if own is None or data_dir is None:
        return lambda model: None
    return lambda model: own.load(model, data_dir, lambda fingerprint: Path(fingerprint))


def _known_dimensions(dataset: DatasetSpec, data_dir: Path | None) -> Dimensions | None:
    """Return the dimensions of a dataset if its files are there; None otherwise."""
    if dataset.dimensions is not None or data_dir is None:
        return dataset.dimensions
    is_there = all((data_dir / name).exists() for name in dataset.files)
    return _dimensions(dataset, data_dir) if is_there else None


def _dimensions(dataset: DatasetSpec, data_dir: Path) -> Dimensions | None:
    """Return the dimensions of a dataset; None if they are unknown before it is unpacked."""
    try:
        staging.check(dataset, data_dir)
        if isinstance(dataset, ImageDatasetSpec):
            dataset.require_fitting_normalization()
        is_there = all((data_dir / name).exists() for name in dataset.files)
        found = dataset.find_dimensions(data_dir) if is_there else dataset.dimensions
    except ConfigurationError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise ConfigurationError(
            f"dataset {type(dataset).__name__}: raises {described(error)}"
        ) from error
    if not isinstance(dataset, ImageDatasetSpec) or found is None or len(found.input) < 2:
        return found
    if found.input[0] != dataset.num_channels:
        raise ConfigurationError(
            f"{type(dataset).__name__}.num_channels = {dataset.num_channels}: must be "
            f"{found.input[0]}, because the images have shape {found.input}"
        )
    return found


def _distinct(items: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    """Return the first item of each key."""
    first: dict[Hashable, T] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())


def _key_of_schedules(recipe: Recipe) -> str:
    epochs = recipe.epochs, recipe.batchnorm_epochs, known_steps(recipe)
    algorithm = recipe.optimizer.algorithm.__qualname__
    return canonical_key((algorithm, recipe.optimizer.learning_rate, recipe.quantization, epochs))


def _key_of_network(recipe: Recipe) -> str:
    """Return a key; if one of the recipes with the same key passes the rehearsal, all do."""
    quantization, distillation = recipe.quantization, recipe.distillation
    layers: object = None
    if quantization is not None:
        names = {field.name for field in fields(quantization)}
        layers = [getattr(quantization, name) for name in sorted(names & {"exclude", "include"})]
        layers = layers, [group.layers for group in quantization.groups]
        scales = [scale for _, scale in quantization.maps]
        if any(scales):  # blocks may not divide a weight, and optimizers may refuse learned numbers
            layers = layers, scales
        if recipe.optimizer.algorithm not in ELEMENTWISE:  # it may refuse lifted or scaled latents
            latents = [quantizer.num_latents for quantizer, _ in quantization.maps]
            layers = layers, latents, quantization.step_scale is None
    return canonical_key(
        (
            recipe.model,
            recipe.dataset,
            recipe.task,
            (recipe.optimizer.algorithm, recipe.optimizer.options, recipe.optimizer.groups),
            layers,
            recipe.batchnorm_epochs > 0,
            min(2, recipe.batch_size),
            _unless_of_trial(recipe.initial_weights),
            recipe.task,
            distillation and (distillation.model, _unless_of_trial(distillation.teacher)),
        )
    )


def _unless_of_trial(weights: InitialWeights | None) -> InitialWeights | None:
    """Return weights that a rehearsal loads: those of a file, but not those of another trial."""
    return None if isinstance(weights, TrialWeights) else weights
