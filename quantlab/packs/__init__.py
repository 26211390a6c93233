"""Packs: several recipes trained as one stacked network, each as if it were alone."""

from quantlab.packs.run import PackedRun, PackEvent

__all__ = ["PackEvent", "PackedRun"]
