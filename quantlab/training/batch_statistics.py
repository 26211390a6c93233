"""Recomputed statistics of batch normalization, and the check of a last batch of one image."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.distributed.gradient_sum import GradientSum
from quantlab.distributed.shared_batch import SharedBatch
from quantlab.errors import ConfigurationError
from quantlab.execution import Execution
from quantlab.recipe import Quantization, Recipe


@dataclass(frozen=True)
class BatchStatistics:
    """Batch-normalization statistics of a recipe's training images."""

    images: ImageSet
    """Images of the training split, on the model's device."""
    dataset: DatasetSpec
    batch_size: int
    execution: Execution
    batch: SharedBatch
    """The current batch, which other processes may share."""

    @torch.no_grad()
    def reestimate(self, model: nn.Module) -> None:
        """Recompute running means and variances for the model's current weights.

        They become the means of the batch statistics over all full batches, with equal weights.
        Images are not augmented and are taken in their stored order; a smaller last batch is left
        out. Layers other than batch normalization are in evaluation mode, so that no random numbers
        are drawn.

        Args:
            model: network, which returns to its previous mode. A model without running statistics
                is not changed.
        """
        layers = _layers(model)
        if not layers:
            return
        modes = {module: module.training for module in model.modules()}
        momenta = {layer: layer.momentum for layer in layers}
        model.eval()
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
        batches = self.batch.batches(
            self.dataset,
            self.images,
            batch_size=self.batch_size,
            workers=self.execution.workers,
        )
        full = max(1, len(self.images) // self.batch_size)
        for place, (inputs, _) in enumerate(islice(batches, full)):
            for layer in layers:
                layer.momentum = 1 / (place + 1)
            with self.execution.autocast(inputs.device):
                model(self.execution.layout(inputs))
        if self.batch.replicas.size > 1:
            GradientSum(model, self.batch.replicas).average_statistics(self.batch.weight)
        for layer, momentum in momenta.items():
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode

    @contextmanager
    def reestimated(self, model: nn.Module) -> Iterator[None]:
        """Recompute the statistics for a `with` block, and restore the previous ones afterwards."""
        with _buffers_kept(model):
            self.reestimate(model)
            yield

    def require_last_batch_fits(
        self, model: nn.Module, num_images: int, parts: tuple[str, int]
    ) -> None:
        """Check that the model accepts a batch of one image, if epochs have such a batch.

        Args:
            model: network in training mode.
            num_images: number of images of an epoch.
            parts: see `parts_of_batches`.

        Raises:
            ConfigurationError: see `require_one_image_fits`.
        """
        if has_batch_of_one(num_images, self.batch_size, parts[1]):
            one = self.images.take(torch.zeros(1, dtype=torch.int64))
            inputs, _ = next(iter(self.dataset.batches(one, batch_size=1)))
            require_one_image_fits(model, inputs, num_images, self.batch_size, parts)


def parts_of_batches(recipe: Recipe) -> tuple[str, int]:
    """Return into how many parts batches are cut, each a batch for batch normalization.

    Returns:
        The name of the recipe's field that says so, and its value.
    """
    name = "accumulation" if recipe.accumulation > 1 else "batchnorm_shards"
    return name, getattr(recipe, name)


def has_batch_of_one(num_images: int, batch_size: int, parts: int) -> bool:
    """Whether an epoch of `num_images` images has a batch, or a part of one, of one image."""
    last = (num_images - 1) % batch_size + 1
    return last // parts <= 1


def require_one_image_fits(
    model: nn.Module, inputs: Tensor, num_images: int, batch_size: int, parts: tuple[str, int]
) -> None:
    """Check that the model can be trained on a batch of one image.

    Batch normalization fails on it if the layer has one value per channel and image.

    Args:
        model: network in training mode; its buffers are not changed.
        inputs: (1, channels, height, width).
        num_images: number of images of an epoch that has such a batch or part.
        batch_size: size of the other batches.
        parts: see `parts_of_batches`.

    Raises:
        ConfigurationError: if the model fails on such a batch.
    """
    try:
        with torch.no_grad(), _buffers_kept(model):
            model(inputs)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        name, count = parts
        if count > 1:
            raise ConfigurationError(
                f"Recipe.{name} = {count}: a part of some batch of {num_images} training images at "
                f"batch_size = {batch_size} has one image, on which batch normalization in "
                f"{type(model).__name__} fails; choose fewer parts, another batch_size, or another "
                "number of train_images in the dataset"
            ) from error
        raise ConfigurationError(
            f"Recipe.batch_size = {batch_size}: the last batch of {num_images} training images "
            f"has one image, on which batch normalization in {type(model).__name__} fails; choose "
            "another batch_size, or another number of train_images in the dataset"
        ) from error


def statistics_note(model: nn.Module, quantization: Quantization | None) -> str:
    """Return a note that the average is evaluated with the statistics of other weights.

    Args:
        model: the network.
        quantization: quantization of the recipe; None in full precision.

    Returns:
        One sentence for the user, or "" if the note does not apply.
    """
    if quantization is None or quantization.averaging is None:
        return ""
    if quantization.reestimate_batchnorm or not _layers(model):
        return ""
    return (
        "quantization.averaging: the average is evaluated with batch-normalization statistics of "
        "other weights; set quantization.reestimate_batchnorm = True to recompute them"
    )


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Restore the model's buffers after a `with` block."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in kept:
                buffer.copy_(values)


def _layers(model: nn.Module) -> list[_BatchNorm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
