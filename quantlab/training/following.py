"""What every replica but the first one runs."""

from contextlib import suppress

from quantlab.errors import NonFiniteLossError
from quantlab.training.run import TrainingRun


def follow(run: TrainingRun) -> None:
    """Train as one of several replicas, until the first one stops or has evaluated the network.

    The first replica must train with `TrainingRun.train`, or iterate over the run, and may then
    call `TrainingRun.outcome` and `TrainingRun.final_weights`, once and in this order.

    Args:
        run: a run whose `replicas` do not lead.

    Raises:
        LostProcessError: if another replica was killed.
        Exception: any error of the training, on whichever replica it occurs first.
    """
    assert not run.replicas.is_leading
    with suppress(NonFiniteLossError):  # which the first replica reports
        for _ in run.train():
            pass
        if run.is_trained:
            run.outcome()
            run.final_weights()
