"""A trial that is killed with SIGKILL again and again ends as if it had never been interrupted."""

import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from quantlab import Quantization, Recipe, fingerprint
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.digits import Digits
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from sweeps.storage import Storage, TrialState
from sweeps.worker.trial import run_trial
from tests.forked import PROCESSES
from tests.quantlab.recipes import ADAM, quantized
from tests.sweeps.trial_hash import trial_hash

KILLS = 15 if "QUANTLAB_CHAOS" in os.environ else 3
"""At least, for each recipe; and until one is within an epoch."""

AUGMENTED = Digits(
    train_images=600, validation_images=100, augmentation=CropFlip(padding=1, flip=True)
)
RECIPES = {
    "annealed and averaged": Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(),
        sharpness=Linear(0.05),
        averaging=Averaging(start_epoch=1),
    ),
    "stochastic rounding": Quantization(rule=PROX_QUANT, quantizer=StochasticRounding()),
}


def train(recipe: Recipe, root: Path) -> None:
    """In a process of its own; it saves at every pause, so within epochs too."""
    folder = Storage(root).trial(fingerprint(recipe))
    run_trial(recipe, folder, data_dir=root, checkpoint_seconds=0)


@pytest.mark.slow
@pytest.mark.parametrize("quantization", RECIPES.values(), ids=RECIPES)
def test_sigkill_at_random_moments_changes_nothing(
    quantization: Quantization, tmp_path: Path
) -> None:
    recipe = quantized(
        dataset=AUGMENTED,
        optimizer=ADAM,
        quantization=quantization,
        epochs=3,
        batchnorm_epochs=2,
        batch_size=8,
    )

    def start(root: Path) -> BaseProcess:
        process = PROCESSES.Process(target=train, args=(recipe, root))
        process.start()
        return process

    start(tmp_path / "warm-up").join()
    began = time.monotonic()
    start(tmp_path / "whole").join()
    seconds = time.monotonic() - began
    whole = Storage(tmp_path / "whole").trial(fingerprint(recipe))
    assert whole.state() is TrialState.COMPLETE
    expected = trial_hash(whole)

    moments = random.Random(0)
    kills, ended, cut_within_an_epoch = 0, 0, False
    while (is_to_kill := kills < KILLS or not cut_within_an_epoch) or not ended:
        folder = Storage(tmp_path / f"killed-{ended}").trial(fingerprint(recipe))
        process = start(folder.path.parents[1])
        process.join(timeout=moments.uniform(0, seconds) if is_to_kill else None)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            if folder.checkpoint.exists():
                state = torch.load(folder.checkpoint, weights_only=True)["state"]
                cut_within_an_epoch |= state["epoch_in_progress"] is not None
        else:
            assert folder.state() is TrialState.COMPLETE
            assert trial_hash(folder) == expected
            ended += 1
