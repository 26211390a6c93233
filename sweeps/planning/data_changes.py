"""Warnings about trials of one dataset that were trained on different data."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from quantlab.errors import ConfigurationError, described
from sweeps.cell import Cell, fact
from sweeps.storage.folder import Storage


def data_warnings(
    cells: Iterable[Cell], storage: Storage, data_dir: Path | None = None
) -> list[str]:
    """Return a line for each dataset whose finished trials were not all trained on the same data.

    Args:
        cells: the trials of a sweep or a study.
        storage: the storage of the trials.
        data_dir: folder of the datasets, to compare with the data that is there now; None to
            compare the results only. Data that cannot be read is not compared: the trials report
            it.
    """
    finished = FinishedData.of(cells, storage)
    now = DataNow() if data_dir is None else finished.now(data_dir, hash_again=False)
    return finished.differences(data_dir, now)


_HASH = f"{__name__}.hash of data without files"
"""Name of a fact of a cell; see `Cell.facts`."""


@fact
def dataset_key(cell: Cell) -> str:
    """Return the canonical JSON of the dataset of a trial."""
    from quantlab.canonical import canonical

    return json.dumps(canonical(cell.recipe.dataset), sort_keys=True)


@fact
def dataset_name(cell: Cell) -> str:
    """Return the name of the dataset of a trial."""
    return cell.recipe.dataset.name


@dataclass
class DataNow:
    """The data that is in the data folder now."""

    contents: dict[str, str] = field(default_factory=dict)
    """Key of a dataset -> hash of its data."""
    problems: list[str] = field(default_factory=list)
    """Lines about data that cannot be read."""
    notes: list[str] = field(default_factory=list)
    """Lines about data of which not everything is hashed."""


@dataclass
class FinishedData:
    """The data that finished trials were trained on."""

    cells: dict[str, Cell] = field(default_factory=dict)
    """A trial of each dataset, by the canonical JSON of the dataset, which is its key."""
    contents: dict[str, Counter[str]] = field(default_factory=dict)
    """Key of a dataset -> hashes of its data, with the number of trials."""
    num_unknown: int = 0
    """Number of trials whose result has no hash."""

    @classmethod
    def of(cls, cells: Iterable[Cell], storage: Storage) -> "FinishedData":
        """Read the results of finished trials.

        Args:
            cells: the trials of a sweep or a study.
            storage: the storage of the trials.
        """
        found = cls()
        for cell in cells:
            result = storage.trial(cell.fingerprint).result.read()
            if result is None:
                continue
            if not result.data_content:
                found.num_unknown += 1
                continue
            key = dataset_key(cell)
            found.cells.setdefault(key, cell)
            found.contents.setdefault(key, Counter())[result.data_content] += 1
        return found

    def now(self, data_dir: Path, *, hash_again: bool = True) -> DataNow:
        """Hash the data that is there now. Datasets without files are loaded for it.

        Args:
            data_dir: folder of the datasets.
            hash_again: whether to hash data without files that was hashed with the same packages.
        """
        now = DataNow()
        for key, cell in self.cells.items():
            if not hash_again and _HASH in cell.facts:
                now.contents[key] = cell.facts[_HASH]
                continue
            from quantlab.datasets.content import content_of, what_is_not_hashed

            dataset = cell.recipe.dataset
            what = f"data of {dataset.name}"
            try:
                splits = None if dataset.files else dataset.load(data_dir)
                content = content_of(dataset, data_dir, splits)
                left_out = what_is_not_hashed(dataset, data_dir, splits)
            except (ConfigurationError, OSError) as error:
                now.problems.append(f"{what}: cannot be read ({error})")
            except Exception as error:  # the user's code may raise anything
                now.problems.append(f"{what}: cannot be read ({described(error)})")
            else:
                if content:
                    now.contents[key] = content
                    if not dataset.files:
                        cell.facts[_HASH] = content
                else:
                    names = ", ".join(dataset.files)
                    now.problems.append(f"{what}: {data_dir} has no {names}; put the data there")
                if left_out:
                    now.notes.append(f"{what}: {left_out}")
        return now

    def differences(self, data_dir: Path | None, now: DataNow) -> list[str]:
        """Return a line for each dataset with trials of other data than others, or than now.

        Args:
            data_dir: folder of the datasets, for the lines.
            now: the data that is there now.
        """
        lines = []
        for key, cell in self.cells.items():
            name = dataset_name(cell)
            found, content = self.contents[key], now.contents.get(key, "")
            others = {other: count for other, count in found.items() if other != content}
            counted = ", ".join(f"{other} ({count})" for other, count in sorted(others.items()))
            if content and others:
                lines.append(
                    f"data of {name}: finished trials were trained on "
                    f"other data ({counted}) than {data_dir} has now ({content}); restore the "
                    "earlier data, or give another --storage to train all trials on the new data"
                )
            elif len(found) > 1:
                lines.append(
                    f"data of {name}: trials were trained on different data ({counted}); "
                    "do not compare their results"
                )
        return lines
