"""GPT and ViT: their sizes, their attention, and what they are sensitive to."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantlab import ConfigurationError
from quantlab.models.transformers.block import Block
from quantlab.models.transformers.gpt import GPT
from quantlab.models.transformers.vit import ViT
from quantlab.models.weights import quantized_weights
from quantlab.tasks.dimensions import Dimensions

IMAGES = Dimensions(10, (3, 32, 32))


def text(length: int, symbols: int = 256) -> Dimensions:
    return Dimensions(symbols, (length,), torch.int64, (length,), torch.int64)


def numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("spec", "dimensions", "expected"),
    [
        (GPT(layers=2, heads=2, width=64, context=64), text(64), 119_424),
        (GPT(layers=2, heads=2, width=64, context=64, tied=False), text(64), 135_808),
        (GPT(), text(256), 10_823_424),
        (ViT(), IMAGES, 10_674_058),
        (ViT(layers=2, heads=2, width=64, pooling="class"), IMAGES, 106_954),
    ],
    ids=repr,
)
def test_numbers_of_parameters(spec: GPT | ViT, dimensions: Dimensions, expected: int) -> None:
    model = spec.build_for(dimensions)
    assert numbers(model) == expected
    blocks = 12 * spec.layers * spec.width**2
    norms = (4 * spec.layers + 2) * spec.width
    if isinstance(spec, GPT):
        symbols = dimensions.num_classes * (1 if spec.tied else 2)
        assert expected == (symbols + spec.context) * spec.width + blocks + norms
        quantized = quantized_weights(model, exclude=("head",))
    else:
        patches, places = 3 * spec.patch**2 + 1, 64 + 2 * (spec.pooling == "class")
        assert expected == (patches + places) * spec.width + blocks + norms + 10 * (spec.width + 1)
        quantized = quantized_weights(model, exclude=("head", "patches"))
    assert sum(weight.numel() for weight in quantized.values()) == blocks


@pytest.mark.parametrize("is_causal", [True, False])
def test_a_block_is_its_formula(is_causal: bool) -> None:
    torch.manual_seed(0)
    block = Block(6, 2, is_causal=is_causal).double()
    x = torch.randn(1, 4, 6, dtype=torch.float64)
    normed = F.layer_norm(x, (6,))[0]
    query, key, value = (normed @ part.T for part in block.qkv.weight.chunk(3))
    branch = []
    for place in range(4):
        seen = slice(0, place + 1 if is_causal else 4)
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            scores = torch.stack([query[place, head] @ one for one in key[seen, head]])
            shares = (scores / math.sqrt(3)).exp() / (scores / math.sqrt(3)).exp().sum()
            heads.append(shares @ value[seen, head])
        branch.append(torch.cat(heads) @ block.out.weight.T)
    after = x + torch.stack(branch)
    hidden = F.layer_norm(after, (6,)) @ block.expand.weight.T
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    torch.testing.assert_close(block(x), after + hidden @ block.contract.weight.T)


def test_a_symbol_changes_only_what_follows_it() -> None:
    torch.manual_seed(0)
    model = GPT(layers=2, heads=2, width=16, context=12, initial_std=0.2).build_for(text(10))
    first = torch.randint(256, (3, 10))
    second = first.clone()
    second[:, 6] = (second[:, 6] + 1) % 256
    one, other = model(first), model(second)
    torch.testing.assert_close(one[:, :6], other[:, :6], rtol=0, atol=0)
    assert ((one - other).abs().amax(dim=2)[:, 6:] > 1e-3).all()
    # The order matters, and so does the place.
    assert not torch.allclose(model(first.flip(1))[:, -1], one[:, -1], atol=1e-3)
    assert model(first[:, :1]).shape == (3, 1, 256)


@pytest.mark.parametrize("pooling", ["mean", "class"])
def test_every_patch_is_seen_at_its_place(pooling: str) -> None:
    torch.manual_seed(0)
    spec = ViT(layers=1, heads=2, width=16, patch=2, pooling=pooling, initial_std=0.2)
    model = spec.build_for(Dimensions(5, (1, 4, 6)))
    image = torch.randn(1, 1, 4, 6)
    before = model(image)
    assert before.shape == (1, 5)
    for row in range(4):
        for column in range(6):
            changed = image.clone()
            changed[0, 0, row, column] += 1
            assert not torch.allclose(model(changed), before, atol=1e-5)
    swapped = torch.cat([image[:, :, 2:], image[:, :, :2]], dim=2)
    assert not torch.allclose(model(swapped), before, atol=1e-5)
    with torch.no_grad():
        model.get_parameter("positions.weight").zero_()
    torch.testing.assert_close(model(swapped), model(image))


def test_initial_weights_are_those_of_gpt_2() -> None:
    torch.manual_seed(0)
    spec = GPT(layers=8, heads=2, width=64, initial_std=0.05)
    for name, parameter in spec.build_for(text(8)).named_parameters():
        if "norm" in name:
            assert torch.equal(parameter, torch.full_like(parameter, float("weight" in name)))
            continue
        ends = name.endswith(("out.weight", "contract.weight"))
        expected = 0.05 / math.sqrt(16) if ends else 0.05
        assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05), name
    assert not ViT().build_for(IMAGES).get_parameter("patches.bias").any()


def test_a_tied_head_is_the_embedding() -> None:
    tied = GPT(layers=1, heads=1, width=8, context=4).build_for(text(4))
    assert tied.get_parameter("head.weight") is tied.get_parameter("symbols.weight")
    apart = GPT(layers=1, heads=1, width=8, context=4, tied=False).build_for(text(4))
    assert apart.get_parameter("head.weight") is not apart.get_parameter("symbols.weight")


def test_inputs_may_have_other_symbols_than_targets() -> None:
    dimensions = replace(text(4, symbols=7), num_symbols=9)
    with pytest.raises(ConfigurationError, match=r"GPT\.tied = True: must be False, because .* 9"):
        GPT(layers=1, heads=1, width=8, context=4).build_for(dimensions)
    apart = GPT(layers=1, heads=1, width=8, context=4, tied=False).build_for(dimensions)
    assert apart(torch.full((2, 4), 8)).shape == (2, 4, 7)


def test_dropout_is_in_training_only() -> None:
    torch.manual_seed(0)
    model = GPT(layers=1, heads=1, width=8, context=4, dropout=0.5).build_for(text(4))
    symbols = torch.randint(256, (2, 4))
    assert not torch.equal(model(symbols), model(symbols))
    model.eval()
    assert torch.equal(model(symbols), model(symbols))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GPT(heads=5), r"GPT\.heads = 5: must divide GPT\.width = 384"),
        (lambda: ViT(layers=0), r"ViT\.layers = 0: must be"),
        (lambda: GPT(dropout=1), r"GPT\.dropout = 1: must be >= 0 and < 1"),
        (lambda: GPT(initial_std=0), r"GPT\.initial_std = 0: must be"),
        (lambda: GPT(context=0), r"GPT\.context = 0: must be"),
        (lambda: ViT(pooling="max"), r"ViT\.pooling = 'max': must be one of mean, class"),
        (lambda: GPT(context=64).build_for(text(65)), r"GPT\.context = 64: must be at least 65"),
        (lambda: GPT().build_for(IMAGES), r"GPT-6x384: inputs .* must be sequences of symbols"),
        (lambda: ViT().build_for(text(64)), r"ViT-6x384: inputs .* must be images"),
        (lambda: ViT(patch=5).build_for(IMAGES), r"ViT\.patch = 5: must divide 32 and 32"),
    ],
)
def test_wrong_sizes_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError, match=message):
        make()
