"""The mirror-descent paper's Tables 1 and 5 in small: thin networks on digits, in minutes.

Every method of the paper is trained on both sets, also where its tables have no number. The
hyper-parameters are those of CIFAR-10 with the same network (Table 8 where Table 9 has no column).
816 gradient steps replace 100,000, in which Adam's published learning rates could not move a weight
from one level to the next: they are 10 times as large, but at most 0.1. They drop after the same
shares of the training. The last beta is the same, or where it scales the steps, the last product of
beta and learning rate; and so is the sum of ProxQuant's shifts.
"""

import math
from dataclasses import replace

from quantlab import Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.resnet import ResNet18
from quantlab.models.vgg import VGG16
from quantlab.papers.mirror_descent import (
    BC,
    BC_MASKED,
    EPOCHS,
    GD_TANH,
    MD_SOFTMAX,
    MD_SOFTMAX_S,
    MD_TANH,
    MD_TANH_S,
    PMF,
    PMF_AUTHORS,
    PQ,
    PQ_FLOAT,
    SEEDS,
    SETS,
    Algorithm,
    Annealing,
    recipe,
)
from quantlab.papers.mirror_descent_settings import (
    ITERATIONS,
    LR_INTERVAL,
    TERNARY_SETTINGS,
    Setting,
    published_setting,
)
from quantlab.quantization_sets import BINARY
from quantlab.schedules import ProxQuantEpochs, Staircase
from sweeps.spec import Axis, Block, SweepSpec

METHODS = (
    BC,
    BC_MASKED,
    PQ,
    PQ_FLOAT,
    PMF,
    PMF_AUTHORS,
    GD_TANH,
    MD_SOFTMAX,
    MD_TANH,
    MD_SOFTMAX_S,
    MD_TANH_S,
)
NETWORKS = {"VGG-16": VGG16(width=8), "ResNet-18": ResNet18(width=8)}
"""The thin network for each of the paper's."""
EPOCHS_IN_SMALL = 24
BATCH_SIZE = 32
STEPS = 816
"""34 steps in each of 24 epochs."""
SHARE = STEPS / ITERATIONS
FASTER, LARGEST_RATE = 10, 0.1
BETA_INTERVAL = 8
"""Least number of steps between two products of beta."""


def setting_of(method: Algorithm | None, network: str, num_levels: int) -> Setting:
    """Return the published hyper-parameters on CIFAR-10, scaled to the shorter training."""
    name = "REF" if method is None else method.settings_of or method.name
    has_ternary = name in TERNARY_SETTINGS["CIFAR-10", network]
    levels = num_levels if num_levels == 2 or has_ternary else 2
    setting = published_setting("CIFAR-10", network, name, num_levels=levels)
    if method is None:
        return setting
    rate = min(FASTER * setting.learning_rate, LARGEST_RATE)
    faster = rate / setting.learning_rate
    setting = replace(setting, learning_rate=rate)
    if setting.beta_scale is None:
        return setting
    if setting.beta_scale_interval is None:
        # The shifts are proportional to epoch and learning rate, and add up over the steps.
        longer = EPOCHS["CIFAR-10"] / EPOCHS_IN_SMALL / SHARE
        return replace(setting, beta_scale=_rounded(setting.beta_scale * longer / faster))
    interval = max(BETA_INTERVAL, round(setting.beta_scale_interval * SHARE))
    last = ITERATIONS / setting.beta_scale_interval * math.log(setting.beta_scale)
    if method.annealing is Annealing.STEP:
        last -= math.log(faster)
    scale = _rounded(math.exp(last * interval / STEPS))
    return replace(setting, beta_scale=scale, beta_scale_interval=interval)


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")


def small(method: Algorithm | None, network: str, levels: tuple[float, ...] = BINARY) -> Recipe:
    """Return an experiment of the paper in small.

    Args:
        method: the method; None for the network in full precision.
        network: one of `NETWORKS`.
        levels: the quantization set.
    """
    setting = setting_of(method, network, len(levels))
    full = recipe(method, levels, network_name=network, setting=setting)
    rate = full.optimizer.learning_rate
    assert isinstance(rate, Staircase)
    rate = replace(rate, interval=round(LR_INTERVAL * SHARE))
    quantization = full.quantization
    if method is not None and method.annealing is Annealing.REGULARIZER:
        assert quantization is not None
        assert isinstance(quantization.sharpness, ProxQuantEpochs)
        sharpness = replace(quantization.sharpness, eta=rate)
        quantization = replace(quantization, sharpness=sharpness)
    return replace(
        full,
        model=replace(NETWORKS[network], affine=method is None, initialization="xavier"),
        dataset=Digits(),
        optimizer=replace(full.optimizer, learning_rate=rate),
        quantization=quantization,
        epochs=EPOCHS_IN_SMALL,
        batch_size=BATCH_SIZE,
    )


def _block(network: str, method: Algorithm | None, set_name: str) -> Block:
    if method is None:
        return Block(f"{network} FP", method="FP", base=small(None, network))
    levels = SETS[set_name]
    return Block(
        f"{network} {set_name} {method.name}",
        method=method.name,
        base=small(method, network, levels),
        axes=(Axis("set", "quantization.quantizer.levels", {set_name: levels}),),
    )


SWEEP = SweepSpec(
    name="mirror_descent_smoke",
    description="The mirror-descent paper's Tables 1 and 5 in small: thin networks on digits",
    blocks=(
        *(_block(network, None, "") for network in NETWORKS),
        *(
            _block(network, method, set_name)
            for network in NETWORKS
            for set_name in SETS
            for method in METHODS
        ),
    ),
    seeds=SEEDS,
)
