"""MNIST-1D: the package's own signals, no traces in global generators, alone and in a pack."""

import hashlib
import random
import sys
from dataclasses import replace
from pathlib import Path

import mnist1d.data
import numpy as np
import pytest
import torch

from quantlab import ConfigurationError, TrainingRun
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.signals.mnist1d import MNIST1D
from quantlab.models.convnet import SignalConvNet
from quantlab.packs import PackedRun
from quantlab.packs.network import Stacking
from tests.quantlab.recipes import quantized

NOWHERE = Path("unused")


def test_signals_are_those_of_the_package_whose_seeds_leave_no_trace() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = (random.random(), np.random.rand())
    random.seed(3)
    np.random.seed(3)
    train, test, num_classes = MNIST1D().read(NOWHERE)
    assert (random.random(), np.random.rand()) == expected
    made = mnist1d.data.make_dataset()
    for part, x, y in ((train, "x", "y"), (test, "x_test", "y_test")):
        assert torch.equal(part.pixels, torch.from_numpy(made[x]).float()[:, None])
        assert torch.equal(part.labels, torch.from_numpy(made[y]))
    assert num_classes == 10
    # The results in the docs have these signals. Another version may generate others.
    numbers = torch.cat([train.pixels, test.pixels]).mul(1000).round().int().numpy()
    assert hashlib.sha256(numbers.tobytes()).hexdigest()[:16] == "e07afdbce96fb150"


def test_signals_are_normalized_and_split() -> None:
    splits = MNIST1D(mean=(0.5,), std=(2.0,), train_images=64).load(NOWHERE)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [64, 800, 1000]
    dataset = MNIST1D(mean=(0.5,), std=(2.0,))
    (inputs, labels), *_ = dataset.batches(splits.test, batch_size=8)
    assert torch.equal(inputs, (splits.test.pixels[:8] - 0.5) / 2)
    assert torch.equal(labels, splits.test.labels[:8])
    assert dataset.dimensions == dataset.dimensions_of(splits)
    made = torch.from_numpy(mnist1d.data.make_dataset()["x_test"])[:8, None]
    assert torch.equal(dataset.preprocess(made, NOWHERE), (made.float() - 0.5) / 2)


def test_a_missing_package_and_an_augmentation_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"augmentation = .*: must be None, because"):
        MNIST1D(augmentation=CropFlip(padding=1, flip=True))
    with pytest.raises(ConfigurationError, match=r"must be at most 4000"):
        MNIST1D(train_images=3201).check(NOWHERE)
    MNIST1D().check(NOWHERE)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "mnist1d")
    with pytest.raises(ConfigurationError, match="needs the package mnist1d, which is not install"):
        MNIST1D().check(NOWHERE)


def test_signals_train_a_network_alone_and_in_a_pack() -> None:
    recipe = quantized(
        model=SignalConvNet(width=4),
        dataset=MNIST1D(train_images=128, validation_images=40, test_images=40),
        epochs=1,
        batchnorm_epochs=1,
    )
    assert len(list(TrainingRun(recipe))) == 2
    pack = PackedRun([recipe, replace(recipe, seed=1)])
    assert pack.stacking is Stacking.FOLDED
    assert sum(len(events) for events in pack.train()) == 4
