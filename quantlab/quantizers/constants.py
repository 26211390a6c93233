"""Constants as tensors, under the module's earlier name, for users' files."""

from quantlab.quantization_sets import constant

__all__ = ["constant"]
