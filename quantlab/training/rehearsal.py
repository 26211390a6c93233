"""Rehearsal: one gradient step of a recipe on random images, to find errors before training."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.base import Dimensions
from quantlab.distillation.teacher import Teacher
from quantlab.errors import OF_DEVICES, ConfigurationError, ElsewhereError, brief, described
from quantlab.execution import Execution
from quantlab.models import ModelSpec
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.of_recipe import optimizer_of, plain_optimizer
from quantlab.plain_values import plain
from quantlab.recipe import Recipe, pull_at
from quantlab.schedules import Schedule, value_at
from quantlab.settings.learning_rate import require_positive_parts
from quantlab.settings.step_functions import AtStep, require_end
from quantlab.tasks.checked import mean_loss, require_task
from quantlab.training.epoch import steps_of

LARGEST_STEP = 30_000_000
"""Largest number of parameters for which a whole step is rehearsed. Of a larger network, only the
forward pass is."""

_SHAPES = re.compile(r"\b(shapes?|sizes?|channels|dimensions?)\b")
_DEVICES = re.compile(r"(?i)cuda|nvidia|gpu|driver|kernel|device|memory")
_STEPS_PER_EPOCH = (1, 100)
"""Numbers of steps per epoch that schedules are evaluated with, if a recipe does not say it. With
the first, schedules that count steps are asked for few."""


def require_effective(recipe: Recipe) -> None:
    """Check that no setting of a recipe would be ignored, or taken for another one.

    Recipes themselves allow such settings, because finished trials may have them.

    Raises:
        ConfigurationError: if the options of the optimizer have a learning rate, if a part of the
            learning rate is 0 in its last epochs, or if ``flip`` of the augmentation is neither
            true nor false.
    """
    options = recipe.optimizer.options
    if "lr" in options:
        raise ConfigurationError(
            f"OptimizerSpec.options = {brief(options)}: must not have 'lr', which has no effect; "
            "remove it, and set OptimizerSpec.learning_rate to the learning rate"
        )
    epochs = recipe.epochs + recipe.batchnorm_epochs
    require_positive_parts(recipe.optimizer.learning_rate, epochs)
    augmentation = getattr(recipe.dataset, "augmentation", None)
    if isinstance(augmentation, CropFlip) and plain(augmentation.flip) not in (True, False):
        raise ConfigurationError(
            f"CropFlip.flip = {brief(augmentation.flip)}: must be True or False; it would be taken "
            f"for {bool(augmentation.flip)}"
        )


def known_steps(recipe: Recipe) -> int | None:
    """Return the number of gradient steps per epoch if a recipe says it, and None otherwise."""
    num_images = recipe.dataset.train_images
    if recipe.steps_per_epoch is not None or num_images is None:
        return recipe.steps_per_epoch
    return steps_of(recipe, num_images)


def rehearse_schedules(recipe: Recipe) -> dict[str, list[float]]:
    """Evaluate all schedules of a recipe at some steps from the first to the last.

    Those of a quantization are evaluated in the first stage only, which they have an effect in. If
    the number of steps is not known, schedules are evaluated at steps that all trials have.

    Args:
        recipe: any recipe.

    Returns:
        For each schedule, the dotted name of its field and its values.

    Raises:
        ConfigurationError: see `quantlab.schedules.value_at`. It is also raised if the pull exceeds
            1 at the first or the last step of an epoch. If the number of steps is not known, it is
            raised only if that happens with every number that is tried.
    """
    values, _ = _rehearsed_schedules(recipe, _STEPS_PER_EPOCH)
    return values


def _rehearsed_schedules(
    recipe: Recipe, guesses: Sequence[int]
) -> tuple[dict[str, list[float]], int]:
    """Evaluate schedules with the known number of steps per epoch, or the first that works.

    Returns:
        See `rehearse_schedules`, and the number.
    """
    *others, last = [known] if (known := known_steps(recipe)) else guesses
    for guess in others:
        with suppress(ConfigurationError):
            return _values_with(recipe, guess), guess
    return _values_with(recipe, last), last


def _values_with(recipe: Recipe, per_epoch: int) -> dict[str, list[float]]:
    both = recipe.epochs + recipe.batchnorm_epochs
    found = _values({"optimizer.learning_rate": recipe.optimizer.learning_rate}, both, per_epoch)
    if (quantization := recipe.quantization) is None:
        return found
    schedules = {"quantization.sharpness": quantization.sharpness}
    # The weights after the last step have the sharpness and the pull of the next one.
    last, end = recipe.epochs * per_epoch, {}
    if quantization.quantizer.annealed or quantization.backward.annealed:
        end["quantization.sharpness"] = quantization.sharpness
    for position, group in enumerate(quantization.groups):
        field = f"quantization.groups.{position}.sharpness"
        if group.sharpness is not None:
            schedules[field] = group.sharpness
        if group.quantizer.annealed or quantization.backward.annealed:
            used = field if group.sharpness is not None else "quantization.sharpness"
            end[used] = schedules[used]
    if quantization.averaging is not None:
        schedules["quantization.averaging.weight"] = quantization.averaging.weight
    if quantization.pull is not None:
        schedules["quantization.pull"] = quantization.pull
        for epoch in range(recipe.epochs + 1):
            for step in (max(0, epoch * per_epoch - 1), epoch * per_epoch):
                pull_at(quantization.pull, step, per_epoch)
    if quantization.step_scale is not None:
        schedules["quantization.step_scale"] = quantization.step_scale
    found |= _values(schedules, recipe.epochs, per_epoch)
    for field, schedule in end.items():
        require_end(AtStep(schedule, per_epoch, field), last)
    return found


def _values(
    schedules: Mapping[str, Schedule], epochs: int, steps_per_epoch: int
) -> dict[str, list[float]]:
    """Return values of each schedule at the first and the last step, and in some of the epochs."""
    last = epochs * steps_per_epoch - 1
    places = {0, min(1, last), last}
    places |= {epoch * steps_per_epoch for epoch in range(0, epochs, -(-epochs // 8))}
    return {
        field: [value_at(schedule, step, steps_per_epoch, field) for step in sorted(places)]
        for field, schedule in schedules.items()
    }


def rehearse(
    recipe: Recipe,
    dimensions: Dimensions,
    *,
    load: Callable[[nn.Module], None] = lambda model: None,
    load_teacher: Callable[[nn.Module], None] = lambda model: None,
    runs_here: bool = True,
) -> None:
    """Build the network and its optimizer, and take a step of each stage on two random images.

    Torch's generators are not changed. A network of more than `LARGEST_STEP` parameters only takes
    a forward pass.

    Args:
        recipe: recipe to rehearse.
        dimensions: dimensions of its dataset.
        load: loads initial weights into the network; by default none are loaded.
        load_teacher: loads the weights of the recipe's teacher; by default they are random.
        runs_here: whether the network must run on this machine's CPU. If it is False, errors of the
            types `OF_DEVICES` are ignored, because the network may need another device; but not if
            torch says that shapes do not fit.

    Raises:
        ConfigurationError: if a part of the recipe fails; see also `require_effective`. The message
            contains the original error if the user's code raised one.
    """
    require_effective(recipe)
    name = recipe.model.name
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.default_generator.manual_seed(0)
        model = _built(recipe.model, dimensions)
        load(model)
        model.train()
        teacher = None
        if recipe.distillation is not None:
            teacher = Teacher(
                recipe.distillation,
                recipe.model,
                recipe.task,
                build=lambda spec: _built(spec, dimensions),
                load=load_teacher,
            )
        batch = min(2, recipe.batch_size)
        inputs = Execution().layout(dimensions.random_inputs(batch))
        labels = dimensions.some_targets(batch)
        try:
            if teacher is not None:
                teacher.check(inputs, labels, dimensions.num_classes)
            _step(recipe, model, inputs, labels, dimensions.num_classes, teacher)
        except ConfigurationError as error:
            if runs_here or not isinstance(error, ElsewhereError):
                raise ConfigurationError(f"model {name}: {error}") from error
        except Exception as error:
            if runs_here or not isinstance(error, OF_DEVICES) or _is_of_shapes(error):
                raise ConfigurationError(
                    f"model {name}: a step with {recipe.optimizer.algorithm.__name__} on inputs of "
                    f"shape {dimensions.input} raised {described(error)}"
                ) from error


def _is_of_shapes(error: Exception) -> bool:
    """Whether an error would be raised on every device, because shapes do not fit."""
    text = str(error)
    return type(error) is RuntimeError and bool(_SHAPES.search(text)) and not _DEVICES.search(text)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread for a `with` block, because two images are too few for several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _step(
    recipe: Recipe,
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    num_classes: int,
    teacher: Teacher | None,
) -> None:
    if sum(parameter.numel() for parameter in model.parameters()) > LARGEST_STEP:
        recipe.optimizer.members_of_groups(model)
        with torch.no_grad():
            outputs = model(inputs)
        recipe.task.require_outputs(model, outputs, labels, num_classes)
        require_task(recipe.task, outputs, labels, num_classes)
        return

    def closure() -> float:
        optimizer.zero_grad()
        outputs = model(inputs)
        recipe.task.require_outputs(model, outputs, labels, num_classes)
        require_task(recipe.task, outputs.detach(), labels, num_classes)
        loss = mean_loss(recipe.task, outputs, labels)
        if teacher is not None:
            loss = teacher.loss(inputs, outputs, loss)
        loss.backward()
        return loss.item()

    _, steps = _rehearsed_schedules(recipe, _STEPS_PER_EPOCH[::-1])
    optimizer: LatentOptimizer = optimizer_of(recipe, model, steps)
    optimizer.step(closure)
    if recipe.batchnorm_epochs:
        optimizer.harden()
        optimizer = plain_optimizer(recipe.optimizer, model)
        optimizer.step(closure)


def _built(spec: ModelSpec, dimensions: Dimensions) -> nn.Module:
    what = f"model {spec.name}"
    build: Any = spec.build_for  # the user's code may return anything
    try:
        network: Any = build(dimensions)
    except ConfigurationError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise ConfigurationError(f"{what}: build raised {described(error)}") from error
    if not isinstance(network, nn.Module):
        raise ConfigurationError(
            f"{what}: build returned {type(network).__name__}; must return a torch.nn.Module"
        )
    for path, parameter in network.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            layer = network.get_submodule(path.rpartition(".")[0])
            raise ConfigurationError(
                f"{what}: the parameter {path} of a {type(layer).__name__} has no shape after "
                "build; use a layer whose sizes are given"
            )
    built: nn.Module = network
    return built
