"""Networks of sequences in packs: each equals the lone network, or is refused."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, override
from quantlab.models import ModelSpec
from quantlab.packs import PackedRun
from quantlab.packs.network import Stacking
from quantlab.packs.stacking import choose_stacking
from quantlab.tasks.language_modelling import LanguageModelling
from tests.quantlab.packs.test_packs import alone, assert_alike, packed
from tests.quantlab.tasks.test_tasks import recipe

LENGTH = 8


class Attending(nn.Module):
    """Attention with a mask of booleans, a number without axes, and tied weights."""

    def __init__(self, num_symbols: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(num_symbols, 6)
        self.inner = nn.Linear(6, 18)
        self.scale = nn.Parameter(torch.tensor(0.4))
        self.head = nn.Linear(6, num_symbols, bias=False)
        self.head.weight = self.symbols.weight
        self.register_buffer("seen", torch.ones(LENGTH, LENGTH).tril().bool())

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.symbols(symbols)
        query, key, value = self.inner(x).chunk(3, dim=2)
        match = self.scale * query @ key.transpose(1, 2)
        match = match.masked_fill(~self.get_buffer("seen"), -torch.inf)
        found: Tensor = self.head(x + match.softmax(dim=2) @ value)
        return found


class Centred(nn.Module):
    """Subtracts a running mean, which its outputs depend on in training, too."""

    def __init__(self, num_symbols: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(num_symbols, 6)
        self.head = nn.Linear(6, num_symbols)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("limit", torch.tensor([torch.inf]))

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.symbols(symbols)
        mean = self.get_buffer("mean")
        if self.training:
            mean.mul_(0.9).add_(x.detach().mean(dim=(0, 1)), alpha=0.1)
        found: Tensor = self.head((x - mean).cumsum(dim=1).minimum(self.get_buffer("limit")))
        return found


class Embedded(nn.Module):
    """A table with options of torch's, some of which a stack of tables does not have."""

    def __init__(self, num_symbols: int, **options: Any) -> None:
        super().__init__()
        self.symbols = nn.Embedding(num_symbols, 6, **options)
        self.head = nn.Linear(6, num_symbols)

    def forward(self, symbols: Tensor) -> Tensor:
        found: Tensor = self.head(self.symbols(symbols).cumsum(dim=1))
        return found


@dataclass(frozen=True)
class Network(ModelSpec):
    kind: type[nn.Module]

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return self.kind(num_classes).double()


@pytest.mark.parametrize("kind", [Attending, Centred])
def test_members_are_trained_as_alone(kind: type[nn.Module]) -> None:
    own = override(recipe(LanguageModelling()), "quantization.include", ("symbols.weight",))
    own = replace(own, model=Network(kind), epochs=2)
    members = [replace(own, seed=0), override(own, "quantization.sharpness.rho0", 0.5)]
    for found, member in zip(packed(members), members, strict=True):
        assert_alike(found, alone(member), 1e-10)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("options", [{"padding_idx": 2}, {"max_norm": 0.5}, {"sparse": True}])
def test_tables_that_a_stack_would_train_otherwise_are_refused(options: dict[str, Any]) -> None:
    """Of several stacked tables, the one row of padding is that of the first."""
    assert choose_stacking(Embedded(7), (LENGTH,), 7) is Stacking.VMAP
    network = Embedded(7, **options)
    before = network.symbols.weight.clone()
    with pytest.raises(ConfigurationError, match="Embedded gives different results in a stack"):
        choose_stacking(network, (LENGTH,), 7)
    assert torch.equal(network.symbols.weight, before)


def test_a_pack_of_sequences_goes_on_bit_for_bit() -> None:
    own = replace(recipe(LanguageModelling()), model=Network(Attending), epochs=2)
    members = [own, replace(own, seed=1)]
    whole, first, second = (PackedRun(members) for _ in range(3))
    for _ in whole:
        pass
    training = first.train(pause_steps=2)
    for _ in range(2):
        next(training)
    for run, stopped in zip(second.members, first.members, strict=True):
        assert run.position == (0, 0)
        run.load_state_dict(stopped.state_dict())
        assert run.position == (0, 4)
    for _ in second:
        pass
    for run, other in zip(second.members, whole.members, strict=True):
        weights = other.final_weights()
        assert all(torch.equal(own, weights[name]) for name, own in run.final_weights().items())
