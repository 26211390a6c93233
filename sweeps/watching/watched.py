"""Watched: a sweep or a study that `sweeps watch` shows, as the last look has found it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.watching.page import counts_line, page
from sweeps.watching.storage_reader import StorageReader, TrialView

LOOK_SECONDS = 2.0
"""Minimum time between two looks."""


def _no_notes(views: Sequence[TrialView]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Contents:
    """The trials of a sweep or, as far as they have begun, of a study."""

    cells: Sequence[Cell]
    notes: Sequence[str] = ()
    """Further lines, such as the best configuration of a study."""
    notes_on: Callable[[Sequence[TrialView]], Sequence[str]] = field(default=_no_notes)
    """Returns lines that depend on what the look has found, such as who has paused trials."""
    is_over: bool = True
    """Whether there is nothing to train apart from these trials."""


class Watched:
    """A sweep or a study that is looked at again and again."""

    def __init__(self, name: str, storage: Storage, contents: Callable[[], Contents]) -> None:
        """Look at nothing yet.

        Args:
            name: name of the sweep or study.
            storage: the storage of its trials.
            contents: returns its trials; called for each look.
        """
        self._name = name
        self._reader = StorageReader(storage)
        self._contents = contents
        self._found: tuple[Contents, Sequence[TrialView]] | None = None
        self._drawn: dict[tuple[int, int | None], list[str]] = {}
        """Width and height -> the page of the last look."""

    def look(self) -> None:
        """Read the progress from the storage.

        Raises:
            ConfigurationError: a later version of this program wrote a record.
            OSError: a file cannot be read now.
        """
        contents = self._contents()
        views = self._reader.look(contents.cells)
        notes = (*contents.notes, *contents.notes_on(views))
        self._found = replace(contents, notes=notes), views
        self._drawn = {}

    def pause_seconds(self) -> float:
        """Return the time between two looks, in seconds, which is longer if a look takes long."""
        return max(LOOK_SECONDS, self._reader.pause_seconds)

    def page(self, width: int, height: int | None = None) -> list[str]:
        """Return the page as lines; see `sweeps.watching.page.page`."""
        root = str(self._reader.storage.root)
        if self._found is None:
            return [f"{self._name} in {root}", f"reading trials: {self._reader.num_read:,} so far"]
        drawn, size = self._drawn, (width, height)
        if size not in drawn:
            contents, views = self._found
            drawn[size] = page(
                self._name, views, width=width, height=height, storage=root, notes=contents.notes
            )
        return drawn[size]

    @property
    def summary(self) -> str:
        """A line on what the last look has found; empty before the first one."""
        return "" if self._found is None else f"{self._name}: {counts_line(self._found[1])}"

    @property
    def is_over(self) -> bool:
        """Whether all trials had finished at the last look."""
        if self._found is None:
            return False
        contents, views = self._found
        return contents.is_over and all(view.has_ended for view in views)
