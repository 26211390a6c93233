"""Warnings about trials of one dataset that were trained on different data."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from quantlab.canonical import canonical
from quantlab.datasets import DatasetSpec
from quantlab.datasets.content import content_of
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
            compare the results only.
    """
    datasets: dict[str, DatasetSpec] = {}
    contents: dict[str, Counter[str]] = {}
    for cell in cells:
        result = storage.trial(cell.fingerprint).result.read()
        if result is not None and result.data_content:
            key = json.dumps(canonical(cell.recipe.dataset), sort_keys=True)
            datasets.setdefault(key, cell.recipe.dataset)
            contents.setdefault(key, Counter())[result.data_content] += 1
    lines = []
    for key, dataset in datasets.items():
        now = "" if data_dir is None else _content_now(dataset, data_dir)
        found = contents[key]
        others = {content: count for content, count in found.items() if content != now}
        counted = ", ".join(f"{content} ({count})" for content, count in sorted(others.items()))
        if now and others:
            lines.append(
                f"data of {dataset.name}: finished trials were trained on "
                f"other data ({counted}) than {data_dir} has now ({now}); restore the earlier "
                "data, or give another --storage to train all trials on the new data"
            )
        elif len(found) > 1:
            lines.append(
                f"data of {dataset.name}: trials were trained on different data ({counted}); do "
                "not compare their results"
            )
    return lines


def _content_now(dataset: DatasetSpec, data_dir: Path) -> str:
    try:
        return content_of(dataset, data_dir)
    except OSError:
        return ""  # the trials report data that cannot be read
