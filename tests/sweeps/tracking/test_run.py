"""What an MLflow run shows of a trial, without a server."""

from sweeps.storage import TrialState
from sweeps.tracking.run import RecordedState, final_metrics
from tests.sweeps.trial_files import ended


def test_final_metrics_are_those_that_a_trial_has() -> None:
    older = ended(validation_accuracy=0.4, test_accuracy=0.5)
    assert final_metrics(RecordedState(TrialState.COMPLETE, older), 7.0) == {
        "seconds_total": 7.0,
        "validation_accuracy": 0.4,
        "test_accuracy": 0.5,
    }
    details = {"test_accuracy_top5": 0.9, "validation_accuracy_top5": 0.8, "selected_epoch": 3}
    newer = ended(**details)
    assert final_metrics(RecordedState(TrialState.COMPLETE, newer), None) == {
        "test_accuracy": 0.5,
        **details,
    }
    diverged = ended(TrialState.DIVERGED)
    assert final_metrics(RecordedState(TrialState.DIVERGED, diverged), 1.0) == {
        "seconds_total": 1.0
    }
