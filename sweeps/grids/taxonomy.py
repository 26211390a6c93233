"""All methods on the binary and the ternary set, each with one setting, with their properties.

`sweeps taxonomy` prints the properties of the methods, as in Table 1 of the ProxConnect paper; this
grid says how accurate they are. The protocol is that of `methods`: the ProxConnect paper's
end-to-end training of ResNet20 on CIFAR-10 with SGD. Unlike there, methods whose levels come from
the weights or are learned take part, and nothing is selected: a method with a number of its own has
the middle one of the values in `methods`. Bop has its own optimizer, whose rates drop after each
fifth of the epochs, as in its paper; together they are those of the paper, relative to the number
of steps.
"""

from dataclasses import dataclass, replace
from functools import partial

from quantlab import Quantization, Recipe
from quantlab.papers import bop
from quantlab.papers.quantized_nets import R_ADAM, SR_SGD, RoundingMethod
from quantlab.papers.scaled_methods import (
    BITNET,
    BWN,
    LSBQ,
    LSBQ_PROX_CONNECT,
    PARETO_Q,
    PARQ,
    PQ_TERNARY,
    TTQ,
    TWN,
    ScaledMethod,
)
from quantlab.papers.taxonomy import binary_relax
from quantlab.schedules import Constant, Schedule, StepDecay
from sweeps.grids.methods import PROTOCOL, SETS, Entry, Protocol, entries
from sweeps.spec import Axis, Block, SweepSpec

SCALED = (BWN, TWN, TTQ, PQ_TERNARY, LSBQ, LSBQ_PROX_CONNECT, PARQ, PARETO_Q, BITNET)
"""Methods with scales that have a binary or a ternary set. LSQ has sets of integers only."""


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """Numbers of the methods that are not in `methods`."""

    mu0: float
    """mu of BinaryRelax at step 0."""
    prox_quant_rate: float
    """Rate of PQ-Ternary, with which its strengths add up to about those of PQ."""
    bop_adaptivity: float
    """Adaptivity rate of Bop at step 0, 50 over the number of steps. In its paper, it is 1e-4 in
    500,000 steps."""


def middle(values: tuple[float, ...]) -> float | None:
    """Return the middle of some values; None if there are none."""
    return values[len(values) // 2] if values else None


def taxonomy_entries(protocol: Protocol, annealing: Annealing) -> tuple[Entry, ...]:
    """Return all methods, none of which has a number left to choose."""
    rho0 = middle(protocol.numbers["PC"])
    assert rho0 is not None
    return (
        *(
            replace(entry, make=partial(_with_number, entry, middle(entry.numbers)), numbers=())
            for entry in entries(protocol)
        ),
        Entry("SR", partial(_rounding, SR_SGD)),
        Entry("R", partial(_rounding, R_ADAM)),
        Entry("BinaryRelax", partial(_binary_relax, annealing.mu0)),
        *(
            Entry(
                method.name,
                partial(_scaled, method, protocol.base.epochs, rho0, annealing.prox_quant_rate),
                sets=tuple(
                    name
                    for name, levels in SETS.items()
                    if any(len(own) == len(levels) for own in method.sets)
                ),
            )
            for method in SCALED
        ),
    )


def _with_number(
    entry: Entry,
    chosen: float | None,
    levels: tuple[float, ...],
    number: float | None,
    learning_rate: Schedule,
) -> Quantization:
    return entry.make(levels, chosen, learning_rate)


def _rounding(
    method: RoundingMethod,
    levels: tuple[float, ...],
    number: float | None,
    learning_rate: Schedule,
) -> Quantization:
    return method.quantization(levels, exclude=())


def _binary_relax(
    mu0: float, levels: tuple[float, ...], number: float | None, learning_rate: Schedule
) -> Quantization:
    return binary_relax(levels, mu0)


def _scaled(
    method: ScaledMethod,
    epochs: int,
    rho0: float,
    rate: float,
    levels: tuple[float, ...],
    number: float | None,
    learning_rate: Schedule,
) -> Quantization:
    return method.quantization(
        len(levels), learning_rate=learning_rate, epochs=epochs, rho0=rho0, rate=rate
    )


def taxonomy_blocks(protocol: Protocol, annealing: Annealing) -> tuple[Block, ...]:
    """Return a block for every method, full precision first."""
    base = replace(protocol.base, optimizer=protocol.optimizers["SGD"])
    found = [Block("FP", base=base)]
    for entry in taxonomy_entries(protocol, annealing):
        made = {
            name: entry.make(SETS[name], None, base.optimizer.learning_rate) for name in entry.sets
        }
        start = replace(
            base,
            quantization=made[entry.sets[0]],
            batchnorm_epochs=protocol.batchnorm_epochs,
        )
        found.append(Block(entry.name, base=start, axes=(Axis("set", "quantization", made),)))
    return (*found, _bop(base, protocol.batchnorm_epochs, annealing.bop_adaptivity))


def _bop(base: Recipe, batchnorm_epochs: int, adaptivity: float) -> Block:
    rate = 0.01  # Adam's, as published
    drops = tuple(round(base.epochs * fifths / 5) for fifths in range(1, 5))
    quantization = bop.quantization(StepDecay(adaptivity / rate, milestones=drops))
    start = replace(
        base,
        optimizer=bop.optimizer(Constant(rate)),
        quantization=quantization,
        batchnorm_epochs=batchnorm_epochs,
    )
    return Block("Bop", base=start, axes=(Axis("set", "quantization", {"binary": quantization}),))


SWEEP = SweepSpec(
    name="taxonomy",
    description="Every method x binary, ternary x seed, one setting each: ResNet20 on CIFAR-10",
    # The rate and the strengths of PQ add up to about 8 and 7 over 70,400 steps.
    blocks=taxonomy_blocks(PROTOCOL, Annealing(mu0=1.0, prox_quant_rate=4e-5, bop_adaptivity=7e-4)),
    base=PROTOCOL.base,
    seeds=(0, 1, 2),
)
