"""Parameters of any layer, quantized by pattern: embeddings, attention, tied weights and others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, Recipe, TrainingRun, WeightGroup
from quantlab.export import load, save
from quantlab.models import ModelSpec
from quantlab.models.external.any_module import AnyModule
from quantlab.models.he_scales import HeScales
from quantlab.models.learned_scales import LearnedScales
from quantlab.models.weights import group_of_weights, quantized_weights
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.tasks.dimensions import Dimensions
from quantlab.tasks.language_modelling import LanguageModelling
from sweeps.planning.parameter_notes import full_precision_note, quantized_note
from sweeps.planning.preflight import check_without_data
from sweeps.spec import Block, SweepSpec
from tests.quantlab.packs.test_packs import alone, assert_alike, packed
from tests.quantlab.recipes import quantized
from tests.quantlab.tasks.test_tasks import recipe as recipe_of

TEXT = Dimensions(7, (8,), torch.int64, (8,))


class Attention(nn.Module):
    """A language model whose last layer has the weight of its embedding."""

    def __init__(self, num_classes: int, width: int = 8, dtype: Any = torch.float64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, width)
        self.position = nn.Parameter(torch.randn(8, width))
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.smooth = nn.ConvTranspose1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, num_classes, bias=False)
        self.head.weight = self.embedding.weight
        self.to(dtype)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text) + self.position
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.smooth(x.transpose(1, 2)).transpose(1, 2)
        logits: Tensor = self.head(x.tanh())
        return logits


def single(num_classes: int) -> nn.Module:
    return Attention(num_classes, dtype=torch.float32)


MODEL = AnyModule(Attention)
FURTHER = ("MultiheadAttention", "ConvTranspose1d", "position")


def recipe(**options: Any) -> Recipe:
    found = recipe_of(LanguageModelling())
    assert found.quantization is not None
    return replace(found, model=MODEL, quantization=replace(found.quantization, **options))


def test_types_of_modules_and_names_select_parameters() -> None:
    model = Attention(7)
    assert list(quantized_weights(model)) == ["attention.out_proj.weight", "head.weight"]
    assert list(quantized_weights(model, (), FURTHER)) == [
        "attention.out_proj.weight",
        "head.weight",
        "attention.in_proj_weight",
        "smooth.weight",
        "position",
    ]
    embedding = quantized_weights(model, ("head", "*out_proj"), ("position",))
    assert list(embedding) == ["position"]
    with pytest.raises(
        ConfigurationError, match=r"'LSTM' matches no further parameter; must match"
    ):
        quantized_weights(model, (), ("LSTM",))


def test_a_tied_weight_is_quantized_counted_and_stored_once(tmp_path: Path) -> None:
    own = replace(recipe(include=FURTHER), model=AnyModule(single), batchnorm_epochs=0)
    run = TrainingRun(own)
    assert all(record.train_loss > 0 for record in run)
    final, outcome = run.final_weights(), run.outcome()
    weight = final["head.weight"]
    assert len(weight.unique()) <= 3
    assert torch.equal(weight, final["embedding.weight"])
    # The weights once (7 x 8, 8 x 8, 3 x 64, 3 x 64 and 64); 40 biases in full precision.
    sizes, bits = 56 + 64 + 192 + 192 + 64, torch.tensor(3.0).log2().item()
    assert sum(group.latent.numel() for group in run.optimizer.groups) == sizes
    assert outcome.network_bits == pytest.approx((sizes * bits + 32 * 40) / (sizes + 40))
    file = save(tmp_path / "net", own, final, dimensions=run.dimensions)
    assert "head.weight" not in file.coded
    assert sum(coded.num_weights for coded in file.coded.values()) == sizes
    state = load(tmp_path / "net", into=single(7)).state_dict()
    assert state.keys() == final.keys()
    assert all(torch.equal(state[name], value) for name, value in final.items())


def test_groups_name_a_tied_weight_by_either_layer_but_not_by_two() -> None:
    model = Attention(7)
    for layer in ("embedding", "head", "Embedding", "Linear", "e*"):
        found = group_of_weights(model, (), [["*out_proj"], [layer]])
        assert found == {"attention.out_proj.weight": 0, "head.weight": 1}
    assert group_of_weights(model, (), [["head", "embedding"]])["head.weight"] == 0
    with pytest.raises(
        ConfigurationError,
        match=r"groups: head and embedding share one weight, .*; put both into one group",
    ):
        group_of_weights(model, (), [["embedding"], ["head"]])


def test_a_group_may_name_parameters_of_a_layer() -> None:
    model = Attention(7)
    places = group_of_weights(model, (), [["*in_proj_weight"], ["position"]], FURTHER)
    assert {name for name, place in places.items() if place == 0} == {"attention.in_proj_weight"}
    assert {name for name, place in places.items() if place == 1} == {"position"}


def test_packs_are_lone_runs() -> None:
    recipes = []
    for seed, levels in enumerate((BINARY, TERNARY)):
        group = WeightGroup(layers=("embedding",), quantizer=PiecewiseLinear(levels))
        recipes.append(replace(recipe(include=FURTHER, groups=(group,)), seed=seed))
    for found, expected in zip(packed(recipes), map(alone, recipes), strict=True):
        assert_alike(found, expected, 1e-9)


def test_scales_refuse_layers_that_are_not_called() -> None:
    for kind in (HeScales, LearnedScales):
        with pytest.raises(
            ConfigurationError, match=rf"{kind.__name__}: attention\.out_proj has no output"
        ):
            kind(base=MODEL).build_for(TEXT)
        kind(base=MODEL, exclude=("*out_proj",)).build_for(TEXT)


class Odd(nn.Module):
    """Weights that are not quantized for every reason."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(3)])
        self.frozen = nn.Linear(width, 2)
        self.frozen.weight.requires_grad_(False)
        self.computed = nn.utils.parametrizations.weight_norm(nn.Linear(width, 3))
        self.complex = nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))
        self.table = nn.Embedding(5, 2)
        self.register_buffer("counts", torch.zeros(3, 3, dtype=torch.int64))


