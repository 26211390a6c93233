"""Shares of batches, shards, and batch normalization in them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import (
    ConfigurationError,
    ParameterGroup,
    Recipe,
    TrainingRun,
    fingerprint,
    override,
)
from quantlab.datasets.base import DatasetSpec
from quantlab.datasets.imagenet import ImageNet
from quantlab.datasets.images.decoding import read_image
from quantlab.distributed.batch_norm import SharedBatchNorm, share_batch_norm
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.distributed.gradient_sum import GradientSum, require_equal
from quantlab.distributed.shared_batch import SharedBatch, own_batches, require_shares
from quantlab.models.weights import quantized_weights
from tests.quantlab.distributed.pairs import Noisy
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import SGD, SMALL_DIGITS, quantized, small_recipe


def batch_of(rank: int, size: int, *, shards: int = 1) -> SharedBatch:
    return SharedBatch(Replicas(rank, size), 64, shards)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 8, 31, 64])
def test_shares_cover_a_batch_and_weights_add_up(size: int, count: int) -> None:
    batches = [batch_of(rank, size) for rank in range(size)]
    for batch in batches:
        batch.begin(count)
    positions = [list(range(count))[batch.share(count)] for batch in batches]
    assert sum(batch.weight for batch in batches) == pytest.approx(1)
    if count < size:
        assert positions == [list(range(count))] * size
        assert not any(batch.is_synchronized for batch in batches)
    else:
        assert [place for part in positions for place in part] == list(range(count))
        sizes = [len(part) for part in positions]
        assert max(sizes) - min(sizes) <= 1
        assert all(batch.is_synchronized == (size > 1) for batch in batches)


def test_replicas_draw_numbers_of_their_own_and_a_single_process_the_default_ones() -> None:
    def drawn(batch: SharedBatch, step: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        with batch.own_random_numbers(5, step, torch.device("cpu")):
            inside = torch.rand(3)
        return inside, torch.rand(3)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = torch.rand(3), torch.rand(3)
        inside, after = drawn(batch_of(0, 1), 7)
        assert torch.equal(inside, first)
        assert torch.equal(after, second)
        found = []
        for rank, step in ((0, 7), (1, 7), (0, 8)):
            inside, after = drawn(batch_of(rank, 2), step)
            assert torch.equal(after, first)
            assert torch.equal(inside, drawn(batch_of(rank, 2), step)[0])
            found.append(tuple(inside.tolist()))
        assert len({*found, tuple(first.tolist())}) == 4


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("count", [4, 9, 31, 64])
def test_shards_do_not_depend_on_the_number_of_processes(size: int, count: int) -> None:
    alone, parts = batch_of(0, 1, shards=8), []
    alone.begin(count)
    for rank in range(size):
        batch = batch_of(rank, size, shards=8)
        batch.begin(count)
        parts += batch.shard_sizes
    assert parts == alone.shard_sizes
    assert sum(parts) == count


def test_batches_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"batch_size = 3: must be at least 4"):
        require_shares(3, 1, 4)
    with pytest.raises(ConfigurationError, match=r"shards = 6: must be 1 or a multiple of 4"):
        require_shares(32, 6, 4)
    require_shares(32, 8, 4)
    with pytest.raises(ConfigurationError, match=r"batchnorm_shards = 65: must be at most"):
        small_recipe(batch_size=64, batchnorm_shards=65)
    with pytest.raises(ConfigurationError, match=r"batchnorm_shards = 0: must be"):
        small_recipe(batchnorm_shards=0)


def test_evaluation_is_shared_by_whole_batches() -> None:
    images = SMALL_DIGITS.load(".").train  # type: ignore[arg-type]
    parts = [own_batches(images, 30, Replicas(rank, 3)) for rank in range(3)]
    assert own_batches(images, 30, ALONE) is None
    assert [len(part) for part in parts if part is not None] == [80, 60, 60]  # 3, 2 and 2 batches
    assert torch.equal(torch.cat([p for p in parts if p is not None]).sort()[0], torch.arange(200))
    nothing = own_batches(images, 150, Replicas(2, 3))
    assert nothing is not None
    assert len(nothing) == 0


@pytest.mark.parametrize("momentum", [0.1, None])
def test_each_shard_has_its_own_statistics(momentum: float | None) -> None:
    """As if each were normalized by torch's layer; the running statistics are their mean."""
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3, momentum=momentum).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    batch = SharedBatch(ALONE, 8, 3)
    shared = share_batch_norm(layer, batch, 3)
    assert isinstance(shared, SharedBatchNorm)
    assert shared.weight is layer.weight
    images = torch.randn(8, 3, 4, 4, dtype=torch.float64) * torch.arange(1, 9.0).view(8, 1, 1, 1)
    batch.begin(8)
    assert batch.shard_sizes == [2, 3, 3]
    mean, variance = torch.zeros(3).double(), torch.ones(3).double()
    expected, means, variances = [], torch.zeros_like(mean), torch.zeros_like(mean)
    for shard in images.split([2, 3, 3]):
        own_mean, own_variance = mean.clone(), variance.clone()
        expected.append(
            F.batch_norm(
                shard, own_mean, own_variance, layer.weight, layer.bias, True, momentum or 1.0
            )
        )
        means += own_mean * len(shard) / 8
        variances += own_variance * len(shard) / 8
    torch.testing.assert_close(shared(images), torch.cat(expected))
    torch.testing.assert_close(layer.running_mean, means)
    torch.testing.assert_close(layer.running_var, variances)
    assert shared.num_batches_tracked == 1
    shared.eval()
    torch.testing.assert_close(
        shared(images),
        F.batch_norm(images, means, variances, layer.weight, layer.bias),
    )


