"""Teacher: a finished network that gives the outputs to learn from."""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from quantlab.datasets import DatasetSpec, ImageSet
from quantlab.distillation.settings import Distillation
from quantlab.errors import ConfigurationError
from quantlab.execution import Execution
from quantlab.models import ModelSpec
from quantlab.remembering import are_equal
from quantlab.tasks import Task
from quantlab.tasks.checked import each_distance
from quantlab.tasks.dimensions import Dimensions


class Teacher:
    """The teacher of a recipe, and the loss with respect to its outputs.

    The network is in evaluation mode and computes no gradients. It changes no random numbers.
    """

    def __init__(
        self,
        distillation: Distillation,
        student: ModelSpec,
        task: Task,
        *,
        build: Callable[[ModelSpec], nn.Module],
        load: Callable[[nn.Module], None],
        device: torch.device | str = "cpu",
    ) -> None:
        """Build the network and load its weights.

        Args:
            distillation: the settings of the recipe.
            student: the network of the recipe.
            task: the task of the recipe.
            build: builds a network of this dataset.
            load: loads the weights into the network.
            device: device that computes the training.

        Raises:
            ConfigurationError: if the weights are missing, or of another architecture.
        """
        self.spec = distillation.model or student
        self.distillation = distillation
        self._task = task
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = build(self.spec)
            try:
                load(network)
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"Distillation.teacher as {self.spec.name}: {error}"
                ) from error
        self.network = network.to(device).eval().requires_grad_(False)
        self._compiled: Callable[[Tensor], Tensor] | None = None

    @torch.no_grad()
    def outputs(self, inputs: Tensor, *, compiled: bool = False) -> Tensor:
        """Return the outputs for a batch. The caller sets autocast, as for the student.

        Args:
            inputs: (batch, ...) inputs in the memory format of the forward pass.
            compiled: whether to use `torch.compile`.
        """
        if compiled and self._compiled is None:
            self._compiled = torch.compile(self.network)
        forward = self._compiled if compiled else self.network
        assert forward is not None
        return forward(inputs)

    def distances(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        """Return the distance of every example's outputs from those of the teacher, (batch,)."""
        temperature = self.distillation.temperature
        return each_distance(self._task, outputs, teacher_outputs, temperature)

    def loss(
        self, inputs: Tensor, outputs: Tensor, task_loss: Tensor, *, compiled: bool = False
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            inputs: (batch, ...) inputs.
            outputs: (batch, ...) what the student returned for them.
            task_loss: the mean loss of the task.
            compiled: see `outputs`.
        """
        weight = self.distillation.weight
        each = self.distances(outputs, self.outputs(inputs, compiled=compiled))
        return (1 - weight) * task_loss + weight * each.mean()

    def check(self, inputs: Tensor, targets: Tensor, num_outputs: int) -> None:
        """Check a forward pass, whose outputs are compared with themselves.

        Args:
            inputs: (batch, ...) inputs.
            targets: (batch, ...) targets.
            num_outputs: see `Task.require_outputs`.

        Raises:
            ConfigurationError: if the outputs are not those of the task, if the network draws
                random numbers, or if the task's distances are not one number for each example.
        """
        before = _random_states(inputs.device)
        found = self.outputs(inputs)
        after = _random_states(inputs.device)
        self._task.require_outputs(self.network, found, targets, num_outputs)
        if not all(map(torch.equal, before, after)):
            raise ConfigurationError(
                f"Distillation.model: {self.spec.name} draws random numbers in evaluation mode; "
                "a teacher must not, so that its outputs can be repeated"
            )
        self.distances(found, found)

    def is_like(self, other: "Teacher") -> bool:
        """Whether another trial has the same teacher."""
        own = self.distillation.teacher, self.spec
        return are_equal(own, (other.distillation.teacher, other.spec))

    def share_network_of(self, other: "Teacher") -> None:
        """Replace the network by that of the same teacher, so that it is in memory only once."""
        self.network, self._compiled = other.network, other._compiled

    @cached_property
    def digest(self) -> str:
        """A hash of the network's parameters and buffers."""
        found = hashlib.sha256()
        for name, value in self.network.state_dict().items():
            if isinstance(value, Tensor):
                found.update(name.encode())
                numbers = value.detach().cpu().contiguous().reshape(-1)
                found.update(numbers.view(torch.uint8).numpy().data)
        return found.hexdigest()[:16]


def loaded_teacher(
    distillation: Distillation,
    student: ModelSpec,
    task: Task,
    dataset: DatasetSpec,
    images: ImageSet,
    dimensions: Dimensions,
    *,
    data_dir: Path,
    weights_of: Callable[[str], Path],
    execution: Execution,
    device: torch.device,
) -> Teacher:
    """Return a teacher that has computed one training image.

    Args:
        distillation: the settings of the recipe.
        student: the network of the recipe.
        task: the task of the recipe.
        dataset: the dataset of the recipe.
        images: the training images, on the device.
        dimensions: the dimensions of the dataset.
        data_dir: the data folder.
        weights_of: maps a fingerprint to the file of that trial's final weights.
        execution: memory format and autocast.
        device: device that computes the training.

    Raises:
        ConfigurationError: see `Teacher` and `Teacher.check`.
    """
    teacher = Teacher(
        distillation,
        student,
        task,
        build=lambda spec: spec.build_for(dimensions),
        load=lambda network: distillation.teacher.load(network, data_dir, weights_of),
        device=device,
    )
    one = images.take(torch.zeros(1, dtype=torch.int64))
    inputs, targets = next(iter(dataset.batches(one, batch_size=1)))
    with execution.autocast(device):
        teacher.check(execution.layout(inputs), targets, dimensions.num_classes)
    return teacher


def _random_states(device: torch.device) -> list[Tensor]:
    """Return the states of the default generators that a network on a device may use."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
