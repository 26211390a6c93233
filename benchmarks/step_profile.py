"""Time of the parts of a ResNet20 step on one thread, by torch's profiler.

    python benchmarks/step_profile.py

The method is ProxConnect with L_rho^rho on the ternary set; batch 128, channels_last, augmentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from measuring import RandomImages, benchmark_recipes, prepare, write
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from quantlab import Quantization, TrainingRun, override
from quantlab.quantizers.base import Sharpness
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT

STEPS = 10


@dataclass(frozen=True)
class Profiled(PiecewiseLinear):
    """The map, with its own name in the profile."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        with record_function("quantizer"):
            return super().prox(latent, sharpness)


@dataclass(frozen=True, kw_only=True)
class ProfiledImages(RandomImages):
    """The images, whose batches have their own name in the profile."""

    def batches(self, *args: Any, **settings: Any) -> Iterator[tuple[Tensor, Tensor]]:
        batches = super().batches(*args, **settings)
        while True:
            with record_function("data"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


PARTS = {
    "convolution": ("aten::conv2d", "ConvolutionBackward0"),
    "batch normalization": ("aten::batch_norm", "NativeBatchNormBackward0"),
    "activations": ("aten::relu_", "ReluBackward0"),
    "gradients into the flat buffer": ("torch::autograd::AccumulateGrad",),
    "optimizer (fused SGD)": ("aten::_fused_sgd_",),
    "quantizer": ("quantizer",),
    "data": ("data",),
}
"""Part -> events of the profile, none of which contains another."""


def main() -> None:
    prepare()
    recipe = benchmark_recipes(
        Quantization(rule=PROX_CONNECT, quantizer=Profiled(), sharpness=Linear(0.01))
    )["ResNet20, batch 128"]
    run = TrainingRun(override(recipe, "dataset", ProfiledImages()))
    steps = run.train(pause_steps=STEPS)
    next(steps)
    with profile(activities=[ProfilerActivity.CPU]) as trace, record_function("whole"):
        next(steps)
    events = {event.key: event for event in trace.key_averages()}
    whole = events["whole"].cpu_time_total
    shares = {
        part: sum(events[key].cpu_time_total for key in keys) / whole
        for part, keys in PARTS.items()
    }
    shares["shortcuts, loss and the rest"] = 1 - sum(shares.values())
    assert all(share > 0 for share in shares.values()), shares
    milliseconds = whole / 1e3 / STEPS
    print(f"{recipe.model.name}, batch {recipe.batch_size}: {milliseconds:.1f} ms a step")
    for part, share in shares.items():
        print(f"  {part:<44}{100 * share:>6.2f} %")
    write("step_profile", {"step_ms": milliseconds, "shares": shares})


if __name__ == "__main__":
    main()
