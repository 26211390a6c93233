"""Teachers: those of several trials whose networks are computed as one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from quantlab.distillation.teacher import Teacher
from quantlab.execution import Execution


class Teachers:
    """The teachers of K trials. Trials that share a teacher are computed in one forward pass.

    A teacher has no gradients and treats examples independently, so that its batches can be joined.
    Different teachers are computed one after another.
    """

    def __init__(self, teachers: Sequence[Teacher], device: torch.device) -> None:
        """Group the trials by their networks.

        Args:
            teachers: the teacher of each trial. All have one temperature.
            device: device that computes the training.
        """
        self._one_of_each = [
            teacher
            for place, teacher in enumerate(teachers)
            if not any(teacher.network is other.network for other in teachers[:place])
        ]
        rows = [
            [place for place, teacher in enumerate(teachers) if teacher.network is one.network]
            for one in self._one_of_each
        ]
        self._rows = [torch.tensor(places, device=device) for places in rows]
        order = torch.tensor([place for places in rows for place in places])
        self._back = order.argsort().to(device)
        each = [teacher.distillation.weight for teacher in teachers]
        weights = torch.tensor(each, dtype=torch.float64)
        self._weights, self._others = weights.to(device), (1 - weights).to(device)

    def losses(
        self,
        inputs: Tensor,
        outputs: Tensor,
        task_losses: Tensor,
        execution: Execution,
        *,
        compiled: bool,
    ) -> Tensor:
        """Return the loss of every trial, (K,).

        Args:
            inputs: (K, batch, ...) inputs.
            outputs: (K, batch, ...) what the students returned for them.
            task_losses: (K,) losses of the task.
            execution: memory format and autocast.
            compiled: whether to use `torch.compile`.
        """
        with execution.autocast(inputs.device):
            taught = self._outputs(inputs, execution, compiled).flatten(0, 1)
            each = self._one_of_each[0].distances(outputs.flatten(0, 1), taught)
        each = each.unflatten(0, inputs.shape[:2])
        weights, others = (part.to(task_losses.dtype) for part in (self._weights, self._others))
        together: Tensor = others * task_losses + weights * each.mean(dim=1)
        return together

    def _outputs(self, inputs: Tensor, execution: Execution, compiled: bool) -> Tensor:
        """Return the outputs of each trial's teacher, (K, batch, ...)."""
        found = []
        for teacher, rows in zip(self._one_of_each, self._rows, strict=True):
            own = inputs if len(self._rows) == 1 else inputs.index_select(0, rows)
            flat = execution.layout(own.flatten(0, 1))
            found.append(teacher.outputs(flat, compiled=compiled).unflatten(0, own.shape[:2]))
        return found[0] if len(found) == 1 else torch.cat(found).index_select(0, self._back)
