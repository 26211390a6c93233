"""Training protocols: how methods were trained, and how a paper trained them.

Within a method, `training_axes` separates trials that were trained differently. Between methods,
and between a paper and a sweep, such differences are reported. They are read from the recipes, so a
table without `columns.RECIPE_PREFIX` columns has none to report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import RECIPE_PREFIX, axis_columns
from analysis.statistics.aggregate import SETTING
from analysis.training_axes import setting_text, texts_of

PARTS = ("epochs", "training images", "batch size", "optimizer")
"""Parts of a training protocol that are compared."""

Recipe = Mapping[str, str]
"""Path of a setting -> its value as text."""


def recipes_of(trials: pd.DataFrame) -> list[Recipe]:
    """The recipe of each trial, from its `columns.RECIPE_PREFIX` columns; empty without them.

    Args:
        trials: the table of trials, or rows of it.
    """
    names = [str(name) for name in trials.columns if str(name).startswith(RECIPE_PREFIX)]
    paths = [name.removeprefix(RECIPE_PREFIX) for name in names]
    texts = [texts_of(trials[name], setting_text) for name in names]
    if not texts:
        return [{} for _ in range(len(trials))]
    return [
        {path: text for path, text in zip(paths, row, strict=True) if text}
        for row in zip(*texts, strict=True)
    ]


def stated_parts(recipe: Recipe, training_images: float = float("nan")) -> dict[str, str]:
    """The `PARTS` of a recipe in words; a part that the recipe does not state is empty.

    Args:
        recipe: one of `recipes_of`.
        training_images: number of training images, if it is known.
    """
    epochs, more = recipe.get("epochs", ""), recipe.get("batchnorm_epochs", "0")
    steps = recipe.get("steps_per_epoch", "")
    held_out = recipe.get("dataset.validation_images", "")
    only = recipe.get("dataset.train_images", "")
    if training_images == training_images:
        images = f"{training_images:,.0f}" + (f" ({held_out} held out)" if held_out > "0" else "")
    elif only:
        images = only
    else:
        images = {"": "", "0": "all"}.get(held_out, f"all but {held_out}")
    return {
        "epochs": epochs
        + (f" + {more}" if epochs and more != "0" else "")
        + (f" of {steps} steps" if epochs and steps else "")
        + (", the best" if epochs and recipe.get("select") == "best" else ""),
        "training images": images,
        "batch size": recipe.get("batch_size", ""),
        "optimizer": _optimizer(recipe),
    }


def _optimizer(recipe: Recipe) -> str:
    """``SGD, StepDecay (factor 0.1, milestones 15, 22, value 0.1), momentum 0.9``."""
    prefix = "optimizer.learning_rate"
    if "optimizer.algorithm" not in recipe:
        return ""
    rate = [
        f"{path.removeprefix(f'{prefix}.')} {value}"
        for path, value in sorted(recipe.items())
        if path.startswith(f"{prefix}.")
    ]
    options = [
        f"{path.removeprefix('optimizer.options.')} {value}"
        for path, value in sorted(recipe.items())
        if path.startswith("optimizer.options.")
    ]
    schedule = recipe.get(prefix, "") + (f" ({', '.join(rate)})" if rate else "")
    extras = [
        f"{name} {recipe[path]}"
        for name, path in (
            ("gradients clipped to the norm", "optimizer.clip_norm"),
            ("moving average with the decay", "moving_average.decay"),
        )
        if path in recipe
    ]
    algorithm = recipe["optimizer.algorithm"].rsplit(".", 1)[-1]
    return ", ".join([algorithm, schedule, *options, *_groups(recipe), *extras])


def _groups(recipe: Recipe) -> list[str]:
    """``weight_decay 0 for BatchNorm2d``: what the groups of parameters have of their own."""
    found = []
    for path, parameters in sorted(recipe.items()):
        if path.startswith("optimizer.groups.") and path.endswith(".parameters"):
            prefix = path.removesuffix("parameters")
            options = [
                f"{other.removeprefix(f'{prefix}options.')} {value}"
                for other, value in sorted(recipe.items())
                if other.startswith(f"{prefix}options.")
            ]
            factor = recipe.get(f"{prefix}learning_rate_factor", "1")
            options += [f"learning rate times {factor}"] if factor != "1" else []
            found.append(f"{' and '.join(options)} for {parameters}")
    return found


def training(trials: pd.DataFrame) -> pd.DataFrame:
    """How each method was trained, over all its configurations.

    Args:
        trials: columns of `columns.TRIALS` and `columns.RECIPE_PREFIX`.

    Returns:
        One row per method and setting, with the columns dataset, model, regime, further axes,
        method, is_quantized, and `PARTS` as text (several values are separated by slashes). It has
        no rows if the trials have no recipes.
    """
    keys = [*SETTING, *axis_columns(trials), "method"]
    first = trials.drop_duplicates("configuration_id")
    images = first.get("training_images", pd.Series(np.nan, index=first.index))
    parts = pd.DataFrame(
        [
            stated_parts(recipe, number)
            for recipe, number in zip(recipes_of(first), images, strict=True)
        ],
        columns=list(PARTS),
        index=first.index,
    )
    if not (parts != "").any(axis=None):
        return pd.DataFrame(columns=[*keys, "is_quantized", *PARTS])
    told = pd.concat([first[keys], parts], axis="columns").assign(is_quantized=first["set"] != "")
    rows = [
        {
            **dict(zip(keys, key, strict=True)),
            "is_quantized": part["is_quantized"].any(),
            **{name: " / ".join(dict.fromkeys(part[name])) for name in PARTS},
        }
        for key, part in told.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows)


def differing_parts(trained: pd.DataFrame, dataset: str, regime: str) -> list[str]:
    """The `PARTS` in which the quantized methods of a dataset and regime were trained differently.

    Args:
        trained: result of `training`.
        dataset: value of its column.
        regime: value of its column.
    """
    rows = trained[trained["is_quantized"].astype(bool)]
    rows = rows[(rows["dataset"] == dataset) & (rows["regime"] == regime)]
    within = rows.groupby(["model", *axis_columns(rows)], sort=False)
    return [part for part in PARTS if len(rows) and (within[part].nunique() > 1).any()]


@dataclass(frozen=True)
class PublishedTraining:
    """How a paper trained on a dataset, as far as it states it."""

    dataset: str
    regime: str
    source: str
    recipe: Mapping[str, Any]
    """Path -> value; for all methods."""
    by_method: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Method -> paths and values of its own, which are added to those of `recipe`."""

    def of(self, method: str) -> Recipe:
        """The recipe of a method, as text."""
        own = {**self.recipe, **self.by_method.get(method, {})}
        return {path: setting_text(value) for path, value in own.items()}


