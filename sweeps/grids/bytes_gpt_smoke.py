"""The comparison of `bytes_gpt` in small: a GPT of 2 blocks, in minutes on two CPU cores.

The network has 119,424 parameters, of which 98,304 are quantized, and sees 64 bytes. 800 steps of
32 windows are 1.6 million of the 9 million bytes of the text. The values of rho0 have the same
meaning as in `bytes_gpt`, in 600 steps instead of 4,000.
"""

from dataclasses import replace

from quantlab.models.transformers.gpt import GPT
from quantlab.schedules import Cosine
from sweeps.grids.bytes_gpt import FULL_PRECISION, PYTHON, Ternary, adamw
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="bytes_gpt_smoke",
    description="Ternary GPT-2x64 on the bytes of Python's standard library, both regimes",
    blocks=Ternary(
        full_precision=replace(
            FULL_PRECISION,
            model=GPT(layers=2, heads=2, width=64, context=64, initial_std=0.1),
            dataset=replace(PYTHON, length=64, validation_images=400, test_images=400),
            optimizer=adamw(Cosine(1e-2, epochs=8, warmup_epochs=1)),
            epochs=8,
            batch_size=32,
        ),
        batchnorm_epochs=2,
        exclude=("head",),
        rho0={
            "PC": (0.07, 0.14, 0.28),
            "PQ": (3e-4, 3e-3, 3e-2),
            "MD-tanh-s": (1.035, 1.07, 1.18),
        },
        beta_interval=6,
        fine_tuning_rate=Cosine(5e-3, epochs=8, warmup_epochs=1),
    ).blocks(),
    seeds=(0, 1, 2),
)
