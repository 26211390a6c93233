"""Spent: sums over the attempts to train trials, by block and by command."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

from sweeps.spec import Cell
from sweeps.spending.attempts import attempts_of
from sweeps.storage.folder import Storage
from sweeps.storage.records import Attempt


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What was spent on trials. Values of different trials are added up."""

    trials: int = 0
    """Number of trials with a known attempt."""
    attempts: int = 0
    """Number of attempts."""
    retries: int = 0
    """Number of attempts that followed one that failed or whose process died."""
    slot_seconds: float = 0.0
    """Time for which the trials had a slot, in seconds; the trials of a pack share it."""
    cpu_seconds: float = 0.0
    """This time multiplied by the CPUs that were reserved."""
    gpu_seconds: float = 0.0
    """This time multiplied by the GPUs that were reserved."""
    lost_seconds: float = 0.0
    """The part of `slot_seconds` that was lost to failures and has to be trained again."""

    def __add__(self, other: Self) -> Self:
        names = [item.name for item in fields(self)]
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})


NOTHING = Spent()


@dataclass(frozen=True, order=True)
class Command:
    """A command that trained trials."""

    command: str = ""
    """The command line; empty for a program of the user."""
    user: str = ""
    """Who started it; empty if the user has no name."""
    host: str = ""
    """The machine on which it ran."""
    process: int = 0
    """Its process on this machine."""
    job: str = ""
    """The job of a batch system in which it ran; empty outside of one."""
    command_id: str = ""
    """See `sweeps.storage.records.Running`; empty for a command of an earlier release."""


@dataclass(frozen=True)
class Spending:
    """What was spent on the trials of a sweep or a study."""

    total: Spent = NOTHING
    blocks: Mapping[str, Spent] = field(default_factory=dict)
    """Label of a block -> what was spent on its trials, in the order of the sweep."""
    commands: Mapping[Command, Spent] = field(default_factory=dict)
    """Command -> what it spent, in the order in which they began."""
    unknown: int = 0
    """Number of trials that have begun without a record of it, in an earlier release."""


def spent_on(attempts: Sequence[Attempt]) -> Spent:
    """Add up the attempts to train one trial."""
    if not attempts:
        return NOTHING
    return Spent(
        trials=1,
        attempts=len(attempts),
        retries=sum(attempt.was_disturbed for attempt in attempts[:-1]),
        slot_seconds=sum(attempt.slot_seconds for attempt in attempts),
        cpu_seconds=sum(attempt.cpus * attempt.slot_seconds for attempt in attempts),
        gpu_seconds=sum(attempt.gpus * attempt.slot_seconds for attempt in attempts),
        lost_seconds=sum(attempt.lost_seconds for attempt in attempts),
    )


def spending_of(cells: Iterable[Cell], storage: Storage) -> Spending:
    """Add up what was spent on trials so far, from their folders.

    Args:
        cells: the trials.
        storage: the storage of the trials.

    Raises:
        ConfigurationError: a later version of this program wrote a record.
        OSError: a file cannot be read now.
    """
    trials = []
    unknown = 0
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        attempts = attempts_of(folder)
        unknown += not attempts and folder.recipe.exists()
        trials.append((cell.block, attempts))
    return replace(summed(trials), unknown=unknown)


def summed(trials: Iterable[tuple[str, Sequence[Attempt]]]) -> Spending:
    """Add up attempts.

    Args:
        trials: for each trial, the label of its block and its attempts in their order.
    """
    blocks: dict[str, Spent] = {}
    commands: dict[Command, Spent] = {}
    began: dict[Command, float] = {}
    for block, attempts in trials:
        blocks[block] = blocks.get(block, NOTHING) + spent_on(attempts)
        own: dict[Command, Spent] = {}
        for place, attempt in enumerate(attempts):
            command = _command(attempt)
            one = replace(
                spent_on([attempt]), retries=int(place > 0 and attempts[place - 1].was_disturbed)
            )
            own[command] = replace(own.get(command, NOTHING) + one, trials=1)
            began[command] = min(began.get(command, attempt.began), attempt.began)
        for command, spent in own.items():
            commands[command] = commands.get(command, NOTHING) + spent
    return Spending(
        total=sum(blocks.values(), NOTHING),
        blocks=blocks,
        commands=dict(sorted(commands.items(), key=lambda item: (began[item[0]], item[0]))),
    )


def _command(attempt: Attempt) -> Command:
    return Command(
        attempt.command,
        attempt.user,
        attempt.host,
        attempt.process,
        attempt.job,
        attempt.command_id,
    )
