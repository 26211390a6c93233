"""Random numbers of a part of a run. They depend only on the trial's seed and on the part."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def part_seed(seed: int, part: str) -> int:
    """Return the seed of a part of a run, such as ``"epoch 3"``, for a trial's seed."""
    digest = hashlib.sha256(f"{seed} {part}".encode()).digest()
    return int.from_bytes(digest[:4], "big")  # torch's CPU generator keeps 32 bits


class RandomNumbers:
    """A CPU generator, and states of torch's default generators for the time they are in use.

    They make models, quantizers and transforms repeatable that draw from the default generators.
    Outside of `in_use`, the default generators of the process are unchanged. All generators
    continue from where they stopped, also in another process through `state_dict`.
    """

    def __init__(self, device: torch.device, *, seed: int, default_seed: int) -> None:
        """Create the generators of one part of a run.

        Args:
            device: device whose default generator is used, besides that of the CPU.
            seed: seed of `generator`.
            default_seed: seed of the default generators.
        """
        self.generator = torch.Generator().manual_seed(seed)
        self._device = device
        self._default_seed = default_seed
        self._cpu: torch.Tensor | None = None
        self._cuda: torch.Tensor | None = None

    @contextmanager
    def in_use(self) -> Iterator[torch.Generator]:
        """Set torch's default generators to these states for a `with` block."""
        on_cuda = self._device.type == "cuda"
        with torch.random.fork_rng(devices=[self._device] if on_cuda else []):
            # Not `torch.manual_seed`, which would reseed devices that are not given back.
            if self._cpu is None:
                torch.default_generator.manual_seed(self._default_seed)
            else:
                torch.set_rng_state(self._cpu)
            if on_cuda and self._cuda is None:  # also after a resumption from the CPU
                with torch.cuda.device(self._device):
                    torch.cuda.manual_seed(self._default_seed)
            elif on_cuda:
                assert self._cuda is not None
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield self.generator
            self._cpu = torch.get_rng_state()
            if on_cuda:
                self._cuda = torch.cuda.get_rng_state(self._device)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all generators, as they are between uses."""
        return {"generator": self.generator.get_state(), "cpu": self._cpu, "cuda": self._cuda}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the states that `state_dict` returned."""
        self.generator.set_state(state["generator"])
        self._cpu = state["cpu"]
        self._cuda = state["cuda"]
