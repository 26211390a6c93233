"""MLflow: what trial folders hold is brought to a tracking server.

MLflow reads its settings when it is imported, so they are set here, before any file of this
package.
"""

import os

# MLflow's own retries would make a second run where only the answer to the first was lost; a
# repeated delivery looks first.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each trial
