"""Connections of the driver to Ray and to the tracking server, and the signals that end it.

Ray reads its settings from the environment when it is imported. They are set here, before any file
of this package imports Ray.
"""

import logging
import os

# The trial folders replace the log files and snapshots of Tune, and `SweepStopper` handles Ctrl-C.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(10**9))
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Ray starts no worker processes in advance, but those of `early_workers`.
os.environ.setdefault("RAY_enable_worker_prestart", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")

# Tune would report every failed attempt, even if a retry succeeds.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)
# Nothing reads what Tune saves beside the trials, so that a full disk is told of by them alone.
logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
