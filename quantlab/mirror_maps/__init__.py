"""Mirror maps: strictly monotone maps from a dual space, and the divergences that they define."""

from quantlab.mirror_maps.base import MirrorMap

__all__ = ["MirrorMap"]
