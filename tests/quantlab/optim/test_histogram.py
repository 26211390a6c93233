"""The histogram of the proximal weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantlab import Quantization, Stage, TrainingRun
from quantlab.optim.histogram import NUM_BINS, weight_histogram
from quantlab.quantization_sets import QUATERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.recipes import quantized


@given(st.lists(st.floats(-3, 3, width=32), max_size=50))
def test_every_weight_is_in_the_nearest_bin(values: list[float]) -> None:
    found = weight_histogram([torch.tensor(values)], -1, 1)
    assert sum(found.counts) == len(values)
    width = 2 / (NUM_BINS - 1)
    for place, count in enumerate(found.counts):
        middle = -1 + place * width
        near = [v for v in values if abs(min(max(v, -1), 1) - middle) < width / 2 * 0.999]
        assert count >= len(near)


def test_levels_stand_in_the_middle_of_their_bins() -> None:
    levels = torch.tensor(QUATERNARY)
    found = weight_histogram([levels, levels[:2]], QUATERNARY[0], QUATERNARY[-1])
    places = [place for place, count in enumerate(found.counts) if count]
    assert [-1 + 0.05 * place for place in places] == pytest.approx(QUATERNARY)
    assert [found.counts[place] for place in places] == [2, 2, 1, 1]


def test_what_is_not_a_number_is_left_out() -> None:
    found = weight_histogram([torch.tensor([float("nan"), float("inf"), 0.0])], -1, 1)
    assert sum(found.counts) == 2
    assert found.counts[-1] == 1


def test_records_have_it_until_the_weights_are_frozen() -> None:
    for quantizer in (Nearest(), PiecewiseLinear()):
        quantization = Quantization(
            rule=PROX_CONNECT, quantizer=quantizer, sharpness=Linear(rho0=0.05)
        )
        run = TrainingRun(quantized(quantization=quantization))
        records = list(run)
        for record in records:
            if record.stage is Stage.BATCHNORM:
                assert record.weight_histogram is None
                continue
            assert record.weight_histogram is not None
            occupied = sum(count > 0 for count in record.weight_histogram.counts)
            assert (occupied <= 3) == isinstance(quantizer, Nearest)
    full_precision = TrainingRun(quantized(quantization=None, batchnorm_epochs=0))
    assert {record.weight_histogram for record in full_precision} == {None}
