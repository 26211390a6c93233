"""Batch normalization's running statistics taken anew, and the batch that it cannot take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.errors import ConfigurationError
from quantlab.execution import Execution
from quantlab.recipe import Quantization


@dataclass(frozen=True)
class BatchStatistics:
    """What batch normalization finds in the batches of a recipe's training images."""

    images: ImageSet
    """Of the training split; on the model's device."""
    dataset: DatasetSpec
    batch_size: int
    execution: Execution

    @torch.no_grad()
    def reestimate(self, model: nn.Module) -> None:
        """Set running means and variances to those of the model's present weights.

        They become the mean over batches of what a batch has, as in training, with the same weight
        for every batch; images are as at inference, without augmentation, in the order in which
        they lie, and those that do not fill a last batch are left out. All layers but batch
        normalization are in evaluation mode meanwhile, so that no random numbers are drawn.

        Args:
            model: left in the mode it was in; without running statistics, it is left alone.
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
        batches = self.dataset.batches(
            self.images, batch_size=self.batch_size, workers=self.execution.workers
        )
        full = max(1, len(self.images) // self.batch_size)
        for place, (inputs, _) in enumerate(islice(batches, full)):
            for layer in layers:
                layer.momentum = 1 / (place + 1)
            with self.execution.autocast(inputs.device):
                model(self.execution.layout(inputs))
        for layer, momentum in momenta.items():
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode

    @contextmanager
    def reestimated(self, model: nn.Module) -> Iterator[None]:
        """The same for the time of a `with` block."""
        with _buffers_kept(model):
            self.reestimate(model)
            yield

    def require_last_batch_fits(self, model: nn.Module) -> None:
        """Make sure that the model takes a batch of a single image, if epochs end with one.

        Args:
            model: ready to train.

        Raises:
            ConfigurationError: see `require_one_image_fits`.
        """
        if has_last_batch_of_one(len(self.images), self.batch_size):
            one = self.images.take(torch.zeros(1, dtype=torch.int64))
            inputs, _ = next(iter(self.dataset.batches(one, batch_size=1)))
            require_one_image_fits(model, inputs, len(self.images), self.batch_size)


def has_last_batch_of_one(num_images: int, batch_size: int) -> bool:
    """Whether an epoch of so many images ends with a batch of one."""
    return (num_images - 1) % batch_size == 0


def require_one_image_fits(
    model: nn.Module, inputs: Tensor, num_images: int, batch_size: int
) -> None:
    """Make sure that a batch of a single image can be trained on.

    Batch normalization cannot, where it has one value a channel and image.

    Args:
        model: ready to train; its buffers are left as they are.
        inputs: (1, channels, height, width).
        num_images: of an epoch that ends with such a batch.
        batch_size: of the others.

    Raises:
        ConfigurationError: the model does not take it.
    """
    try:
        with torch.no_grad(), _buffers_kept(model):
            model(inputs)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigurationError(
            f"Recipe.batch_size = {batch_size}: the last batch of {num_images} training images "
            f"has one image, which batch normalization in {type(model).__name__} cannot take; "
            "choose another batch_size, or another number of train_images in the dataset"
        ) from error


def statistics_note(model: nn.Module, quantization: Quantization | None) -> str:
    """That an average is evaluated with statistics of other weights, for people; empty if not.

    Args:
        model: any.
        quantization: None in full precision.
    """
    if quantization is None or quantization.averaging is None:
        return ""
    if quantization.reestimate_batchnorm or not _layers(model):
        return ""
    return (
        "quantization.averaging: the average is evaluated with the statistics of batch "
        "normalization that other weights have left; quantization.reestimate_batchnorm = True "
        "takes its own"
    )


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Undo what a `with` block does to the model's buffers."""
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
