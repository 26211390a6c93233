"""Every method of both papers and the newer ones under one protocol, which no paper did.

The protocol is the ProxConnect paper's end-to-end training of ResNet20 on CIFAR-10 (B.1.5): random
weights, 200 epochs, hard quantization, and 100 epochs of batch normalization. Every method has both
papers' optimizers, SGD and Adam, each with the same learning rates.

The axis ``rho0`` has the one number that a method leaves to its user, and which the report selects
on validation images: rho0 of PQ, rPC and PC, the factor by which beta grows in mirror descent, and
the number of a newer method (see `quantlab.papers.newer_methods`). Each such method has three
values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.papers import proxconnect
from quantlab.papers.mirror_descent import (
    GD_TANH,
    MD_SOFTMAX,
    MD_SOFTMAX_S,
    MD_TANH,
    MD_TANH_S,
    PMF,
    PMF_AUTHORS,
    Algorithm,
)
from quantlab.papers.mirror_descent_settings import Setting
from quantlab.papers.newer_methods import NEWER_METHODS, NewerMethod
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.schedules import Schedule
from quantlab.update_rules import POST_TRAINING
from sweeps.spec import Axis, Block, SweepSpec

MIRROR_DESCENT = (MD_TANH, MD_TANH_S, MD_SOFTMAX, MD_SOFTMAX_S, GD_TANH, PMF, PMF_AUTHORS)
"""Methods with an annealed beta. BC, PQ and PQ* of that paper are the ProxConnect paper's methods
with other settings."""
SETS: Mapping[str, tuple[float, ...]] = {"binary": BINARY, "ternary": TERNARY}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all methods have in common."""

    base: Recipe
    """Recipe in full precision, whose optimizer is replaced."""
    batchnorm_epochs: int
    """Number of epochs after hard quantization."""
    optimizers: Mapping[str, OptimizerSpec]
    steps_per_epoch: int
    beta_interval: int
    """Number of gradient steps between two products of beta."""
    beta_scales: tuple[float, ...]
    """Factors by which beta grows."""
    numbers: Mapping[str, tuple[float, ...]]
    """Values of the number of each other method that has one."""
    normal_map_rho0: float
    """rho0 of the normal map, whose own number is gamma."""


@dataclass(frozen=True)
class Entry:
    """A method in this comparison."""

    name: str
    make: Callable[[tuple[float, ...], float | None, Schedule], Quantization]
    """Makes its quantization from a set, a number and the learning rate."""
    numbers: tuple[float, ...] = ()
    """Values of its number; none if it has no number."""
    sets: tuple[str, ...] = tuple(SETS)


def entries(protocol: Protocol) -> tuple[Entry, ...]:
    """Return all methods."""
    mirror = partial(_of_mirror_descent, protocol)
    newer = partial(_of_newer, protocol)
    numbers = protocol.numbers
    return (
        Entry("PTQ", _post_training),
        *(
            Entry(method.name, partial(_of_proxconnect, method), numbers.get(method.name, ()))
            for method in proxconnect.METHODS
        ),
        *(
            Entry(method.name, partial(mirror, method), protocol.beta_scales)
            for method in MIRROR_DESCENT
        ),
        *(
            Entry(
                method.name,
                partial(newer, method),
                numbers.get(method.name, ()),
                ("binary",) if method.binary else tuple(SETS),
            )
            for method in NEWER_METHODS
        ),
    )


def _post_training(
    levels: tuple[float, ...], number: float | None, learning_rate: Schedule
) -> Quantization:
    return Quantization(rule=POST_TRAINING, quantizer=Nearest(levels))


def _of_proxconnect(
    method: proxconnect.Method,
    levels: tuple[float, ...],
    number: float | None,
    learning_rate: Schedule,
) -> Quantization:
    return method.quantization(levels, number)


def _of_mirror_descent(
    protocol: Protocol,
    method: Algorithm,
    levels: tuple[float, ...],
    number: float | None,
    learning_rate: Schedule,
) -> Quantization:
    """Return the method with its published annealing; the learning rate is the protocol's."""
    unused = 1.0
    setting = Setting(unused, beta_scale=number, beta_scale_interval=protocol.beta_interval)
    return method.quantization(levels, setting)


def _of_newer(
    protocol: Protocol,
    method: NewerMethod,
    levels: tuple[float, ...],
    number: float | None,
    learning_rate: Schedule,
) -> Quantization:
    return method.quantization(
        levels,
        number,
        learning_rate=learning_rate,
        epochs=protocol.base.epochs,
        steps_per_epoch=protocol.steps_per_epoch,
        rho0=protocol.normal_map_rho0,
    )


def blocks(protocol: Protocol) -> tuple[Block, ...]:
    """Return the blocks of all methods with all optimizers, full precision first."""
    return tuple(
        block
        for name, optimizer in protocol.optimizers.items()
        for block in (
            _full_precision(protocol, name, optimizer),
            *(_block(protocol, entry, name, optimizer) for entry in entries(protocol)),
        )
    )


def _full_precision(protocol: Protocol, name: str, optimizer: OptimizerSpec) -> Block:
    return Block(
        f"FP {name}",
        method="FP",
        base=protocol.base,
        axes=(Axis("optimizer", "optimizer", {name: optimizer}),),
    )


def _block(protocol: Protocol, entry: Entry, name: str, optimizer: OptimizerSpec) -> Block:
    rate = optimizer.learning_rate
    numbers = entry.numbers or (None,)
    first = SETS[entry.sets[0]]
    made = {number: entry.make(first, number, rate) for number in numbers}
    maps = {one: entry.make(SETS[one], numbers[0], rate).quantizer for one in entry.sets}
    axes = [Axis("optimizer", "optimizer", {name: optimizer})]
    if entry.numbers:
        values = {f"{number:g}": quantization for number, quantization in made.items()}
        axes.append(Axis("rho0", "quantization", values))
    axes.append(Axis("set", "quantization.quantizer", maps))
    base = replace(
        protocol.base,
        optimizer=optimizer,
        quantization=made[numbers[0]],
        batchnorm_epochs=protocol.batchnorm_epochs,
    )
    return Block(f"{entry.name} {name}", method=entry.name, base=base, axes=tuple(axes))


PROTOCOL = Protocol(
    base=proxconnect.cifar10_full_precision(),
    batchnorm_epochs=100,
    optimizers={"SGD": proxconnect.CIFAR10_SGD, "Adam": proxconnect.CIFAR10_ADAM_DECAYED},
    steps_per_epoch=352,
    beta_interval=200,
    beta_scales=(1.01, 1.02, 1.05),  # beta ends at 33, 1,100 and 3e7
    numbers={
        **proxconnect.CIFAR10_END_TO_END_RHO0,
        "BNN+": (2.0, 5.0, 10.0),
        "BNN++": (0.5, 1.0, 2.0),
        "ReSTE": (2.0, 3.0, 5.0),
        "normal map": (1.0, 10.0, 100.0),
        "CAGE": (0.1, 1.0, 10.0),
    },
    normal_map_rho0=0.01,
)

SWEEP = SweepSpec(
    name="methods",
    description="Every method under one protocol: ResNet20 on CIFAR-10, end to end",
    blocks=blocks(PROTOCOL),
    seeds=proxconnect.SEEDS,
)
