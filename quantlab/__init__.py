"""Training of quantized networks by proximal maps. The package needs no orchestration."""

from quantlab.canonical import canonical_json, configuration_id, fingerprint, flatten
from quantlab.errors import ConfigurationError, MemoryExhaustedError, NonFiniteLossError
from quantlab.execution import Execution
from quantlab.export.trial import load_trial
from quantlab.initial_weights import InitialWeights
from quantlab.optim import ProxOptimizer
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
