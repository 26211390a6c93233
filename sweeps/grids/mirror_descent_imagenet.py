"""The mirror-descent paper's ImageNet experiments: Tables 3 and 4, with the settings of Table 11.

Table 3 has three of the rows of Table 4, and the network in full precision. Each is trained once,
as in the paper.
"""

from quantlab.papers.mirror_descent_imagenet import TABLE_4, Ablation, imagenet
from sweeps.spec import Block, SweepSpec


def _block(row: Ablation | None) -> Block:
    start = "pretrained" if row is not None and row.pretrained else "scratch"
    name = "FP" if row is None else row.name
    return Block(f"{name} {start}", method=name, base=imagenet(row))


SWEEP = SweepSpec(
    name="mirror_descent_imagenet",
    description="The mirror-descent paper's Tables 3 and 4: binary ResNet-18 on ImageNet",
    experiment="mirror_descent",
    blocks=tuple(_block(row) for row in (None, *TABLE_4)),
    seeds=(0,),
)
