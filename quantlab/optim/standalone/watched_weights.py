"""WatchedWeights: notices if the model's weights are no longer those of its optimizer."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.optim.buffers import QuantizedWeights


class WatchedWeights:
    """The places and versions of the model's quantized weights.

    The optimizer writes to its buffers, of which the weights are views. What anybody writes to the
    weights themselves changes the versions that torch counts.
    """

    def __init__(self, groups: Sequence[QuantizedWeights]) -> None:
        """Remember the weights as they are.

        Args:
            groups: all quantized weights of an optimizer.
        """
        self._groups = groups
        self.remember()

    def remember(self) -> None:
        """Remember the weights as they are."""
        self._seen = [
            (group, parameter, parameter.data_ptr(), parameter._version)
            for group in self._groups
            for parameter in group.parameters
        ]
        self._drawn = [
            group.evaluation.clone() if group.quantizer.random else None for group in self._groups
        ]

    def remember_drawn(self) -> None:
        """Remember the weights of random maps, which another draw would not give, after a step."""
        for group, drawn in zip(self._groups, self._drawn, strict=True):
            if drawn is not None:
                drawn.copy_(group.evaluation)

    def require_own(
        self, step: int, name_of: Callable[[Tensor], str]
    ) -> Sequence[QuantizedWeights]:
        """Check that the weights are still views of the buffers, with the optimizer's values.

        Args:
            step: the gradient step, of which the weights are.
            name_of: name of a parameter, for messages.

        Returns:
            Groups to whose latents other values were written, which they may have if the rule
            takes the gradient at them. Their proximal weights are those of the former latents.

        Raises:
            ConfigurationError: if they are not.
        """
        changed: dict[int, tuple[QuantizedWeights, nn.Parameter]] = {}
        for group, parameter, place, version in self._seen:
            if parameter.data_ptr() != place:
                raise ConfigurationError(
                    f"{name_of(parameter)}: is no longer a weight of this optimizer, because the "
                    "model was moved, converted, hardened or taken over by another optimizer; "
                    "build the optimizer after model.to(...), and take no step after harden()"
                )
            if parameter._version != version:
                changed.setdefault(id(group), (group, parameter))
        drawn = {id(group): own for group, own in zip(self._groups, self._drawn, strict=True)}
        moved = []
        for group, parameter in changed.values():
            own = drawn[id(group)]
            if own is not None and torch.equal(group.evaluation, own):
                continue
            if group.evaluation is group.latent:
                moved.append(group)
            elif own is not None or not torch.equal(group.evaluation, group.weights(step)):
                raise ConfigurationError(
                    f"{name_of(parameter)}: was overwritten after the optimizer was built, which "
                    "does not change its latent weights; load or broadcast the model's weights "
                    "before, or load the optimizer's state dict after the model's"
                )
        if changed:
            self.remember()
        return moved
