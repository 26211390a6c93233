"""Retries: whether a trial whose process died is retried, and whether it is trained alone.

`TrialCallback.on_trial_error` asks for a retry after a process has died, or after an error in
`sweeps.worker.trial.TRANSIENT`. All other errors of a trial are final, also if its process dies
afterwards.
"""


class Retries:
    """The retries that each trial of a queue has left.

    When the process of a pack dies, any of its trials may be the cause, so none of them spends a
    retry. After the second time, each of these trials is trained alone. From then on, a trial that
    kills its process harms no other trial, and spends its own retries.
    """

    def __init__(self, limit: int) -> None:
        """Start with the full number of retries for each trial.

        Args:
            limit: how many times a trial that is trained alone is retried.
        """
        self._limit = limit
        self._spent: dict[str, int] = {}
        self._suspected: set[str] = set()
        self._alone: set[str] = set()

    def grant(self, fingerprint: str, *, counts: bool = True, of_pack: bool = False) -> bool:
        """Decide whether to retry a trial whose process died.

        Args:
            fingerprint: fingerprint of the trial.
            counts: whether this spends a retry; False if the trial cannot be the cause, for example
                if its machine was preempted.
            of_pack: whether the trial was trained in a pack with others.

        Returns:
            Whether the trial is retried.
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
