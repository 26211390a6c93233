"""Checks of what a user's files and code give: inputs and targets of examples."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError, described


@contextmanager
def naming_errors(what: str) -> Iterator[None]:
    """Convert the errors of a user's code in a `with` block into one line.

    Args:
        what: what raises them, such as ``"MyData.train_dataset"``.

    Raises:
        ConfigurationError: for any error but one of exhausted memory.
    """
    try:
        yield
    except (ConfigurationError, MemoryError):
        raise
    except Exception as error:  # the user's code may raise anything
        raise ConfigurationError(f"{what} raises {described(error)}") from error


def require_batch(owner: str, batch: Any, count: int) -> tuple[Tensor, Tensor]:
    """Return the inputs and the targets of a batch.

    Args:
        owner: name of the dataset, for messages.
        batch: what collated the examples.
        count: number of examples.

    Raises:
        ConfigurationError: if the batch is not a pair of tensors of so many rows.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, targets = batch
        if all(isinstance(part, Tensor) and part.dim() for part in batch):
            if len(inputs) == len(targets) == count:
                return inputs, targets
            found = f"tensors of {len(inputs)} and {len(targets)} rows"
        else:
            found = f"a pair of {type(inputs).__name__} and {type(targets).__name__}"
    else:
        found = f"a {type(batch).__name__}"
    raise ConfigurationError(
        f"{owner}: the batch of {count} examples is {found}; must be inputs and targets, a pair of "
        f"tensors with {count} rows, so return pairs (input, target), or define collate"
    )


def require_finite(what: str, values: Tensor, rows: Sequence[int] | range) -> None:
    """Check that floating-point numbers are finite.

    Args:
        what: words before the position of a row, such as ``"x.npy: row"``.
        values: (num_rows, ...) the values.
        rows: positions of the rows in their source.

    Raises:
        ConfigurationError: if one is infinite or NaN. The message names the first such row.
    """
    fits = values.isfinite()
    if not fits.all():
        row = rows[_first(~fits)]
        raise ConfigurationError(f"{what} {row} has a number that is infinite or NaN; remove it")


def require_in_range(what: str, values: Tensor, count: int, rows: Sequence[int] | range) -> None:
    """Check that whole numbers are from 0 to `count` - 1.

    Args:
        what: see `require_finite`.
        values: (num_rows, ...) the values.
        count: number of classes or symbols.
        rows: see `require_finite`.

    Raises:
        ConfigurationError: if one is not. The message names the first such row.
    """
    wrong = out_of_range(values, count)
    if wrong.any():
        raise ConfigurationError(
            f"{what} {rows[_first(wrong)]} has {int(values[wrong][0])}, which is out of range; "
            f"must be from 0 to {count - 1}"
        )


def out_of_range(values: Tensor, count: int) -> Tensor:
    """Return which whole numbers are not from 0 to `count` - 1.

    Args:
        values: numbers of any type of whole numbers.
        count: number of classes or symbols, which the type need not have.
    """
    most = count - 1
    if values.dtype is not torch.bool:  # torch would convert a larger number to the type
        most = min(most, torch.iinfo(values.dtype).max)
    return (values < 0) | (values > most)


def require_number_of(owner: object, field: str, values: Tensor, what: str) -> None:
    """Check that whole numbers have a number of classes or symbols, and other numbers have none.

    Args:
        owner: dataset with the field.
        field: the field with the number, None for none.
        values: some of the values.
        what: name of the values, such as ``"targets"``.

    Raises:
        ConfigurationError: if they do not fit.
    """
    value = getattr(owner, field)
    if values.is_floating_point() and value is not None:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {value}: must be None, because {what} are "
            "floating-point numbers"
        )
    if not values.is_floating_point() and value is None:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = None: must be how many {field} there are, because "
            f"{what} are whole numbers; if they are quantities, convert them to float32"
        )


def as_targets(targets: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return targets as tasks take them.

    Args:
        targets: (batch, ...) whole or floating-point numbers.
        dtype: dtype of floating-point targets.

    Returns:
        int64 classes or symbols; or numbers, of which a single one for each example has the shape
        (batch, 1).
    """
    if not targets.is_floating_point():
        return targets.long()
    numbers = targets.to(dtype)
    return numbers[:, None] if numbers.dim() == 1 else numbers


def _first(wrong: Tensor) -> int:
    """Return the first row that has something wrong."""
    return int(wrong.flatten(1).any(dim=1).nonzero()[0] if wrong.dim() > 1 else wrong.nonzero()[0])
