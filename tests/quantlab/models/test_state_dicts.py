"""State dicts in the formats of other programs."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from quantlab import ConfigurationError
from quantlab.initial_weights import WeightsFile
from quantlab.models.convnet import ConvNet
from quantlab.models.resnet import ResNet
from quantlab.models.state_dicts import fit_weights, load_weights

State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ConvNet(width=2).build(num_classes=3, num_channels=1)


STATE: State = network(1).state_dict()


def prefixed(prefix: str, state: State = STATE) -> State:
    return {prefix + name: value for name, value in state.items()}


def loads(content: object, tmp_path: Path, entry: str = "") -> bool:
    file = tmp_path / "weights.pt"
    torch.save(content, file)
    model = network()
    load_weights(model, file, entry)
    return all(torch.equal(value, STATE[name]) for name, value in model.state_dict().items())


COMPILED_INSIDE = {name.replace("conv2.", "conv2._orig_mod."): v for name, v in STATE.items()}
AVERAGED = {"n_averaged": torch.tensor(3), **prefixed("module.")}
OLD = {name: value for name, value in STATE.items() if "num_batches_tracked" not in name}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        COMPILED_INSIDE,
        prefixed("model.", COMPILED_INSIDE),
        AVERAGED,
        OLD,
        prefixed("module.", OLD),
        {"state_dict": prefixed("model.")},
        {"state_dict": prefixed("net._orig_mod."), "hyper_parameters": {"lr": 0.1}},
        {"model": STATE, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        {"model_state_dict": STATE, "optimizer_state_dict": {"state": {}, "param_groups": []}},
        {"model": STATE, "teacher": {"weight": torch.ones(2)}},
    ],
    ids=lambda content: " ".join(map(str, content))[:40],
)
def test_wrappers_and_prefixes_are_understood(content: Any, tmp_path: Path) -> None:
    assert loads(content, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({**prefixed("module."), "extra.weight": torch.ones(1)}, r"unknown, 'module\.|'extra"),
        (prefixed("model"), r"17 keys are missing, 'conv1\.weight' first"),
        ({"conv1.weight": STATE["conv1.weight"]}, r"keys are missing, 'bn1\.weight' first"),
        (
            STATE | {"linear.bias": torch.ones(5)},
            r"'linear\.bias' has shape \(5,\), must have \(3,\)",
        ),
        ({"state_dict": STATE, "state_dict_ema": STATE}, r"fit \('state_dict', 'state_dict_ema'\)"),
        ({"model": STATE, "model_ema": AVERAGED}, r"fit \('model', 'model_ema'\).*\.entry"),
        ({"epoch": 3}, r"must contain a state dict, but contains 'epoch'"),
        ([1, 2], r"must contain a state dict, but contains a list"),
        (network(), r"objects of quantlab\.models\.convnet\._ConvNet.* not unpickled"),
    ],
    ids=lambda content: str(type(content).__name__),
)
def test_what_does_not_fit_or_is_ambiguous_is_named(
    content: Any, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        loads(content, tmp_path)
    assert "\n" not in str(raised.value)


def test_an_entry_can_be_named(tmp_path: Path) -> None:
    content = {"state_dict": prefixed("module."), "state_dict_ema": network(2).state_dict()}
    assert loads(content, tmp_path, "state_dict")
    assert not loads(content, tmp_path, "state_dict_ema")
    with pytest.raises(ConfigurationError, match=r"'ema'; .* one of 'state_dict', 'state_dict_ema"):
        loads(content, tmp_path, "ema")
    torch.save(content, tmp_path / "weights.pt")
    model = network()
    WeightsFile("weights.pt", entry="state_dict").load(model, tmp_path, lambda _: tmp_path)
    assert torch.equal(model.get_parameter("linear.weight"), STATE["linear.weight"])
    with pytest.raises(ConfigurationError, match=r"WeightsFile\.entry = 3: must be text"):
        WeightsFile("weights.pt", entry=3)  # type: ignore[arg-type]


def test_bad_weight_files_are_named(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(ConfigurationError, match="the file does not exist"):
        load_weights(model, tmp_path / "none.th")
    file = tmp_path / "bad.safetensors"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigurationError, match=r"not a readable checkpoint"):
        load_weights(model, file)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigurationError, match=r"does not fit _ConvNet: .*key"):
        fit_weights(model, ResNet(depth=8).build(num_classes=10, num_channels=3).state_dict(), "it")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_last_layer_of_other_classes_is_skipped(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        others = ConvNet(width=2).build(num_classes=7, num_channels=1).state_dict()
    headless = {name: value for name, value in others.items() if "linear" not in name}
    for state in (
        others,
        prefixed("module.", others),
        headless,
        prefixed("model.", headless),
        {"state_dict": prefixed("model.", headless), "epoch": 3},
        {"model": others, "args": {}},
    ):
        torch.save(state, tmp_path / "net.pt")
        model = network()
        before = model.get_parameter("linear.weight").clone()
        with pytest.raises(ConfigurationError, match=r"does not fit _ConvNet: .*linear"):
            WeightsFile("net.pt").load(model, tmp_path, lambda _: tmp_path)
        WeightsFile("net.pt", skip=("linear.*",)).load(model, tmp_path, lambda _: tmp_path)
        assert torch.equal(model.get_parameter("conv3.weight"), others["conv3.weight"])
        assert torch.equal(model.get_parameter("linear.weight"), before)
    with pytest.raises(ConfigurationError, match=r"skip has 'fc\.\*', which matches nothing in _C"):
        WeightsFile("net.pt", skip=("fc.*",)).load(model, tmp_path, lambda _: tmp_path)
    with pytest.raises(ConfigurationError, match=r"WeightsFile\.skip = 'fc': must be a sequence"):
        WeightsFile("net.pt", skip="fc")  # type: ignore[arg-type]


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "net.safetensors")
    model = network()
    WeightsFile("net.safetensors").load(model, tmp_path, lambda _: tmp_path)
    assert all(torch.equal(value, STATE[name]) for name, value in model.state_dict().items())
