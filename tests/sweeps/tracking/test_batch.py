from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import _validate_batch_log_limits

from sweeps.tracking.access.batch import Batch, joined


def _part(params: int, metrics: int, tags: int) -> Batch:
    return Batch(
        params=tuple(Param(f"p{place}", "1") for place in range(params)),
        metrics=tuple(Metric(f"m{place}", 1.0, 0, 0) for place in range(metrics)),
        tags=tuple(RunTag(f"t{place}", "1") for place in range(tags)),
    )


SIZES = st.tuples(st.integers(0, 100), st.integers(0, 800), st.integers(0, 100))


@given(st.lists(SIZES, max_size=8))
def test_all_parts_are_sent_in_order_and_mlflow_accepts_each_request(
    sizes: list[tuple[int, int, int]],
) -> None:
    parts = [_part(*size) for size in sizes]
    batches = list(joined(parts))
    for batch in batches:
        _validate_batch_log_limits(batch.metrics, batch.params, batch.tags)
    assert sum(batches, Batch()) == sum(parts, Batch())
    ends = [sum(batch.size for batch in batches[: place + 1]) for place in range(len(batches))]
    sums = [sum(part.size for part in parts[: place + 1]) for place in range(len(parts))]
    assert set(ends) <= set(sums), "a part was divided"


@given(st.lists(SIZES, max_size=8))
def test_no_two_requests_could_have_been_one(sizes: list[tuple[int, int, int]]) -> None:
    batches = list(joined([_part(*size) for size in sizes]))
    assert all(batch.size for batch in batches)
    for place, batch in enumerate(batches[1:]):
        first = _first_part(batch, sizes, sum(one.size for one in batches[: place + 1]))
        assert not (batches[place] + first).is_within_limits


def _first_part(batch: Batch, sizes: list[tuple[int, int, int]], start: int) -> Batch:
    """Return the first part of a batch that begins after so many entries."""
    before = 0
    for size in sizes:
        if before == start and sum(size):
            return _part(*size)
        before += sum(size)
    raise AssertionError(f"no part begins after {start} entries, as {batch} does")
