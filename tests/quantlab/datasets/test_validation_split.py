"""Which images are the validation images."""

from pathlib import Path

import pytest
import torch

from quantlab import ConfigurationError, TrainingRun, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.datasets.image_folder import ImageFolder
from quantlab.datasets.imagenet import ImageNet
from quantlab.datasets.tiny_imagenet import TinyImageNet
from tests.quantlab.recipes import small_recipe

NOWHERE = Path("unused")


def test_the_last_training_images_of_the_source() -> None:
    """As 45,000 and 5,000 images of CIFAR in the mirror-descent paper's code."""
    train, _, _ = Digits().read(NOWHERE)
    splits = Digits(validation_images=137, validation_split="last").load(NOWHERE)
    assert torch.equal(splits.train.pixels, train.pixels[:1300])
    assert torch.equal(splits.train.labels, train.labels[:1300])
    assert torch.equal(splits.validation.pixels, train.pixels[1300:])
    assert torch.equal(splits.validation.labels, train.labels[1300:])
    drawn = Digits(validation_images=137).load(NOWHERE)
    assert torch.equal(splits.test.pixels, drawn.test.pixels)
    assert not torch.equal(splits.validation.pixels, drawn.validation.pixels)
    few = Digits(validation_images=137, validation_split="last", train_images=50).load(NOWHERE)
    assert torch.equal(few.train.pixels, train.pixels[:50])
    assert torch.equal(few.validation.pixels, splits.validation.pixels)


def test_the_test_images() -> None:
    dataset = Digits(validation_images=0, validation_split="test", test_images=60)
    run = TrainingRun(small_recipe(dataset=dataset, epochs=1))
    assert len(run.splits.train) == 1437
    for _ in run:
        pass
    outcome = run.outcome()
    assert outcome.validation_accuracy == outcome.test_accuracy


def test_the_default_is_no_part_of_an_identity() -> None:
    random = small_recipe(dataset=Digits(validation_split="random"))
    assert fingerprint(random) == fingerprint(small_recipe(dataset=Digits()))
    last = small_recipe(dataset=Digits(validation_split="last"))
    assert fingerprint(last) != fingerprint(random)


def test_bad_splits_are_named() -> None:
    message = r"Digits\.validation_split = 'first': must be one of random, last, test"
    with pytest.raises(ConfigurationError, match=message):
        Digits(validation_split="first")
    for folder in (ImageFolder, ImageNet, TinyImageNet):
        message = rf"{folder.__name__}\.validation_split = 'last': must be random or test, because"
        with pytest.raises(ConfigurationError, match=message):
            folder(folder="some", validation_images=5, validation_split="last")
    message = r"Digits\.validation_images = 360: must be 0 with validation_split = 'test'"
    with pytest.raises(ConfigurationError, match=message):
        Digits(validation_split="test")
