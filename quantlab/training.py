"""TrainingRun: one recipe, from initial weights to a quantized network, an epoch at a time."""

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.canonical import fingerprint
from quantlab.evaluation import accuracy
from quantlab.optimizer import ELEMENTWISE, ProxOptimizer
from quantlab.recipe import Recipe
from quantlab.update_rules import POST_TRAINING, Point
from quantlab.weights import quantized_weights


class Stage(Enum):
    """The two stages of the protocol (ProxConnect paper, B.1.4)."""

    QUANTIZE = "quantize"
    """Latent weights move under an update rule; plain training without quantization."""
    BATCHNORM = "batchnorm"
    """Weights are hard-quantized and frozen; batch normalization and biases go on training."""


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or NaN: the configuration diverged."""

    def __init__(self, step: int, last_finite_loss: float) -> None:
        super().__init__(
            f"the loss is not finite at step {step}; the last finite one was {last_finite_loss:g}"
        )
        self.step = step
        self.last_finite_loss = last_finite_loss


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch did. Accuracies are fractions in [0, 1]."""

    stage: Stage
    epoch: int
    """Epochs finished, counted over both stages, from 1."""
    step: int
    """Gradient steps finished, counted over both stages."""
    learning_rate: float
    """Of the epoch's last step."""
    sharpness: float
    """rho_t of the epoch's last step; 0 where nothing is annealed (any more)."""
    train_loss: float
    """Mean cross-entropy over the epoch's images, at the weights of the gradient."""
    validation_accuracy_latent: float
    validation_accuracy_proximal: float
    validation_accuracy_hard: float
    """At the three points; all the same once hard-quantized, or in full precision."""
    quantization_gap: float
    """Root mean square of w - P_Q(w*) over the quantized weights."""
    seconds: float
    """Wall time of the epoch, evaluation included."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the finished network is worth. The network is the hard-quantized one if any is."""

    validation_accuracy: float
    test_accuracy: float
    epochs: int
    steps: int


