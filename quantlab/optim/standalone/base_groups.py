"""BaseGroups: the groups of the base optimizer, whose options follow those of the user's groups."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from quantlab.optim.moved import Moved


class Kind(NamedTuple):
    """Which tensors a group of the base optimizer has."""

    place: int
    """Position of the user's group."""
    is_latent: bool
    """Whether they are latents, if these have options of their own."""
    is_learned: bool
    """Whether they are learned numbers of scales."""


class BaseGroups:
    """The groups of the base optimizer, and which group of the user each belongs to.

    Latents of a user's group are a group of their own if they have other options. So are learned
    numbers of scales, which have no weight decay.
    """

    def __init__(self, latent_options: Mapping[str, Any]) -> None:
        """Begin without groups.

        Args:
            latent_options: options that only latents have.
        """
        self._latent_options = dict(latent_options)
        self._kinds: list[Kind] = []

    def added(
        self,
        moved: Sequence[Moved],
        places: Mapping[int, int],
        options: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """Return groups of torch for further tensors, and remember what they have.

        Args:
            moved: tensors that the base optimizer updates.
            places: ids of parameters with the position of the user's group.
            options: options of each of the user's groups.
        """
        kinds = [self._kind_of(of, places) for of in moved]
        groups = []
        for kind in dict.fromkeys(kinds):
            members = [of.target for of, own in zip(moved, kinds, strict=True) if own == kind]
            groups.append({"params": members, **options[kind.place], **self._forced(kind)})
            self._kinds.append(kind)
        return groups

    def give(self, own: Sequence[Mapping[str, Any]], base: Sequence[dict[str, Any]]) -> None:
        """Give the base optimizer the options of the user's groups, such as learning rates."""
        for kind, group in zip(self._kinds, base, strict=True):
            group.update(options_of(own[kind.place]))
            group.update(self._forced(kind))

    def take(self, own: Sequence[dict[str, Any]], base: Sequence[Mapping[str, Any]]) -> None:
        """Take the options back, which some optimizers change in a step."""
        for kind, group in zip(self._kinds, base, strict=True):
            if not kind.is_learned:
                forced = self._forced(kind)
                options = options_of(group)
                own[kind.place].update({key: options[key] for key in options if key not in forced})

    def _kind_of(self, moved: Moved, places: Mapping[int, int]) -> Kind:
        of_learned = moved.learned_of
        first = moved.sources[0] if of_learned is None else of_learned.parameters[0]
        return Kind(
            places[id(first)],
            is_latent=moved.group is not None and bool(self._latent_options),
            is_learned=of_learned is not None,
        )

    def _forced(self, kind: Kind) -> dict[str, Any]:
        """Return the options that are not the user's."""
        forced = {"weight_decay": 0.0} if kind.is_learned else {}
        return {**forced, **self._latent_options} if kind.is_latent else forced


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a group of torch, without its parameters."""
    return {key: of for key, of in group.items() if key not in ("params", "param_names")}
