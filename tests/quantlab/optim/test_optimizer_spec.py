"""OptimizerSpec refuses what torch's optimizers refuse, and nothing else."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from quantlab import ConfigurationError, OptimizerSpec

ALGORITHMS = [
    kind
    for kind in vars(torch.optim).values()
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": -1},
    {"momentum": 0.9, "nesterov": True, "dampening": 0.1},
    {"weight_decay": 1e-4},
    {"weight_decay": -1e-4},
    {"betas": (0.9, 0.99)},
    {"betas": (2, 0.99)},
    {"eps": -1},
    {"eps": "small"},
    {"maximize": True},
    {"capturable": True},
    {"fused": True},
    {"fused": True, "foreach": True},
    {"fused": True, "differentiable": True},
    {"initial_accumulator_value": 0.1},
    {"initial_accumulator_value": -0.1},
    {"etas": (2, 3)},
    {"nonsense": 1},
]


def weights_for(algorithm: type[Optimizer]) -> list[nn.Parameter]:
    """A parameter that an optimizer of torch takes: Muon takes matrices only."""
    return [nn.Parameter(torch.zeros((1, 1) if algorithm.__name__ == "Muon" else 1))]


def defaults_of(algorithm: type[Optimizer], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The defaults of an optimizer of torch; None if it refuses its arguments."""
    with suppress(Exception):
        return algorithm(weights_for(algorithm), lr=0.1, **options).defaults  # type: ignore[call-arg]
    return None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_options_are_refused_exactly_if_torch_refuses_them(algorithm: type[Optimizer]) -> None:
    for options in OPTIONS:
        expected = defaults_of(algorithm, options)
        if expected is None:
            with pytest.raises(ConfigurationError, match=r"OptimizerSpec\.options = "):
                OptimizerSpec(algorithm=algorithm, learning_rate=0.1, options=options)
        else:
            spec = OptimizerSpec(algorithm=algorithm, learning_rate=0.1, options=options)
            built = spec.build(weights_for(algorithm))
            assert isinstance(built, algorithm)
            assert built.defaults == expected


def test_an_optimizer_of_the_users_is_tried_as_it_is() -> None:
    class Picky(torch.optim.SGD):
        def add_param_group(self, param_group: dict[str, Any]) -> None:
            if param_group.get("momentum", self.defaults["momentum"]) > 0.5:
                raise ValueError("too much momentum")
            super().add_param_group(param_group)

    assert OptimizerSpec(algorithm=Picky, learning_rate=0.1, options={"momentum": 0.5})
    with pytest.raises(ConfigurationError, match="it raised: too much momentum"):
        OptimizerSpec(algorithm=Picky, learning_rate=0.1, options={"momentum": 0.9})
