"""Packs: several recipes that are trained as one stacked network."""

from quantlab.packs.run import PackedRun, PackEvent

__all__ = ["PackEvent", "PackedRun"]
