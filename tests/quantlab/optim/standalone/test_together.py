"""ProxOptimizer with torch.compile, with several processes, and what it refuses."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from quantlab import ConfigurationError, ProxOptimizer, Quantization, WeightGroup
from quantlab.optim.bop import Bop
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.update_rules import PROX_CONNECT
from tests.forked import PROCESSES
from tests.quantlab.optim.standalone.loops import (
    CONNECTED,
    STEPS,
    Net,
    are_equal,
    batches,
    loss_of,
    prox,
    train,
)
from tests.quantlab.optim.standalone.shares import (
    WITHOUT_HEAD,
    other_share,
    share_of,
)


def test_two_processes_with_half_a_batch_each_equal_one(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    other = PROCESSES.Process(target=other_share, args=(store, tmp_path / "answer"))
    other.start()
    weights = share_of(0, store)
    other.join(60)
    assert other.exitcode == 0
    alone = Net().double()
    train(alone, prox(alone, WITHOUT_HEAD), [batch.double() for batch in batches(5)])
    for name, value in torch.load(tmp_path / "answer").items():
        assert torch.equal(value, weights[name])
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-9, atol=1e-12)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path / "alone"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.filterwarnings("ignore:FSDP is switching")
def test_sharded_weights_are_refused() -> None:
    model = Net()
    ours = prox(model)
    fully_shard(model, mesh=dist.init_device_mesh("cpu", (1,)))
    with pytest.raises(ConfigurationError, match=r"weight: is a DTensor.*DistributedDataParallel"):
        prox(model)
    with pytest.raises(ConfigurationError, match=r"first\.weight: is no longer a parameter"):
        ours.step()
    with pytest.raises(ConfigurationError, match="model: is sharded by FullyShardedDataParallel"):
        prox(FullyShardedDataParallel(Net(), device_id=torch.device("cpu")))


@pytest.mark.usefixtures("process_group")
def test_processes_that_start_from_other_weights_are_noticed() -> None:
    """DistributedDataParallel writes the weights of the first process over those of the others."""
    model = Net()
    ours = prox(model)
    with torch.no_grad():
        for parameter, own in zip(model.parameters(), Net(seed=1).parameters(), strict=True):
            dist.broadcast(parameter.copy_(own), src=0)
    with pytest.raises(ConfigurationError, match=r"was overwritten.*broadcast the model's weights"):
        ours.step()


def test_compiled_networks_and_steps_are_those_of_eager_ones() -> None:
    torch._dynamo.reset()
    model, other = Net(), Net()
    compiled = torch.compile(model, backend="eager")
    ours, reference = prox(compiled, WITHOUT_HEAD), prox(other, WITHOUT_HEAD)
    assert list(ours.levels()) == ["first.weight", "second.weight"]
    step = torch.compile(ours.step, backend="eager")
    for inputs in batches(4):
        ours.zero_grad()
        loss_of(compiled, inputs).backward()
        step()
    train(other, reference, batches(4))
    assert are_equal(model, other)


def test_several_networks_and_shared_weights() -> None:
    """A weight that layers share is one parameter; ids of a copy are not those of the original."""
    model = Net()
    model.second.weight = model.first.weight
    ours = prox(model)
    assert list(ours.levels()) == ["first.weight", "head.weight"]
    twin, other = copy.deepcopy((model, ours))
    train(model, ours, batches(3))
    train(twin, other, batches(3))
    assert are_equal(model, twin)
    assert twin.second.weight is twin.first.weight


def test_frozen_weights_stay_as_they_are() -> None:
    model = Net()
    model.first.requires_grad_(False)
    before = copy.deepcopy(model.first)
    chosen = prox(model)
    train(model, chosen, batches(2))
    groups = [{"params": [p for p in model.parameters() if p.dim() == 2], "quantized": True}]
    said = ProxOptimizer(groups, torch.optim.SGD, CONNECTED, steps_per_epoch=STEPS, lr=0.1)
    train(model, said, batches(2))
    assert torch.equal(model.first.weight, before.weight)
    assert len(chosen.levels()) == len(said.levels()) == 2
    with pytest.raises(ConfigurationError, match="taken over by another optimizer"):
        chosen.step()


def test_sparse_gradients_are_refused() -> None:
    model = nn.Sequential(nn.Embedding(4, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2))
    quantization = Quantization(
        rule=PROX_CONNECT, quantizer=Nearest(TERNARY), include=("0.weight",)
    )
    ours = prox(model, quantization, torch.optim.SGD)
    model(torch.tensor([[0, 1]])).sum().backward()
    with pytest.raises(ConfigurationError, match=r"^0\.weight: has a sparse gradient"):
        ours.step()


def test_bop_flips_the_weights_of_a_group_and_adam_trains_the_rest() -> None:
    model = Net()
    ours = prox(model, Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY)), Bop)
    before = model.first.weight.detach().clone()
    bias = model.first.bias.detach().clone()
    train(model, ours, batches(6))
    assert set(model.first.weight.flatten().tolist()) == {-1, 1}
    assert not torch.equal(before, model.first.weight)
    assert not torch.equal(bias, model.first.bias)


def refusals() -> dict[str, tuple[Any, str]]:
    quantized = {"quantized": True}
    patterns = Quantization(
        rule=PROX_CONNECT,
        quantizer=Nearest(BINARY),
        groups=(WeightGroup(layers=("head",), quantizer=Nearest(TERNARY)),),
    )

    def build(params: Any = None, quantization: Any = CONNECTED, **options: Any) -> Any:
        net = Net()
        given = {"algorithm": torch.optim.SGD, "steps_per_epoch": 1, "lr": 0.1} | options
        made = params(net) if callable(params) else [*net.parameters()]
        return lambda: ProxOptimizer(made, quantization=quantization, **given)

    def of(**entries: Any) -> Any:
        return lambda net: [{"params": [net.first.weight], **entries}]

    return {
        "no group is quantized": (build(), "no parameter is quantized; add 'quantized': True"),
        "an entry that is no boolean": (build(of(quantized=1)), r"\['quantized'\] = 1: must be"),
        "a map of a group in full precision": (
            build(of(quantizer=Nearest())),
            r"\['quantizer'\] = Nearest.*add 'quantized': True",
        ),
        "a map that is none": (
            build(of(quantizer=3, **quantized)),
            r"^param_groups\[0\]: WeightGroup\.quantizer = 3",
        ),
        "patterns without a network": (build(quantization=patterns), "model = None: must be"),
        "entries beside a network": (
            build(of(**quantized), model=Net()),
            r"\['quantized'\] = True: is not allowed with model",
        ),
        "a weight in no group": (
            lambda: prox(net := Net(), params=[net.first.weight]),
            "params: has no second.weight, which the quantization chooses",
        ),
        "two weights of a name": (
            build(
                lambda net: [
                    {"params": [("w", net.first.weight), ("w", net.head.weight)], **quantized}
                ]
            ),
            "two quantized weights have the name w",
        ),
        "no class": (build(algorithm="SGD"), "algorithm = 'SGD': must be a class of torch.optim"),
        "no quantization": (build(quantization=None), "quantization = None: must be a"),
        "no number of steps": (build(steps_per_epoch=0), "steps_per_epoch = 0: must be a whole"),
        "no network": (build(model=3), "model = 3: must be a torch.nn.Module"),
        "a lazy layer": (
            lambda: prox(nn.Sequential(nn.LazyLinear(3))),
            r"^0\.weight: has no values yet; call the network once",
        ),
        "a layer without memory": (
            lambda: prox(nn.Sequential(nn.Linear(2, 2, device="meta"))),
            r"^0\.weight: is on the device meta",
        ),
    }


@pytest.mark.parametrize("name", refusals())
def test_wrong_arguments_are_refused_in_one_line(name: str) -> None:
    build, message = refusals()[name]
    with pytest.raises(ConfigurationError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
