"""Proximal maps of a sweep, as curves for figures."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from analysis.columns import MAPS, empty
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Schedule
from quantlab.training.records import Stage
from sweeps.coordinates import level_set
from sweeps.reporting.snippet import other_layers
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialFolder, TrialState
from sweeps.storage.records import Epoch

NUM_POINTS = 601
"""Points of each curve."""
SHARES = {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "end": 1.0}
"""Shares of the first stage after which a map is drawn, besides its first epoch."""
EXAMPLE, TRAINED = "examples", "maps"
"""Names of the two figures."""

EXAMPLES = ((0.0, 0.2), (0.2, 0.0), (0.2, 0.2), (0.4, 0.1))
"""rho and varrho of the example maps on the ternary set, as in the ProxConnect paper's Figure 1."""


def maps_frame(sweep: SweepSpec, storage: Storage, configurations: Sequence[str]) -> pd.DataFrame:
    """Return curves of maps: examples of L, then the maps with which the sweep was trained.

    Each method and set has one panel. It has the map of the first complete trial among the given
    configurations, at its sharpness after several epochs. Random and unannealed maps are left out.

    Args:
        sweep: the sweep.
        storage: the folder of its trials.
        configurations: ids of the configurations to include.

    Returns:
        A table with the columns of `analysis.columns.MAPS`.
    """
    frames = [
        pd.DataFrame(
            {"figure": EXAMPLE, "row": "", "column": f"ρ = {rho:g}, ϱ = {varrho:g}", "curve": ""}
            | _curve(PiecewiseLinear(TERNARY, rho_scale=rho, varrho_scale=varrho), 1.0)
        )
        for rho, varrho in EXAMPLES
    ]
    panels: set[tuple[str, str]] = set()
    for cell in sweep.cells:
        quantization = cell.recipe.quantization
        panel = cell.method, level_set(cell)
        folder = storage.trial(cell.fingerprint)
        if (
            cell.configuration_id not in configurations
            or panel in panels
            or quantization is None
            or not quantization.uses_prox
            or not quantization.quantizer.annealed
            or quantization.quantizer.random
            or folder.state() is not TrialState.COMPLETE
            or not folder.read_history().is_whole
        ):
            continue
        panels.add(panel)
        where = {"figure": TRAINED, "row": panel[0], "column": panel[1]}
        frames += [frame.assign(**where) for frame in _annealed(quantization.quantizer, folder)]
    return pd.concat(frames)[list(MAPS)]


def quantizer_maps(trials: Mapping[str, Cell], storage: Storage) -> pd.DataFrame:
    """Return curves of the maps of some trials, one map for each group of layers.

    Args:
        trials: heading -> trial. Random and unannealed maps, and trials without epochs, are left
            out.
        storage: the folder of the trials.

    Returns:
        A table with the columns of `analysis.columns.MAPS`.
    """
    frames = []
    for heading, cell in trials.items():
        quantization, folder = cell.recipe.quantization, storage.trial(cell.fingerprint)
        history = folder.read_history()
        if quantization is None or not history or not history.is_whole:
            continue
        groups = {
            ", ".join(group.layers): (group.quantizer, group.sharpness)
            for group in quantization.groups
        }
        rest = other_layers(cell.recipe)
        if rest is not None:
            groups[rest] = quantization.quantizer, None
        for layers, (quantizer, own) in groups.items():
            if quantizer.annealed and not quantizer.random:
                where = {"figure": TRAINED, "row": layers, "column": heading}
                frames += [frame.assign(**where) for frame in _annealed(quantizer, folder, own)]
    return pd.concat(frames)[list(MAPS)] if frames else empty(MAPS)


def _annealed(
    quantizer: Quantizer, folder: TrialFolder, own: Schedule | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the map at several epochs, with the recipe's schedule or the group's own."""
    epochs = [record for record in folder.read_history() if record.stage is Stage.QUANTIZE]
    for moment, record in _moments(epochs):
        # The sharpness of the histogram; histories of earlier releases do not have it.
        after = record.sharpness_after
        sharpness = record.sharpness if math.isnan(after) else after
        if own is not None:
            sharpness = own.at(record.step, record.step // record.epoch)
        yield pd.DataFrame({"curve": moment} | _curve(quantizer, sharpness))


def _moments(epochs: Sequence[Epoch]) -> Iterator[tuple[str, Epoch]]:
    """Yield the first epoch, and the epochs at some shares of the first stage."""
    yield "after the first epoch", epochs[0]
    for name, share in SHARES.items():
        yield f"{name} of the first stage", epochs[max(round(share * len(epochs)), 1) - 1]


def _curve(quantizer: Quantizer, sharpness: float) -> dict[str, NDArray[np.float64]]:
    low, high = quantizer.some_levels[0], quantizer.some_levels[-1]
    beyond = 0.15 * (high - low)
    latent = torch.linspace(low - beyond, high + beyond, NUM_POINTS, dtype=torch.float64)
    proximal = quantizer.weights(quantizer.lift(latent), sharpness).numpy().copy()
    proximal[1:][np.abs(np.diff(proximal)) > 20 * (high - low) / NUM_POINTS] = np.nan  # a jump
    return {"latent": latent.numpy(), "proximal": proximal}
