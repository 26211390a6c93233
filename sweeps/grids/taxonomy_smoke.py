"""The comparison of `taxonomy` in small: the protocol of `methods_smoke`, in minutes."""

from sweeps.grids.methods_smoke import SMOKE
from sweeps.grids.taxonomy import Annealing, taxonomy_blocks
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="taxonomy_smoke",
    description="Every method x binary, ternary x seed, one setting each: a ConvNet on digits",
    # The strengths of PQ-Ternary and those of PQ add up to about 8 over 510 steps.
    blocks=taxonomy_blocks(SMOKE, Annealing(mu0=1.0, prox_quant_rate=0.04, bop_adaptivity=0.1)),
    base=SMOKE.base,
    seeds=(0, 1, 2),
)