def test_shards_change_a_recipe_and_its_network_but_not_names() -> None:
    whole, shards = quantized(epochs=1), quantized(epochs=1, batchnorm_shards=4)
    assert fingerprint(whole) == fingerprint(override(whole, "batchnorm_shards", 1))
    assert fingerprint(whole) != fingerprint(shards)
    runs = [TrainingRun(whole), TrainingRun(shards)]
    names = [list(run.model.state_dict()) for run in runs]
    assert names[0] == names[1]
    losses = [next(iter(run)).train_loss for run in runs]
    assert losses[0] != losses[1]


def test_shards_of_a_network_without_batch_normalization_change_nothing() -> None:
    recipe: Recipe = small_recipe(model=Noisy(), epochs=1)
    losses = [
        next(iter(TrainingRun(override(recipe, "batchnorm_shards", shards)))).train_loss
        for shards in (1, 4)
    ]
    assert losses[0] == losses[1]


class Brighter(ImageNet):
    def batches(self, *arguments: Any, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in super().batches(*arguments, **options):
            yield inputs + 1, labels


@pytest.mark.parametrize("kind", [ImageNet, Brighter])
def test_images_that_are_decoded_for_a_share_are_those_of_the_batch(
    kind: type[ImageNet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "imagenet", {"train": 4, "val": 1})
    dataset: DatasetSpec = kind(validation_images=1, crop=8, resize=8)
    images = dataset.load(tmp_path).train
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    options: dict[str, Any] = {"batch_size": 5, "order": order}
    whole = list(dataset.batches(images, generator=torch.Generator().manual_seed(0), **options))
    read: list[str] = []
    monkeypatch.setattr(
        "quantlab.datasets.imagenet.read_image",
        lambda path, read_image=read_image: read.append(path) or read_image(path),
    )
    parts = []
    for rank in range(2):
        batch = SharedBatch(Replicas(rank, 2), 5, 1)
        generator = torch.Generator().manual_seed(0)
        own = batch.batches(dataset, images, generator=generator, **options)
        counted = [(batch.count, *one) for one in own]
        assert [count for count, *_ in counted] == [len(labels) for _, labels in whole]
        parts.append([(inputs, labels) for _, inputs, labels in counted])
    assert len(read) == (12 if kind is ImageNet else 22)
    for (inputs, labels), *shares in zip(whole, *parts, strict=True):
        if len(labels) > 1:
            assert torch.equal(torch.cat([share[0] for share in shares]), inputs)
            assert torch.equal(torch.cat([share[1] for share in shares]), labels)
        else:
            assert all(torch.equal(share[0], inputs) for share in shares)


class Lone(Replicas):
    """One of two replicas; the other one contributes nothing."""

    def add(self, tensor: Tensor) -> None:
        pass


@pytest.mark.parametrize("rank", [0, 1])
def test_buffers_are_averaged_or_those_of_the_first_process(rank: int) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    network.register_buffer("seen", torch.tensor([3.0]))
    network.register_buffer("count", torch.tensor([5]))
    sums = GradientSum(network, Lone(rank, 2))
    loss = network(torch.arange(8.0).view(4, 2)).square().mean()
    variances = network[1].running_var.clone()
    (gradient,) = torch.autograd.grad(loss, [network[1].weight], retain_graph=True)
    assert sums.backward(loss, 0.25).item() == pytest.approx(0.25 * loss.item())
    torch.testing.assert_close(network[1].running_var, 0.25 * variances)
    torch.testing.assert_close(network[1].weight.grad, 0.25 * gradient)
    assert network.seen == (3 if rank == 0 else 0)
    assert network.count == 5


class Beside(Replicas):
    """One of two replicas; the other one gathers the same, or what is given."""

    def __init__(self, other: Tensor | None = None) -> None:
        super().__init__(0, 2)
        self.own, self.other = torch.empty(0), other

    def gather(self, tensor: Tensor) -> Tensor:
        self.own = tensor
        return torch.stack([tensor, tensor if self.other is None else self.other])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_weights_that_differ_by_a_bit_are_noticed(dtype: torch.dtype) -> None:
    def gathered(tensors: list[Tensor]) -> Tensor:
        require_equal(tensors, replica := Beside())
        return replica.own

    own = [torch.zeros(2, 3, dtype=dtype), torch.tensor([1.0, float("nan")], dtype=dtype)]
    require_equal(own, Beside(gathered([tensor.clone() for tensor in own])))
    for tensor, place, value in ((0, (0, 0), -0.0), (0, (1, 2), 1e-30), (1, (0,), 1.01)):
        other = [tensor.clone() for tensor in own]
        other[tensor][place] = value
        with pytest.raises(RuntimeError, match=r"the weights of the processes .* differ"):
            require_equal(own, Beside(gathered(other)))
    require_equal(own, ALONE)  # which has nobody to differ from


class OwnForward(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def test_layers_whose_statistics_cannot_be_shared_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), OwnForward(2))
    assert share_batch_norm(network, SharedBatch(ALONE, 8, 1), 1) is network
    with pytest.raises(ConfigurationError, match="OwnForward: its statistics cannot be shared"):
        share_batch_norm(network, SharedBatch(ALONE, 8, 2), 2)
    batch = SharedBatch(ALONE, 8, 2)
    layer = share_batch_norm(nn.BatchNorm1d(4), batch, 2)
    with pytest.raises(ConfigurationError, match="received 24 rows for 8 images"):
        layer(torch.randn(24, 4))


def test_patterns_match_the_types_of_the_network_where_other_layers_stand_for_them() -> None:
    """In the second stage, and in every other search for layers by their type."""
    group = ParameterGroup(parameters=("BatchNorm2d",), options={"weight_decay": 0.0})
    recipe = quantized(
        optimizer=replace(SGD, groups=(group,)), epochs=1, batchnorm_epochs=1, batchnorm_shards=2
    )
    run, plain = TrainingRun(recipe), TrainingRun(override(recipe, "batchnorm_shards", 1))
    assert any(isinstance(layer, SharedBatchNorm) for layer in run.model.modules())
    include = ("BatchNorm2d",)
    names = [*quantized_weights(plain.model, (), include)]
    assert "bn1.weight" in names
    assert [*quantized_weights(run.model, (), include)] == names
    assert len(list(run)) == 2
    decays = {
        sum(target.numel() for target in one["params"]): one["weight_decay"]
        for one in run.optimizer.param_groups
    }
    norms = [one for one in plain.model.modules() if isinstance(one, nn.BatchNorm2d)]
    of_norms = sum(number.numel() for one in norms for number in one.parameters())
    assert len(decays) == 2
    assert decays[of_norms] == 0
