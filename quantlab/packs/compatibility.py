"""The check whether recipes can be trained as one pack."""

from collections.abc import Sequence
from typing import Any

from quantlab.canonical import canonical_key
from quantlab.errors import ConfigurationError
from quantlab.optim.latent_optimizer import ELEMENTWISE
from quantlab.quantizers import Quantizer
from quantlab.recipe import Recipe
from quantlab.scales import Scale


def pack_key(recipe: Recipe) -> str:
    """Return a key that is equal for recipes that can be trained as one pack.

    Such recipes have the same model, dataset, task, batch size, epochs, steps per epoch and
    optimizer class, the same layers in weight groups, the same parameters in groups of the
    optimizer, and the same number of latents per weight. Their scales divide tensors in the same
    way and learn as many numbers. All or none have a teacher, of one network and temperature.
    Quantizers, rules, sharpness, learning rates, options of the optimizer and of its groups,
    averaging, seeds, initial weights, teachers' weights and their shares in the loss may differ.

    Raises:
        ConfigurationError: if the recipe cannot be trained in any pack.
    """
    return canonical_key(_common(recipe))


def _common(recipe: Recipe) -> dict[str, Any]:
    algorithm = recipe.optimizer.algorithm
    if algorithm not in ELEMENTWISE:
        raise ConfigurationError(
            f"pack: OptimizerSpec.algorithm = {algorithm.__name__}: its updates are not "
            f"elementwise; must be one of {', '.join(known.__name__ for known in ELEMENTWISE)}, or "
            "the trials must be trained without packs"
        )
    for name in ("batchnorm_shards", "accumulation"):
        if (parts := getattr(recipe, name)) != 1:
            raise ConfigurationError(
                f"pack: Recipe.{name} = {parts}: must be 1, or the trials must be trained without "
                "packs"
            )
    quantization, teacher = recipe.quantization, recipe.distillation
    return {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "batch_size": recipe.batch_size,
        "task": recipe.task,
        "distillation": teacher and (teacher.model or recipe.model, teacher.temperature),
        "epochs": recipe.epochs,
        "batchnorm_epochs": recipe.batchnorm_epochs,
        "steps_per_epoch": recipe.steps_per_epoch,
        "moving_average": recipe.moving_average is not None,
        "optimizer.algorithm": algorithm.__name__,
        "optimizer.groups.parameters": tuple(group.parameters for group in recipe.optimizer.groups),
        "quantization.exclude": None if quantization is None else quantization.exclude,
        "quantization.include": None if quantization is None else quantization.include,
        "quantization.groups.layers": quantization
        and tuple(group.layers for group in quantization.groups),
        "latents per weight": quantization
        and tuple(quantizer.num_latents for quantizer, _ in quantization.maps),
        "rows of scales": quantization
        and tuple(_rows(scale, quantizer) for quantizer, scale in quantization.maps),
    }


def _rows(scale: Scale | None, quantizer: Quantizer) -> tuple[str | int, int] | None:
    """Return what has levels of its own, and how many numbers are learned for it."""
    return None if scale is None else (scale.per, scale.num_learned(quantizer.levels))


def require_compatible(recipes: Sequence[Recipe]) -> None:
    """Check that recipes can be trained as one pack. A single recipe always can.

    Raises:
        ConfigurationError: if they cannot. The message names a field in which two of them differ.
    """
    if not recipes:
        raise ConfigurationError("pack: must hold at least one recipe")
    if len(recipes) == 1:
        return
    first = _common(recipes[0])
    for position, recipe in enumerate(recipes):
        for name, value in _common(recipe).items():
            if value != first[name]:
                raise ConfigurationError(
                    f"pack: recipe {position} has {name} = {value!r}, but recipe 0 has "
                    f"{first[name]!r}; must be the same in all recipes of a pack"
                )
