"""Running averages of the iterates of several trials, each with its own weights, as one call."""

from collections.abc import Sequence

from torch import Tensor

from quantlab.optim.prox_optimizer import ProxOptimizer


class AveragedShare:
    """How much of an average each step's iterate becomes: eta_t / sum of eta up to t."""

    def __init__(self, optimizer: ProxOptimizer) -> None:
        """Of a trial's optimizer, whose `averaged_weight` it keeps up to date."""
        self._optimizer = optimizer
        self._ahead: list[float] = []
        """Sums of the weights up to the next step, and up to those behind it."""

    def __call__(self, step: int) -> float:
        """Of the next step or one behind it; 0 before the first that counts."""
        first = self._optimizer.num_steps
        while len(self._ahead) <= step - first:
            before = self._ahead[-1] if self._ahead else self._optimizer.averaged_weight
            self._ahead.append(before + self._weight(first + len(self._ahead)))
        total = self._ahead[step - first]
        return self._weight(step) / total if total else 0.0

    def advance(self) -> None:
        """The next step has been done."""
        self(self._optimizer.num_steps)
        self._optimizer.averaged_weight = self._ahead.pop(0)

    def _weight(self, step: int) -> float:
        assert self._optimizer.averaging is not None
        return self._optimizer.averaging(step)


class StackedAverage:
    """The averages of some rows of a tensor of latents."""

    def __init__(
        self,
        optimizers: Sequence[ProxOptimizer],
        slot: int,
        iterates: Tensor,
        columns: Sequence[int],
    ) -> None:
        """Take over what the rows have averaged so far.

        Args:
            optimizers: of the rows.
            slot: which of their groups of weights.
            iterates: (rows, size), where the weights to be averaged are at every step.
            columns: where each row's share is among the numbers of a step; one after the other.
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
        """Take in the iterates of this step."""
        shares = numbers[self._columns, None].to(self._averages.dtype)
        self._averages.lerp_(self._iterates, shares)

    def hand_back(self) -> None:
        """Give each row's average to its optimizer, if there is something in it."""
        for optimizer, group, own in zip(
            self._optimizers, self._groups, self._averages, strict=True
        ):
            group.average = own if optimizer.averaged_weight else None
