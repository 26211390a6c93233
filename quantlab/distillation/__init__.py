"""Distillation: training towards the outputs of another network."""

from quantlab.distillation.settings import Distillation

__all__ = ["Distillation"]
