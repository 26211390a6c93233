"""Training of quantized networks by proximal maps. The package needs no orchestration.

Its names are imported when they are used, because torch takes seconds to import, and part of the
`sweeps` command does not need it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantlab.canonical import canonical_json, configuration_id, fingerprint, flatten
    from quantlab.errors import ConfigurationError, MemoryExhaustedError, NonFiniteLossError
    from quantlab.execution import Execution
    from quantlab.export.trial import load_trial
    from quantlab.initial_weights import InitialWeights
    from quantlab.optim.standalone.prox_optimizer import ProxOptimizer
    from quantlab.quantizers import Quantizer
    from quantlab.recipe import (
        Averaging,
        Distillation,
        MovingAverage,
        OptimizerSpec,
        ParameterGroup,
        Quantization,
        Recipe,
        WeightGroup,
        override,
    )
    from quantlab.schedules import Schedule
    from quantlab.training.records import EpochRecord, Outcome, Stage
    from quantlab.training.run import TrainingRun
    from quantlab.update_rules import Point, UpdateRule

_HOMES = {
    "canonical": "canonical_json configuration_id fingerprint flatten",
    "errors": "ConfigurationError MemoryExhaustedError NonFiniteLossError",
    "execution": "Execution",
    "export.trial": "load_trial",
    "initial_weights": "InitialWeights",
    "optim.standalone.prox_optimizer": "ProxOptimizer",
    "quantizers": "Quantizer",
    "recipe": "Averaging Distillation MovingAverage OptimizerSpec ParameterGroup Quantization "
    "Recipe WeightGroup override",
    "schedules": "Schedule",
    "training.records": "EpochRecord Outcome Stage",
    "training.run": "TrainingRun",
    "update_rules": "Point UpdateRule",
}
"""Module -> its names that are names of the package, as above, where type checkers read them."""

__all__ = [
    "Averaging",
    "ConfigurationError",
    "Distillation",
    "EpochRecord",
    "Execution",
    "InitialWeights",
    "MemoryExhaustedError",
    "MovingAverage",
    "NonFiniteLossError",
    "OptimizerSpec",
    "Outcome",
    "ParameterGroup",
    "Point",
    "ProxOptimizer",
    "Quantization",
    "Quantizer",
    "Recipe",
    "Schedule",
    "Stage",
    "TrainingRun",
    "UpdateRule",
    "WeightGroup",
    "canonical_json",
    "configuration_id",
    "fingerprint",
    "flatten",
    "load_trial",
    "override",
]


def __getattr__(name: str) -> Any:
    """Import a name, or a module of the package, when it is used first."""
    for home, names in _HOMES.items():
        if name in names.split():
            globals()[name] = value = getattr(import_module(f"{__name__}.{home}"), name)
            return value
    module = f"{__name__}.{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
