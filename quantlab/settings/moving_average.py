"""MovingAverage: the exponential moving average of a network's weights."""

from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import require_count, require_number


@dataclass(frozen=True, kw_only=True)
class MovingAverage:
    """The exponential moving average a of the weights z, which takes their place in the end.

    After every gradient step, a becomes d a + (1 - d) z. It begins as the weights at the first step
    of epoch `start_epoch`, and in the second stage as those at its beginning. The averaged network
    is evaluated, selected and stored, and training goes on from z. The z of a quantized weight are
    its latents, and those of a scale are the numbers that it has learned, so that the map is
    applied to averaged latents. Running statistics of batch normalization, and other
    floating-point buffers, are averaged in the same way. Source: B. T. Polyak and A. B. Juditsky
    (1992), in the exponential form that is common for networks.
    """

    decay: float
    """The decay d, >= 0 and < 1, such as 0.999. With 0, the average is the weights themselves."""
    start_epoch: int = 0
    """First epoch, counted from 0, whose steps are averaged. Before, the average is the weights."""

    def __post_init__(self) -> None:
        decay = float(require_number(self, "decay"))
        if decay >= 1:
            raise ConfigurationError(
                f"MovingAverage.decay = {brief(self.decay)}: must be a number >= 0 and < 1"
            )
        object.__setattr__(self, "decay", decay)
        require_count(self, "start_epoch", 0)
