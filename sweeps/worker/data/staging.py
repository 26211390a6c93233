"""Stage datasets: copy, unpack or download them once on each machine that needs them."""

from pathlib import Path

from quantlab import ConfigurationError, Recipe
from quantlab.datasets import DatasetSpec
from quantlab.initial_weights import InitialWeights, TrialWeights, no_other_trials
from quantlab.remembering import remembering
from sweeps.worker.data.fetching import archive_of, exclusive, fetch, remove
from sweeps.worker.data.local_copies import local_copy


def stage(recipe: Recipe, data_dir: Path, scratch: Path | None = None) -> Path:
    """Prepare the data of a trial on this machine.

    If several processes of the machine need the same data, one prepares it and the others wait.

    Args:
        recipe: the recipe of the trial.
        data_dir: folder of the datasets, perhaps on a network; archives in it are unpacked.
        scratch: a folder on the local disk, into which data is copied, see `local_copy`; None to
            read the data from `data_dir`.

    Returns:
        The folder from which to read the data.

    Raises:
        ConfigurationError: the data is missing and cannot be downloaded, or an archive is damaged.
    """
    teacher = None if recipe.distillation is None else recipe.distillation.teacher
    weights = tuple(
        own
        for own in (recipe.initial_weights, teacher)
        if own is not None and not isinstance(own, TrialWeights)  # these are in the storage
    )
    return _stage(recipe.dataset, weights, data_dir, scratch)


def check(dataset: DatasetSpec, data_dir: Path) -> None:
    """Check, before any trial starts, that a dataset exists or can be downloaded.

    Trials check a dataset that exists as an archive only after unpacking it.

    Args:
        dataset: the dataset.
        data_dir: folder of the datasets.

    Raises:
        ConfigurationError: see `DatasetSpec.check`.
    """
    missing = [data_dir / name for name in dataset.files if not (data_dir / name).exists()]
    if not missing or not all(map(archive_of, missing)):
        with exclusive(data_dir, only_wait=not missing):
            dataset.check(data_dir)


@remembering(16)
def _stage(
    dataset: DatasetSpec,
    weights: tuple[InitialWeights, ...],
    data_dir: Path,
    scratch: Path | None,
) -> Path:
    names = (*dataset.files, *(name for one in weights for name in one.files))

    def check_all(folder: Path) -> None:
        dataset.check(folder)  # downloads missing files
        for one in weights:
            one.check(folder, no_other_trials)

    if scratch is not None and scratch != data_dir:
        return local_copy(data_dir, scratch, names, check_all)
    missing = [data_dir / name for name in names if not (data_dir / name).exists()]
    with exclusive(data_dir, only_wait=not missing):
        missing = [path for path in missing if not path.exists() and archive_of(path)]
        for path in missing:
            fetch(path, path)
        try:
            check_all(data_dir)
        except ConfigurationError:
            for path in missing:  # so that another archive will be unpacked
                remove(path)
            raise
    return data_dir