def test_it_is_said_by_name_what_is_quantized_and_why_the_rest_is_not() -> None:
    base = recipe(exclude=("computed", "blocks.2")).quantization
    assert quantized_note(Odd(), base) == (
        "32 weights are quantized: blocks.*.weight (2 tensors, 32)"
    )
    assert full_precision_note(Odd(), base) == (
        "53 of 85 weights stay in full precision: complex, which cannot be quantized: complex (4); "
        "in quantization.exclude: blocks.2.weight (16); frozen by the model: frozen.weight (8); "
        "parts of a computed weight, which cannot be quantized itself: "
        "computed.parametrizations.weight.original* (2 tensors, 15); not of a convolution or "
        "linear layer (name them in quantization.include to quantize them): table.weight (10)"
    )


def test_what_cannot_be_quantized_is_refused_in_a_line() -> None:
    with pytest.raises(ConfigurationError, match=r"computed\.weight: is computed by a parametriz"):
        quantized_weights(Odd())
    with pytest.raises(ConfigurationError, match=r"^complex: has complex numbers and cannot be qu"):
        quantized_weights(Odd(), ("computed",), ("complex",))
    with pytest.raises(
        ConfigurationError,
        match=r"Embedding has no convolution or linear layer .* which are weight, or set quant",
    ):
        quantized_weights(nn.Embedding(3, 2))
    with pytest.raises(
        ConfigurationError, match=r"ReLU has no .* which are \(there are none\), or"
    ):
        quantized_weights(nn.ReLU())


def cells(model: ModelSpec, **changes: Any) -> Any:
    base = quantized(model=model, **changes)
    return SweepSpec(name="one", base=base, blocks=(Block("block"),), seeds=(0,)).cells


def wide(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2 * num_classes))


def narrow(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(60, num_classes))


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def nothing(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Tanh())


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (wide, r"model wide: Sequential\.forward returned shape \(2, 20\)"),
        (
            narrow,
            r"model narrow: a step with SGD on inputs of shape \(1, 8, 8\) raised RuntimeError",
        ),
        (lazy, r"model lazy: the parameter 1\.weight of a LazyLinear has no shape after build"),
        (nothing, r"model nothing: quantization: Sequential has no convolution or linear layer"),
    ],
)
def test_what_does_not_fit_is_said_before_training(function: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        check_without_data(cells(AnyModule(function)))
    assert "\n" not in str(refusal.value)


def test_a_plan_names_the_parameters() -> None:
    assert check_without_data(cells(AnyModule(wide_enough))) == [
        "wide_enough: 640 weights are quantized: 1.weight (640)"
    ]


def wide_enough(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
