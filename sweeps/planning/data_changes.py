"""Warnings about trials of one dataset that were trained on different data."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from quantlab import ConfigurationError
from quantlab.canonical import canonical
from quantlab.datasets import DatasetSpec
from quantlab.datasets.content import content_of, what_is_not_hashed
from quantlab.errors import described
from sweeps.spec import Cell
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
    now = DataNow() if data_dir is None else finished.now(data_dir)
    return finished.differences(data_dir, now)


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

    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    """Datasets by their canonical JSON, which is their key."""
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
            key = json.dumps(canonical(cell.recipe.dataset), sort_keys=True)
            found.datasets.setdefault(key, cell.recipe.dataset)
            found.contents.setdefault(key, Counter())[result.data_content] += 1
        return found

    def now(self, data_dir: Path) -> DataNow:
        """Hash the data that is there now. Datasets without files are loaded for it.

        Args:
            data_dir: folder of the datasets.
        """
        now = DataNow()
        for key, dataset in self.datasets.items():
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
        for key, dataset in self.datasets.items():
            found, content = self.contents[key], now.contents.get(key, "")
            others = {other: count for other, count in found.items() if other != content}
            counted = ", ".join(f"{other} ({count})" for other, count in sorted(others.items()))
            if content and others:
                lines.append(
                    f"data of {dataset.name}: finished trials were trained on "
                    f"other data ({counted}) than {data_dir} has now ({content}); restore the "
                    "earlier data, or give another --storage to train all trials on the new data"
                )
            elif len(found) > 1:
                lines.append(
                    f"data of {dataset.name}: trials were trained on different data ({counted}); "
                    "do not compare their results"
                )
        return lines
