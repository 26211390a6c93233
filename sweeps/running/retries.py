"""Retries: whether a trial whose training was cut short is trained again, and whether alone."""


class Retries:
    """One budget of retries for each trial of a queue.

    A pack that dies costs its trials nothing the first time, because another trial of the pack may
    be to blame. After the second time, each of them is trained alone, so that a trial that kills
    its process does not take others along, and only then does it spend its own retries.
    """

    def __init__(self, limit: int) -> None:
        """No trial has been retried yet.

        Args:
            limit: how often a trial that was trained alone is retried.
        """
        self._limit = limit
        self._spent: dict[str, int] = {}
        self._suspected: set[str] = set()
        self._alone: set[str] = set()

    def grant(self, fingerprint: str, *, counts: bool = True, of_pack: bool = False) -> bool:
        """Decide on one interruption of a trial.

        Args:
            fingerprint: of the trial.
            counts: False where the trial cannot be to blame, such as for a preempted machine.
            of_pack: whether it was trained in a pack with others.

        Returns:
            Whether it is trained again.
        """
        if not counts:
            return True
        if of_pack:
            before = self._suspected if fingerprint not in self._suspected else self._alone
            before.add(fingerprint)
            return True
        spent = self._spent.get(fingerprint, 0)
        self._spent[fingerprint] = min(spent + 1, self._limit)
        return spent < self._limit

    def is_alone(self, fingerprint: str) -> bool:
        """Whether a trial is trained alone from now on."""
        return fingerprint in self._alone
