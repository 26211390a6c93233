"""Mirror maps: strictly monotone maps from a dual space, and the divergences that they define."""

from quantlab.mirror_maps.base import MirrorMap
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax

__all__ = ["MirrorMap", "ShiftedTanh", "Softmax"]
