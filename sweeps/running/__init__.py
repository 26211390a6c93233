"""The driver: it hands trials to workers through Ray Tune until none is left.

Ray reads its settings when it is imported, so they are set here, before any file of this package.
"""

import logging
import os

# Before Ray is imported: our own records stand in for Tune's log files and snapshots, and Ctrl-C is
# ours.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(10**9))
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Processes that are started before they are asked for; Tune asks for those of another environment.
os.environ.setdefault("RAY_enable_worker_prestart", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")

# It would report every attempt that another one has made good.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)
