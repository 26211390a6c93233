"""Estimate the cost of a sweep, from similar finished trials or else from published numbers."""

from collections import defaultdict
from dataclasses import dataclass

from quantlab.canonical import canonical_key
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.trial_states import states_of


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a group of trials, each of which costs the same."""

    what: str
    """Model and dataset."""
    trials: int
    """Number of trials."""
    to_run: int
    """Number of unfinished trials."""
    hours_per_trial: float | None
    """Hours of the GPU or CPU that `source` names; None if unknown."""
    source: str
    """Source of the estimate."""

    @property
    def hours(self) -> float | None:
        """Hours of all trials; None if unknown."""
        return None if self.hours_per_trial is None else self.trials * self.hours_per_trial

    @property
    def hours_to_run(self) -> float | None:
        """Hours of the unfinished trials; None if unknown."""
        return None if self.hours_per_trial is None else self.to_run * self.hours_per_trial


def estimates(sweep: SweepSpec, storage: Storage) -> list[Estimate]:
    """Estimate the cost of the trials of a sweep, grouped by model, dataset and source."""
    costs = {block.label: block.cost for block in sweep.blocks}
    measured: dict[str, list[float]] = defaultdict(list)
    devices: dict[str, str] = {}
    unfinished = {
        fingerprint
        for fingerprint, state in states_of(sweep.cells, storage).items()
        if not state.is_finished
    }
    for cell in sweep.cells:
        folder = storage.trial(cell.fingerprint)
        state = folder.state()
        if state is TrialState.COMPLETE:  # a diverged trial ended early
            history, result = folder.read_history(), folder.result.read()
            if history.is_whole and result is not None:
                measured[_shape(cell)].append(history.seconds)
                devices[_shape(cell)] = result.device
    rows: dict[tuple[str, float | None, str], list[Cell]] = defaultdict(list)
    key: tuple[str, float | None, str]
    for cell in sweep.cells:
        cost = costs[cell.block]
        what = cost.what if cost else f"{cell.recipe.model.name} on {cell.recipe.dataset.name}"
        if seconds := measured.get(_shape(cell)):
            source = f"{len(seconds)} finished on {devices[_shape(cell)]}"
            key = (f"{what}, {_epochs(cell)}", sum(seconds) / len(seconds) / 3600, source)
        elif cost is not None:
            key = (what, cost.hours, f"{cost.source} ({cost.gpu})")
        else:
            key = (f"{what}, {_epochs(cell)}", None, "unknown until a trial has finished")
        rows[key].append(cell)
    return [
        Estimate(
            what,
            trials=len(cells),
            to_run=sum(cell.fingerprint in unfinished for cell in cells),
            hours_per_trial=hours,
            source=source,
        )
        for (what, hours, source), cells in rows.items()
    ]


def _epochs(cell: Cell) -> str:
    recipe = cell.recipe
    both = f"{recipe.epochs} + {recipe.batchnorm_epochs}"
    length = "" if recipe.steps_per_epoch is None else f" of {recipe.steps_per_epoch} steps"
    return f"{both if recipe.batchnorm_epochs else recipe.epochs} epochs{length}"


def _shape(cell: Cell) -> str:
    """Return a key of the settings on which the cost of a trial depends most."""
    recipe = cell.recipe
    numbers = recipe.batch_size, recipe.epochs, recipe.batchnorm_epochs, recipe.steps_per_epoch
    teacher = recipe.distillation and (recipe.distillation.model or recipe.model)
    return canonical_key((recipe.model, recipe.dataset, numbers, teacher))
