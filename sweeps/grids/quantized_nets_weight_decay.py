"""Figure 7 of "Training Quantized Nets": VGG-BC with and without weight decay.

The figure shows BC-ADAM. SR-ADAM is trained as well, because H.4 says that weight decay cannot
shrink its weights. The trials without weight decay are those of `quantized_nets`.
"""

from quantlab.papers.quantized_nets import BC_ADAM, SEEDS, SR_ADAM, WEIGHT_DECAY, recipe
from sweeps.spec import Axis, Block, SweepSpec

DECAYS = Axis("weight_decay", "optimizer.options.weight_decay", (0.0, WEIGHT_DECAY))

SWEEP = SweepSpec(
    name="quantized_nets_weight_decay",
    description="Training Quantized Nets, Figure 7: BC-ADAM and SR-ADAM with and without decay",
    experiment="quantized_nets",
    blocks=tuple(
        Block(
            f"VGG-BC {method.name}",
            method=method.name,
            base=recipe(method, "CIFAR-10", "VGG-BC"),
            axes=(DECAYS,),
        )
        for method in (BC_ADAM, SR_ADAM)
    ),
    seeds=SEEDS,
)
