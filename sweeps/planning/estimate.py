"""What a sweep will cost: from finished trials of the same shape, else from published figures."""

from collections import defaultdict
from dataclasses import dataclass

from quantlab.canonical import canonical_key
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.standing import states_of


@dataclass(frozen=True)
class Estimate:
    """Trials that are reckoned with at the same cost."""

    what: str
    """Model and data."""
    trials: int
    to_run: int
    hours_per_trial: float | None
    """Of the GPU, or of the CPU slot, that `source` names; None if nothing is known."""
    source: str
    """Where that comes from."""

    @property
    def hours(self) -> float | None:
        """Of all trials."""
        return None if self.hours_per_trial is None else self.trials * self.hours_per_trial

    @property
    def hours_to_run(self) -> float | None:
        """Of those that are not finished."""
        return None if self.hours_per_trial is None else self.to_run * self.hours_per_trial


def estimates(sweep: SweepSpec, storage: Storage) -> list[Estimate]:
    """What the trials of a sweep take, added up by model, data and source."""
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
        if state is TrialState.COMPLETE:  # a diverged one was cut short
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
            key = (f"{what}, {_epochs(cell)}", None, "unknown until one has finished")
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
    return f"{both if recipe.batchnorm_epochs else recipe.epochs} epochs"


def _shape(cell: Cell) -> str:
    """What a trial's cost depends on most."""
    recipe = cell.recipe
    numbers = recipe.batch_size, recipe.epochs, recipe.batchnorm_epochs
    return canonical_key((recipe.model, recipe.dataset, numbers))