def _adam(schedule: str, value: float, milestones: str = "") -> dict[str, Any]:
    drops = {
        "optimizer.learning_rate.milestones": milestones,
        "optimizer.learning_rate.factor": 0.1,
    }
    return {
        "optimizer.algorithm": "torch.optim.Adam",
        "optimizer.learning_rate": schedule,
        "optimizer.learning_rate.value": value,
        **(drops if milestones else {}),
    }


def _sgd(milestones: str) -> dict[str, Any]:
    return {
        "optimizer.algorithm": "torch.optim.SGD",
        "optimizer.learning_rate": "StepDecay",
        "optimizer.learning_rate.value": 0.1,
        "optimizer.learning_rate.milestones": milestones,
        "optimizer.learning_rate.factor": 0.1,
        "optimizer.options.momentum": 0.9,
        "optimizer.options.weight_decay": 1e-4,
    }


def _stages(
    epochs: int, batchnorm_epochs: int, batch_size: int, held_out: int = 0
) -> dict[str, Any]:
    return {
        "epochs": epochs,
        "batchnorm_epochs": batchnorm_epochs,
        "batch_size": batch_size,
        "dataset.validation_images": held_out,
    }


TRAINED: Mapping[str, Sequence[PublishedTraining]] = {
    "proxconnect": (
        PublishedTraining(
            "CIFAR-10",
            "fine-tuning",
            "B.1.4",
            _stages(200, 100, 128),
            {
                "BC": _adam("StepDecay", 0.01, "81, 122"),
                "PC": _adam("StepDecay", 0.01, "81, 122"),
                "PQ": _adam("Constant", 0.01),
            },
        ),
        PublishedTraining(
            "CIFAR-10",
            "end-to-end",
            "B.1.3, B.1.5",
            _stages(200, 100, 128) | _sgd("100, 150"),
            {"FP": {"batchnorm_epochs": 0}},
        ),
        PublishedTraining(
            "ImageNet",
            "fine-tuning",
            "B.6",
            _stages(45, 5, 256) | _adam("StepDecay", 1e-4, "15, 30"),
        ),
        PublishedTraining("ImageNet", "end-to-end", "B.7", _stages(80, 10, 256) | _sgd("30, 60")),
    ),
    "mirror-descent-view": (
        PublishedTraining("CIFAR-10", "end-to-end", "Table 6", _stages(285, 0, 128, 5000)),
        PublishedTraining("CIFAR-100", "end-to-end", "Table 6", _stages(285, 0, 128, 5000)),
        PublishedTraining("TinyImageNet", "end-to-end", "Table 6", _stages(128, 0, 128)),
        PublishedTraining("ImageNet", "fine-tuning", "Table 6, B.4", _stages(55, 0, 256)),
        PublishedTraining("ImageNet", "end-to-end", "Table 6, B.4", _stages(90, 0, 2048)),
    ),
}
"""Paper -> its training protocols. The ProxConnect paper uses all training images, and chooses rho0
on test images. The 100,000 steps of the mirror-descent paper are given in epochs. Its optimizers,
which differ between all methods and networks, are not compared."""


def differences(ours: Recipe, theirs: Recipe) -> dict[str, tuple[str, str]]:
    """The parts of `PARTS` that both recipes state and in which they differ.

    Args:
        ours: recipe of a trial.
        theirs: recipe of a paper; only the paths that it states are compared.

    Returns:
        Part -> (our value, their value).
    """
    said_of = {"dataset.train_images", *theirs}
    tells_optimizer = "optimizer.algorithm" in theirs
    own = stated_parts(
        {
            path: value
            for path, value in ours.items()
            if path in said_of or (tells_optimizer and path.startswith("optimizer."))
        }
    )
    other = stated_parts(theirs)
    return {
        part: (own[part], other[part])
        for part in PARTS
        if own[part] and other[part] and own[part] != other[part]
    }
