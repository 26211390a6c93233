"""What ProxOptimizer keeps: state dicts, copies, and the weights that the model has."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from quantlab import ConfigurationError, Point, ProxOptimizer, Quantization
from quantlab.backward_maps import ClippedIdentity
from quantlab.mirror_maps.softmax import Softmax
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.mixture import RandomChoice
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging
from quantlab.scales.least_squares import LeastSquares
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT
from tests.quantlab.optim.standalone.loops import CONNECTED, Net, are_equal, batches, prox, train

KINDS = {
    "ProxConnect": CONNECTED,
    "ProxQuant": Quantization(rule=PROX_QUANT, quantizer=PiecewiseLinear(TERNARY)),
    "gradient at latents": Quantization(rule=REVERSE_PROX_CONNECT, quantizer=PiecewiseLinear()),
    "random map": Quantization(rule=PROX_CONNECT, quantizer=StochasticRounding()),
    "random map from its images": Quantization(rule=PROX_QUANT, quantizer=StochasticRounding()),
    "random map beside latents": Quantization(
        rule=REVERSE_PROX_CONNECT, quantizer=StochasticRounding()
    ),
    "random choice in rows": Quantization(
        rule=PROX_CONNECT, quantizer=RandomChoice(), scale=LeastSquares(every=3), pull=0.2
    ),
    "lifted": Quantization(
        rule=PROX_CONNECT, quantizer=Softmax(TERNARY), sharpness=Linear(1.0), pull=0.1
    ),
    "learned numbers": Quantization(
        rule=PROX_CONNECT, quantizer=Nearest(TERNARY), scale=TrainedTernary(per="channel")
    ),
    "kept levels": Quantization(
        rule=PROX_QUANT,
        quantizer=PiecewiseLinear(TERNARY),
        backward=ClippedIdentity(),
        scale=LeastSquares(per="channel", every=4),
    ),
    "averaged": Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(TERNARY),
        sharpness=Constant(0.1),
        averaging=Averaging(start_epoch=1),
        step_scale=0.5,
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def scheduled(ours: ProxOptimizer) -> CosineAnnealingLR:
    return CosineAnnealingLR(ours, T_max=9)


@every_kind
def test_a_resumed_run_is_bit_for_bit_that_of_an_uninterrupted_one(kind: str) -> None:
    model, resumed = Net(), Net(seed=1)
    ours, fresh = prox(model, KINDS[kind]), prox(resumed, KINDS[kind], lr=0.5)
    scheduler = scheduled(ours)
    for inputs in batches(5):
        train(model, ours, [inputs])
        scheduler.step()
    file = io.BytesIO()
    torch.save([model.state_dict(), ours.state_dict(), scheduler.state_dict()], file)
    random = torch.get_rng_state()
    train(model, ours, batches(4, seed=1))
    file.seek(0)
    weights, state, rates = torch.load(file, weights_only=True)
    resumed.load_state_dict(weights)
    fresh.load_state_dict(state)
    scheduled(fresh).load_state_dict(rates)
    torch.set_rng_state(random)
    train(resumed, fresh, batches(4, seed=1))
    assert are_equal(model, resumed)
    points = [Point.LATENT, Point.HARD, *([Point.AVERAGED] if kind == "averaged" else [])]
    for point in points:
        with ours.weights_at(point), fresh.weights_at(point):
            assert are_equal(model, resumed)


@every_kind
def test_writing_the_weights_that_are_there_changes_nothing(kind: str) -> None:
    """DistributedDataParallel and load_state_dict write them. No numbers are drawn again."""
    found = []
    for writes in (False, True):
        torch.manual_seed(0)
        model = Net()
        ours = prox(model, KINDS[kind])
        for inputs in batches(5):
            for _ in range(2 * writes):
                model.load_state_dict(copy.deepcopy(model.state_dict()))
            train(model, ours, [inputs])
        found.append((model, ours, torch.get_rng_state()))
    (model, _, random), (other, ours, other_random) = found
    assert torch.equal(random, other_random)
    assert are_equal(model, other)
    other.load_state_dict(Net(seed=1).state_dict())
    if ours.rule.gradient_at is Point.PROXIMAL:
        with pytest.raises(ConfigurationError, match=r"was overwritten"):
            ours.step()


def test_an_optimizer_returns_to_a_state_from_before_its_average_began() -> None:
    model = Net()
    ours = prox(model, KINDS["averaged"])
    train(model, ours, batches(1))
    state, weights = copy.deepcopy(ours.state_dict()), copy.deepcopy(model.state_dict())
    assert all(group.average is None for group in ours.groups)
    train(model, ours, batches(8, seed=1))
    assert all(group.average is not None for group in ours.groups)
    expected = copy.deepcopy(model)
    model.load_state_dict(weights)
    ours.load_state_dict(state)
    assert all(group.average is None for group in ours.groups)
    train(model, ours, batches(8, seed=1))
    assert are_equal(model, expected)


@pytest.mark.parametrize("wrong", ["latent", "proximal", "average"])
def test_a_state_that_is_refused_changes_nothing(wrong: str) -> None:
    model = Net()
    ours = prox(model, KINDS["averaged"])
    train(model, ours, batches(8))
    state = copy.deepcopy(ours.state_dict())
    entries = [of for of in state["state"].values() if wrong in of]
    entries[-1][wrong] = torch.zeros(1)
    train(model, ours, batches(2, seed=1))
    before = copy.deepcopy((model, ours.state_dict()["state"]))
    with pytest.raises(ConfigurationError, match=f"must have a tensor '{wrong}' of"):
        ours.load_state_dict(state)
    assert are_equal(model, before[0])
    for key, of in before[1].items():
        found = ours.state_dict()["state"][key]
        assert all(torch.equal(found[own], value) for own, value in of.items())


@every_kind
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["deep", "pickle"]
)
def test_a_copy_of_model_and_optimizer_trains_on_alone(
    kind: str, copied: Callable[[Any], Any]
) -> None:
    model = Net()
    ours = prox(model, KINDS[kind])
    scheduled(ours)  # which puts its own method in place of step
    train(model, ours, batches(4))
    twin, other = copied((model, ours))
    before = copy.deepcopy(model)
    random = torch.get_rng_state()
    train(twin, other, batches(4, seed=1))
    assert are_equal(model, before)
    torch.set_rng_state(random)
    train(model, ours, batches(4, seed=1))
    assert are_equal(model, twin)
    assert not are_equal(model, before)


@pytest.mark.parametrize("kind", ["ProxConnect", "learned numbers"])
def test_distributed_checkpoints_have_its_state_by_name(kind: str, tmp_path: Path) -> None:
    model, resumed = Net(), Net(seed=1)

    def groups(of: Net) -> list[dict[str, Any]]:
        others = [parameter for name, parameter in of.named_parameters() if name != "head.weight"]
        return [{"params": [of.head.weight], "lr": 0.01}, {"params": others}]

    ours = prox(model, KINDS[kind], params=groups(model))
    fresh = prox(resumed, KINDS[kind], params=groups(resumed), lr=0.5)
    train(model, ours, batches(4))
    weights, state = copy.deepcopy(get_state_dict(model, ours))
    assert "latent" in state["state"]["first.weight"]
    train(model, ours, batches(3, seed=1))
    set_state_dict(resumed, fresh, model_state_dict=weights, optim_state_dict=state)
    train(resumed, fresh, batches(3, seed=1))
    assert are_equal(model, resumed)
    assert ours.param_groups[1]["lr"] == fresh.param_groups[1]["lr"] == 0.02


def test_hooks_are_called_as_in_torch() -> None:
    said: list[str] = []
    model = Net()
    ours = prox(model)
    ours.register_step_pre_hook(lambda *_: said.append("before the step"))
    ours.register_step_post_hook(lambda *_: said.append("after the step"))
    ours.register_state_dict_pre_hook(lambda _: said.append("before saving"))
    ours.register_state_dict_post_hook(lambda _, state: {**state, "note": 1})
    ours.register_load_state_dict_pre_hook(lambda _, state: said.append(str(state["note"])))
    ours.register_load_state_dict_post_hook(lambda _: said.append("after loading"))
    train(model, ours, batches(1))
    ours.load_state_dict(ours.state_dict())
    assert said == ["before the step", "after the step", "before saving", "1", "after loading"]


def test_the_state_of_a_parameter_is_read_as_in_torch() -> None:
    model = Net()
    ours = prox(model)
    train(model, ours, batches(2))
    with ours.weights_at(Point.LATENT):
        assert torch.equal(ours.state[model.first.weight]["latent"], model.first.weight)
    assert ours.state[model.first.weight]["exp_avg"].shape == model.first.weight.shape
    assert set(ours.state[model.first.bias]) == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("scale", [None, LeastSquares(per="channel")])
def test_an_average_of_latents_is_quantized(scale: Any) -> None:
    quantization = Quantization(
        rule=PROX_CONNECT, quantizer=PiecewiseLinear(TERNARY), sharpness=Linear(0.02), scale=scale
    )
    model = Net()
    ours = prox(model, quantization)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    by_hand = None
    for inputs in batches(5):
        train(model, ours, [inputs])
        with ours.weights_at(Point.LATENT):
            average.update_parameters(model)
            latent = model.first.weight.detach().clone()
        by_hand = latent if by_hand is None else 0.5 * by_hand + 0.5 * latent
    assert by_hand is not None
    torch.testing.assert_close(average.module.first.weight, by_hand)
    expected = average.module.first.weight.detach().clone()
    ours.project(average.module)
    placed = expected if scale is None else scale.place(expected, TERNARY, None)
    hard = Nearest(TERNARY).hard(expected) if scale is None else placed.nearest(expected, TERNARY)
    assert torch.equal(average.module.first.weight, hard)
    with ours.weights_at(Point.LATENT):
        hardened = copy.deepcopy(model)
    ours.project(hardened)
    with ours.weights_at(Point.HARD):
        assert are_equal(model, hardened)


def test_validation_sees_hard_weights_and_training_goes_on() -> None:
    model, other = Net(), Net()
    ours, reference = prox(model), prox(other)
    for inputs in batches(4):
        train(model, ours, [inputs])
        train(other, reference, [inputs])
        model.eval()
        with torch.no_grad(), ours.weights_at(Point.HARD):
            assert set(model.first.weight.flatten().tolist()) <= set(TERNARY)
        model.train()
    assert are_equal(model, other)
    ours.harden()
    assert set(model.first.weight.flatten().tolist()) <= set(TERNARY)
    assert not model.first.weight.requires_grad
    with pytest.raises(ConfigurationError, match=r"first\.weight: is no longer.*harden"):
        ours.step()


def test_weights_that_others_change_are_noticed() -> None:
    model = Net()
    ours = prox(model)
    train(model, ours, batches(2))
    model.load_state_dict(model.state_dict())  # the same values, as DistributedDataParallel writes
    train(model, ours, batches(1))
    model.load_state_dict(Net(seed=1).state_dict())
    with pytest.raises(ConfigurationError, match=r"first\.weight: was overwritten.*state dict"):
        ours.step()
    model = Net()
    ours = prox(model)
    model.double()
    with pytest.raises(ConfigurationError, match=r"first\.weight: is no longer.*model\.to"):
        ours.step()
    model = Net().double()
    train(model, prox(model), [batch.double() for batch in batches(2)])


def test_latents_that_the_model_has_may_be_loaded() -> None:
    model, other = Net(), Net(seed=1)
    quantization = Quantization(rule=REVERSE_PROX_CONNECT, quantizer=PiecewiseLinear(TERNARY))
    ours = prox(model, quantization, SGD)
    model.load_state_dict(other.state_dict())
    train(model, ours, batches(3))
    train(other, prox(other, quantization, SGD), batches(3))
    assert are_equal(model, other)


def test_a_state_of_another_optimizer_is_refused() -> None:
    model = Net()
    ours = prox(model)
    train(model, ours, batches(1))
    state = ours.state_dict()
    of_adam = Adam(Net().parameters()).state_dict()
    other = Net()
    one_each = [{"params": [parameter]} for parameter in other.parameters()]
    for wrong, message in (
        (of_adam, "no number of steps"),
        ({**state, "state": {}}, "'latent' of.*first.weight.*has none"),
        (
            prox(other, params=one_each).state_dict(),
            r"groups of \[1, .* has \[8\]",
        ),
    ):
        with pytest.raises(ConfigurationError, match=message):
            ours.load_state_dict(wrong)
    excluding = Quantization(
        rule=PROX_CONNECT, quantizer=PiecewiseLinear(TERNARY), exclude=("head",)
    )
    with pytest.raises(ConfigurationError, match=r"latent weights of param_groups\[0\]\[6\]"):
        prox(Net(), excluding).load_state_dict(state)
