"""Running averages of the iterates of several trials, updated in one call."""

from collections.abc import Sequence

from torch import Tensor

from quantlab.optim.latent_optimizer import LatentOptimizer


class AveragedShare:
    """The share of each step's iterate in the running average: eta_t / (sum of eta up to t)."""

    def __init__(self, optimizer: LatentOptimizer) -> None:
        """Create the shares of a trial.

        Args:
            optimizer: optimizer of the trial. `advance` updates its `averaged_weight`.
        """
        self._optimizer = optimizer
        self._ahead: list[float] = []
        """Sums of the weights up to the next step and up to later steps."""

    def __call__(self, step: int) -> float:
        """Return the share of the next step or a later one; 0 before averaging begins."""
        first = self._optimizer.num_steps
        while len(self._ahead) <= step - first:
            before = self._ahead[-1] if self._ahead else self._optimizer.averaged_weight
            self._ahead.append(before + self._weight(first + len(self._ahead)))
        total = self._ahead[step - first]
        return self._weight(step) / total if total else 0.0

    def advance(self) -> None:
        """Count the next step as done."""
        self(self._optimizer.num_steps)
        self._optimizer.averaged_weight = self._ahead.pop(0)

    def _weight(self, step: int) -> float:
        assert self._optimizer.averaging is not None
        return self._optimizer.averaging(step)


class StackedAverage:
    """Running averages of some rows of a tensor of weights."""

    def __init__(
        self,
        optimizers: Sequence[LatentOptimizer],
        slot: int,
        iterates: Tensor,
        columns: Sequence[int],
    ) -> None:
        """Take over the averages of the rows.

        Args:
            optimizers: optimizer of each row.
            slot: position of the group of weights in each optimizer.
            iterates: (rows, size) tensor that holds the weights to average at every step.
            columns: consecutive positions of the rows' shares among the numbers of a step.
        """
        self._groups = [optimizer.groups[slot] for optimizer in optimizers]
        self._optimizers = optimizers
        self._iterates = iterates
        self._columns = slice(columns[0], columns[-1] + 1)
        self._averages = iterates.clone()
        for own, group in zip(self._averages, self._groups, strict=True):
            if group.average is not None:
                own.copy_(group.average)

    def __call__(self, numbers: Tensor) -> None:
        """Add the iterates of this step.

        Args:
            numbers: numbers of the step, on the device.
        """
        shares = numbers[self._columns, None].to(self._averages.dtype)
        self._averages.lerp_(self._iterates, shares)

    def hand_back(self) -> None:
        """Give each row's average to its optimizer; None if nothing has been averaged."""
        for optimizer, group, own in zip(
            self._optimizers, self._groups, self._averages, strict=True
        ):
            group.average = own if optimizer.averaged_weight else None