class TrainingRun:
    """Iterate to train: ``for record in TrainingRun(recipe): ...`` yields one record an epoch.

    Between epochs, `state_dict` holds all that a bit-identical continuation needs. The caller
    decides where records go, when to save and when to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        data_dir: Path = Path("data"),
        device: torch.device | str = "cpu",
    ) -> None:
        """Load the data and draw the initial weights.

        Raises:
            ConfigurationError: the data is missing, or a name in the recipe matches nothing.
        """
        self.recipe = recipe
        self.device = torch.device(device)
        self.splits = recipe.dataset.load(data_dir, self.device)
        self.steps_per_epoch = math.ceil(len(self.splits.train) / recipe.batch_size)
        self.epoch = 0
        self.step = 0
        self._last_loss = math.nan
        self.stage = Stage.QUANTIZE
        with self._seeded("initial weights"):
            self.model = self._build_model()
            self.optimizer = self._quantize_optimizer()

    def __iter__(self) -> Iterator[EpochRecord]:
        """Train the epochs that are left.

        Raises:
            NonFiniteLossError: the loss became infinite or NaN; the weights are those before it.
        """
        while self.epoch < self.recipe.epochs + self.recipe.batchnorm_epochs:
            if self.epoch == self.recipe.epochs and self.stage is Stage.QUANTIZE:
                self._enter_batchnorm()
            with self._seeded(f"epoch {self.epoch}") as generator:
                record = self._train_epoch(generator)
            yield record

    def outcome(self) -> Outcome:
        """Hard-quantize whatever is not yet, and evaluate once on the test images.

        Raises:
            RuntimeError: epochs are left to train.
            NonFiniteLossError: the last steps left a weight that is infinite or NaN.
        """
        total = self.recipe.epochs + self.recipe.batchnorm_epochs
        if self.epoch < total:
            raise RuntimeError(f"only {self.epoch} of {total} epochs are trained")
        if not all(weight.isfinite().all() for weight in self.model.parameters()):
            raise NonFiniteLossError(self.step, self._last_loss)
        with self.optimizer.weights_at(self._final_point):
            validation, test = (
                accuracy(self.model, images, self.recipe.dataset)
                for images in (self.splits.validation, self.splits.test)
            )
        return Outcome(
            validation_accuracy=validation, test_accuracy=test, epochs=self.epoch, steps=self.step
        )

    def final_weights(self) -> dict[str, Tensor]:
        """The finished network's state dict, hard-quantized, on the CPU."""
        with self.optimizer.weights_at(self._final_point):
            state = self.model.state_dict()
            return {name: value.detach().cpu().clone() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """The training state at an epoch boundary.

        Random numbers need no place in it: those of an epoch follow from the seed and its number.
        """
        return {
            "stage": self.stage.value,
            "epoch": self.epoch,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same recipe; to be called before any epoch is trained."""
        self.epoch = state["epoch"]
        self.step = state["step"]
        if Stage(state["stage"]) is Stage.BATCHNORM:
            self._enter_batchnorm()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def fingerprint(self) -> str:
        """The recipe's fingerprint."""
        return fingerprint(self.recipe)

    @property
    def _final_point(self) -> Point:
        return Point.LATENT if self.recipe.quantization is None else Point.HARD

    @contextmanager
    def _seeded(self, part: str) -> Iterator[torch.Generator]:
        """Random numbers of a part of the run, on the CPU, as they follow from the seed alone.

        Torch's default generators are seeded alike, for models and quantizers that draw from them,
        and given back as they were.
        """
        digest = hashlib.sha256(f"{self.recipe.seed} {part}".encode()).digest()
        number = int.from_bytes(digest[:4], "big")  # torch's CPU generator keeps 32 bits
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(number)
            yield torch.Generator().manual_seed(number)

    def _build_model(self) -> nn.Module:
        model = self.recipe.model.build(
            num_classes=self.splits.num_classes, num_channels=self.recipe.dataset.num_channels
        )
        return model.to(self.device).train()

    def _quantize_optimizer(self) -> ProxOptimizer:
        quantization = self.recipe.quantization
        if quantization is None:
            return self._plain_optimizer()
        quantized = quantized_weights(self.model, quantization.exclude)
        members = {id(parameter) for parameter in quantized.values()}
        return ProxOptimizer(
            {name: (parameter, quantization.quantizer) for name, parameter in quantized.items()},
            [p for p in self.model.parameters() if p.requires_grad and id(p) not in members],
            make_base=self.recipe.optimizer.build,
            rule=quantization.rule,
            sharpness=self._sharpness,
            latent_bound=quantization.latent_bound,
            flat=self.recipe.optimizer.algorithm in ELEMENTWISE,
        )

    def _plain_optimizer(self) -> ProxOptimizer:
        """Over all that still requires a gradient, with nothing to quantize."""
        return ProxOptimizer(
            {},
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            make_base=self.recipe.optimizer.build,
            rule=POST_TRAINING,
            sharpness=self._sharpness,
            flat=self.recipe.optimizer.algorithm in ELEMENTWISE,
        )

    def _sharpness(self, step: int) -> float:
        quantization = self.recipe.quantization
        if quantization is None or not quantization.quantizer.annealed:
            return 0.0
        return quantization.sharpness.at(step, self.steps_per_epoch)

    def _enter_batchnorm(self) -> None:
        """Hard quantization (B.1.4). The learning-rate schedule goes on; moments start anew."""
        self.optimizer.harden()
        self.stage = Stage.BATCHNORM
        self.optimizer = self._plain_optimizer()

    def _train_epoch(self, generator: torch.Generator) -> EpochRecord:
        started = time.perf_counter()
        recipe, train = self.recipe, self.splits.train
        order = torch.randperm(len(train), generator=generator).to(self.device)
        loss_sum, rate = 0.0, 0.0
        for indices in order.split(recipe.batch_size):
            rate = recipe.optimizer.learning_rate.at(self.step, self.steps_per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            pixels, labels = train.pixels[indices], train.labels[indices]
            if recipe.dataset.augmentation is not None:
                pixels = recipe.dataset.augmentation(pixels, generator)
            inputs = recipe.dataset.normalize(pixels)
            loss = self.optimizer.step(partial(self._loss, inputs, labels))
            assert loss is not None
            self.step += 1
            loss_sum += loss * len(indices)
        self.epoch += 1
        at = self._validation_accuracies()
        return EpochRecord(
            stage=self.stage,
            epoch=self.epoch,
            step=self.step,
            learning_rate=rate,
            sharpness=self._sharpness(self.step - 1) if self.stage is Stage.QUANTIZE else 0.0,
            train_loss=loss_sum / len(train),
            validation_accuracy_latent=at[Point.LATENT],
            validation_accuracy_proximal=at[Point.PROXIMAL],
            validation_accuracy_hard=at[Point.HARD],
            quantization_gap=self.optimizer.quantization_gap(),
            seconds=time.perf_counter() - started,
        )

    def _loss(self, inputs: Tensor, labels: Tensor) -> float:
        """The batch's loss, its gradient left with the parameters: the optimizer's closure."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(inputs), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLossError(self.step, self._last_loss)
        loss.backward()
        self._last_loss = value
        return value

    def _validation_accuracies(self) -> dict[Point, float]:
        """At all three points, which coincide where nothing is being quantized."""
        validation, dataset = self.splits.validation, self.recipe.dataset
        if self.stage is Stage.BATCHNORM or self.recipe.quantization is None:
            return dict.fromkeys(Point, accuracy(self.model, validation, dataset))
        accuracies = {}
        for point in Point:
            with self.optimizer.weights_at(point):
                accuracies[point] = accuracy(self.model, validation, dataset)
        return accuracies
