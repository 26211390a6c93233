"""Methods on a byte-level GPT of 10.8 million parameters, for a GPU.

A GPT of 6 blocks learns the source code of Python's standard library. The settings are those with
which GPTs of this size are trained on small texts: AdamW with beta_2 = 0.95, a weight decay of 0.1
except on layer normalization, a rate of 1e-3 that is warmed up and follows a cosine, and gradients
of a norm of at most 1. 5,000 steps of 64 windows are 9 passes over the text.

Every method quantizes the linear layers of the blocks to ternary weights; embeddings, layer
normalization and the head, which has the weights of the embedding, stay in full precision. After
hard quantization, only these are trained. Each method is trained end to end, and by fine-tuning
from the network in full precision of the same seed.

A convolution is followed by batch normalization, which cancels the scale of its weights. Nothing
does this here, so that the levels stand at s {-1, 0, 1} with the constant s = sqrt(2 / fan-in), and
in BitNet b1.58 at those of the mean absolute weight. rho0 is in the unit of the set.

The values of rho0 are chosen as in `digits`: ProxConnect's rho_t makes its map the projector at
about the end, in the middle, and after a quarter of the QUANTIZE epochs (it ends at 1, 2 and 4
half-gaps), and ProxQuant's shifts add up to about 0.8, 8 and 80. beta of MD-tanh-s ends at the
values of `methods`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from quantlab import OptimizerSpec, ParameterGroup, Quantization, Recipe
from quantlab.datasets.text.standard_library import StandardLibrary
from quantlab.models.transformers.gpt import GPT
from quantlab.papers.mirror_descent import MD_TANH_S
from quantlab.papers.mirror_descent_settings import Setting
from quantlab.papers.proxconnect import BC, PC, PQ
from quantlab.papers.scaled_methods import BITNET
from quantlab.quantization_sets import TERNARY
from quantlab.scales.fan_in import FanIn
from quantlab.schedules import Cosine, Schedule
from quantlab.tasks.language_modelling import LanguageModelling
from sweeps.spec import Axis, Block, SweepSpec

PYTHON = StandardLibrary(
    python="3.11.7",
    sha256="642d4a4cf8c9456a",
    length=256,
    validation_images=1000,
    test_images=1000,
)
"""The text of the grids."""


@dataclass(frozen=True, kw_only=True)
class Ternary:
    """How the methods quantize a network in full precision."""

    full_precision: Recipe
    """Recipe whose stages together have as many epochs as those of the methods."""
    batchnorm_epochs: int
    """Number of epochs after hard quantization."""
    exclude: tuple[str, ...]
    """Layers in full precision."""
    rho0: Mapping[str, tuple[float, ...]]
    """Method -> its values of rho0; for MD-tanh-s the factors by which beta grows."""
    beta_interval: int
    """Number of gradient steps between two products of beta."""
    fine_tuning_rate: Schedule
    """Learning rate of fine-tuning."""

    def quantizations(self) -> dict[str, dict[str, Quantization]]:
        """Return method -> label of its rho0 -> quantization; the label is "" without rho0."""
        found: dict[str, dict[str, Quantization]] = {}
        for method in (BC, PC, PQ):
            found[method.name] = {
                "" if rho0 is None else f"{rho0:g}": replace(
                    method.quantization(TERNARY, rho0, self.exclude), scale=FanIn()
                )
                for rho0 in self.rho0.get(method.name, (None,))
            }
        found[MD_TANH_S.name] = {
            f"{factor:g}": replace(
                MD_TANH_S.quantization(
                    TERNARY,
                    Setting(1.0, beta_scale=factor, beta_scale_interval=self.beta_interval),
                    exclude=self.exclude,
                ),
                scale=FanIn(),
            )
            for factor in self.rho0[MD_TANH_S.name]
        }
        bitnet = BITNET.quantization(
            len(TERNARY),
            learning_rate=self.full_precision.optimizer.learning_rate,
            epochs=self.full_precision.epochs - self.batchnorm_epochs,
            exclude=self.exclude,
        )
        return found | {BITNET.name: {"": bitnet}}

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks: full precision first, then both regimes."""
        own = self.full_precision.optimizer
        tuned = replace(own, learning_rate=self.fine_tuning_rate)
        starts: dict[str, tuple[Recipe | None, OptimizerSpec]] = {
            "end-to-end": (None, own),
            "fine-tuning": (self.full_precision, tuned),
        }
        return (
            Block("FP", base=self.full_precision),
            *(
                self._block(f"{regime} {method}", method, values, *start)
                for regime, start in starts.items()
                for method, values in self.quantizations().items()
            ),
        )

    def _block(
        self,
        label: str,
        method: str,
        values: Mapping[str, Quantization],
        starts_from: Recipe | None,
        optimizer: OptimizerSpec,
    ) -> Block:
        first, *others = values.values()
        base = replace(
            self.full_precision,
            optimizer=optimizer,
            quantization=first,
            epochs=self.full_precision.epochs - self.batchnorm_epochs,
            batchnorm_epochs=self.batchnorm_epochs,
        )
        axes = [Axis("rho0", "quantization", values)] if others else []
        axes.append(Axis("set", "quantization.quantizer.levels", {"ternary": TERNARY}))
        return Block(label, method=method, base=base, axes=tuple(axes), starts_from=starts_from)


def adamw(learning_rate: Schedule) -> OptimizerSpec:
    """Return AdamW as GPTs are trained with it.

    Args:
        learning_rate: the learning rate.
    """
    return OptimizerSpec(
        algorithm=torch.optim.AdamW,
        learning_rate=learning_rate,
        options={"betas": (0.9, 0.95), "weight_decay": 0.1},
        clip_norm=1.0,
        groups=(ParameterGroup(parameters=("LayerNorm",), options={"weight_decay": 0.0}),),
    )


FULL_PRECISION = Recipe(
    model=GPT(layers=6, heads=6, width=384, context=256),
    dataset=PYTHON,
    optimizer=adamw(Cosine(1e-3, epochs=50, warmup_epochs=1)),
    epochs=50,
    steps_per_epoch=100,
    batch_size=64,
    task=LanguageModelling(),
)

SWEEP = SweepSpec(
    name="bytes_gpt",
    description="Ternary GPT-6x384 on the bytes of Python's standard library, both regimes",
    blocks=Ternary(
        full_precision=FULL_PRECISION,
        batchnorm_epochs=10,
        exclude=("head",),
        rho0={
            "PC": (0.0125, 0.025, 0.05),
            "PQ": (1e-5, 1e-4, 1e-3),
            "MD-tanh-s": (1.035, 1.07, 1.18),
        },
        beta_interval=40,
        fine_tuning_rate=Cosine(5e-4, epochs=50, warmup_epochs=1),
    ).blocks(),
    seeds=(0, 1, 2),
)
