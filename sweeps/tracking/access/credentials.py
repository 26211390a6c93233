"""The credentials that MLflow sends to a server: where they are from, without showing them."""

import os
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import read_mlflow_creds

from quantlab import ConfigurationError
from sweeps.printing.secrets import hide, remember_secret

USERNAME, PASSWORD, TOKEN = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
FILE = "~/.mlflow/credentials"


def hide_credentials() -> None:
    """Hide the password of MLflow's file of credentials in all output from now on.

    Those of the environment are hidden anyway.

    Raises:
        ConfigurationError: the file is not one of credentials.
    """
    try:
        remember_secret(read_mlflow_creds().password)
    except (OSError, ValueError, MlflowException) as error:  # among them those of configparser
        raise ConfigurationError(_of_file(error)) from error
    except Exception as error:
        if type(error).__module__ != "configparser":
            raise
        raise ConfigurationError(_of_file(error)) from error


def sent_to(uri: str) -> str:
    """Return the name of the credentials that are sent to a server; empty if there are none.

    Args:
        uri: the URI of the server.
    """
    if "@" in urlsplit(uri).netloc:  # which has precedence over all others
        return "the password in the URI"
    found = read_mlflow_creds()
    if found.username and found.password:
        return PASSWORD if os.environ.get(PASSWORD) else f"the password in {FILE}"
    return TOKEN if os.environ.get(TOKEN) else ""


def _of_file(error: Exception) -> str:
    first = hide(str(error).splitlines()[0] if str(error) else type(error).__name__)
    return (
        f"{FILE}: cannot be read ({first}); must have a section [mlflow] with "
        f"{USERNAME.lower()} and {PASSWORD.lower()}"
    )
