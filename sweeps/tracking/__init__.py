"""MLflow: deliver the contents of trial folders to a tracking server.

MLflow reads its settings when it is imported, so this package sets them before it imports MLflow.
"""

import os

# MLflow's own retries would create a second run where only the answer to the first request was
# lost. A repeated delivery searches for the run first.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# Otherwise MLflow prints two lines per trial.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
