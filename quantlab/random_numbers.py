"""Random numbers of a part of a run, that follow from the trial's seed and the part alone."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class RandomNumbers:
    """A CPU generator, and torch's default generators seeded alike while they are in use.

    Models, quantizers and transforms that draw from the default generators are thereby repeatable,
    and the rest of the process finds those generators as it left them. Both kinds go on where they
    stopped, also in another process through `state_dict`.
    """

    def __init__(self, seed: int, part: str, device: torch.device) -> None:
        """Of one part of a run, such as ``"epoch 3"``, under a trial's seed."""
        digest = hashlib.sha256(f"{seed} {part}".encode()).digest()
        self.seed = int.from_bytes(digest[:4], "big")  # torch's CPU generator keeps 32 bits
        """Of this part; never changes."""
        self.generator = torch.Generator().manual_seed(self.seed)
        self._device = device
        self._default: torch.Tensor | None = None
        self._cuda: torch.Tensor | None = None

    @contextmanager
    def in_use(self) -> Iterator[torch.Generator]:
        """Put them into torch's default generators for the time of a `with` block."""
        on_cuda = self._device.type == "cuda"
        with torch.random.fork_rng(devices=[self._device] if on_cuda else []):
            if self._default is None:
                torch.manual_seed(self.seed)
            else:
                torch.set_rng_state(self._default)
                if on_cuda:
                    assert self._cuda is not None
                    torch.cuda.set_rng_state(self._cuda, self._device)
            yield self.generator
            self._default = torch.get_rng_state()
            if on_cuda:
                self._cuda = torch.cuda.get_rng_state(self._device)

    def state_dict(self) -> dict[str, Any]:
        """Where all of them stand, between uses."""
        return {
            "generator": self.generator.get_state(),
            "default": self._default,
            "cuda": self._cuda,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.generator.set_state(state["generator"])
        self._default = state["default"]
        self._cuda = state["cuda"]
