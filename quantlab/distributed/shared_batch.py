"""SharedBatch: the part of the current batch that a replica computes, and its shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.distributed.data_parallel import Replicas
from quantlab.errors import ConfigurationError
from quantlab.random_numbers import RandomNumbers, part_seed


class SharedBatch:
    """The share of a replica in the current batch, and the shards of batch normalization in it.

    A batch of n images is cut at the positions k n / parts, rounded down, into the shares of the
    replicas and into the shards of batch normalization. A shard is never in several shares, or
    there is a single shard, which is the whole batch.
    """

    def __init__(self, replicas: Replicas, batch_size: int, shards: int) -> None:
        """Prepare the batches of a recipe.

        Args:
            replicas: the processes that share the batches.
            batch_size: `Recipe.batch_size`.
            shards: `Recipe.batchnorm_shards`.

        Raises:
            ConfigurationError: see `require_shares`.
        """
        require_shares(batch_size, shards, replicas.size)
        self.replicas = replicas
        self._shards = shards
        self.count = 0
        """Number of images of the current batch, over all replicas."""
        self.begin(batch_size)

    @property
    def weight(self) -> float:
        """Part of the batch that this replica computes, such that all parts add up to 1."""
        if not self.is_split:
            return 1 / self.replicas.size
        return sum(self.shard_sizes) / self.count

    @property
    def is_split(self) -> bool:
        """Whether replicas compute different images; otherwise each computes the whole batch."""
        return self.count >= self.replicas.size

    @property
    def is_synchronized(self) -> bool:
        """Whether batch statistics are those of the shares of several replicas together."""
        return self._shards == 1 and self.replicas.size > 1 and self.is_split

    def begin(self, count: int) -> None:
        """Begin a batch.

        Args:
            count: number of its images, over all replicas.
        """
        self.count = count
        share = self.share(count)
        cuts = [_cut(count, place, self._shards) for place in range(self._shards + 1)]
        inside = [cut for cut in cuts if share.start < cut < share.stop]
        ends = [share.start, *inside, share.stop]
        sizes = [stop - start for start, stop in pairwise(ends)]
        self.shard_sizes: list[int] = [size for size in sizes if size]
        """Number of images of each shard in this replica's share; shards without images are left
        out."""

    def share(self, count: int) -> slice:
        """Return the positions of this replica's images in a batch of `count` images."""
        rank, size = self.replicas.rank, self.replicas.size
        if count < size:
            return slice(0, count)
        return slice(_cut(count, rank, size), _cut(count, rank + 1, size))

    def batches(
        self,
        dataset: DatasetSpec,
        images: ImageSet,
        *,
        batch_size: int,
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this replica's share of each batch, and begin each; see `DatasetSpec.batches`."""
        if self.replicas.size == 1:
            for inputs, labels in dataset.batches(
                images, batch_size=batch_size, order=order, generator=generator, workers=workers
            ):
                self.begin(len(labels))
                yield inputs, labels
            return
        left = len(images) if order is None else len(order)
        for inputs, labels in dataset.shared_batches(
            images,
            batch_size=batch_size,
            share=self.share,
            order=order,
            generator=generator,
            workers=workers,
        ):
            self.begin(min(batch_size, left))
            left -= self.count
            yield inputs, labels

    @contextmanager
    def own_random_numbers(self, seed: int, step: int, device: torch.device) -> Iterator[None]:
        """Let a forward pass draw random numbers of this replica for a `with` block.

        Replicas may draw different amounts. Afterwards the default generators are as before, and
        equal on all replicas. A single process draws from the default generators.

        Args:
            seed: seed of the trial.
            step: number of the gradient step.
            device: device of the network.
        """
        if self.replicas.size == 1:
            yield
            return
        part = f"step {step}, replica {self.replicas.rank} of {self.replicas.size}"
        own = part_seed(seed, part)
        with RandomNumbers(device, seed=own, default_seed=own).in_use():
            yield


def require_shares(batch_size: int, shards: int, replicas: int) -> None:
    """Check that batches can be shared, and that no shard is in the shares of two replicas.

    Args:
        batch_size: `Recipe.batch_size`.
        shards: `Recipe.batchnorm_shards`.
        replicas: number of replicas.

    Raises:
        ConfigurationError: if they cannot.
    """
    if batch_size < replicas:
        raise ConfigurationError(
            f"Recipe.batch_size = {batch_size}: must be at least {replicas}, the number of "
            "processes that share a batch; use fewer processes, or a larger batch_size"
        )
    if shards != 1 and shards % replicas:
        raise ConfigurationError(
            f"Recipe.batchnorm_shards = {shards}: must be 1 or a multiple of {replicas}, the "
            "number of processes that share a batch; use another number of processes"
        )


def own_batches(images: ImageSet, batch_size: int, replicas: Replicas) -> Tensor | None:
    """Return the positions of the images in every n-th batch, for the evaluation by n replicas.

    Args:
        images: images to evaluate.
        batch_size: number of images per batch.
        replicas: the processes that share the batches.

    Returns:
        int64 positions, in the order of the batches; None for all images.
    """
    if replicas.size == 1:
        return None
    positions = torch.arange(len(images), device=images.labels.device)
    own = positions.split(batch_size)[replicas.rank :: replicas.size]
    return torch.cat(own) if own else positions[:0]


def _cut(count: int, place: int, parts: int) -> int:
    return place * count // parts
