"""Why a tracking server cannot be used, in one line, and what to do about it."""

import re
from collections.abc import Callable, Iterator

from quantlab.errors import first_line
from sweeps.printing.secrets import hide
from sweeps.tracking.access.credentials import PASSWORD, TOKEN, USERNAME, sent_to

_BY_CODE = {
    "PERMISSION_DENIED": "; ask for permission to edit the experiment, or give the sweep another "
    "`experiment`",
}
"""Error code of MLflow -> what to do."""


def reason(error: Exception, uri: str = "") -> str:
    """Describe an error of a tracking server in one line, without secrets and with advice.

    Args:
        error: the error, of MLflow or of a library that it uses.
        uri: the URI of the server.
    """
    text = " ".join(str(one) for one in _causes(error))
    code = str(getattr(error, "error_code", ""))
    if code == "UNAUTHENTICATED" or re.search(r"error code 401\b", text):
        return _refused(uri)
    for pattern, says in _KNOWN:
        if found := re.search(pattern, text):
            return says(found)
    *_, first = _causes(error)
    advice = _BY_CODE.get(code, "")
    if isinstance(first, OSError) and first.strerror:  # libraries wrap it several times
        return hide(first.strerror) + advice
    return hide(first_line(error)) + advice


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, and so on."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _refused(uri: str) -> str:
    sent = sent_to(uri)
    if not sent:
        return f"it requires a password or a token; set {USERNAME} and {PASSWORD}, or {TOKEN}"
    user = f" and {USERNAME}" if sent == PASSWORD else ""
    return f"it does not accept {sent}{user}; correct it, or ask for an account"


def _of_proxy(found: "re.Match[str]") -> str:
    return (
        f"the proxy in front of MLflow answers {found[1] or found[2]}, because MLflow does not "
        "answer it; start MLflow, or run the same command again later"
    )


_KNOWN: tuple[tuple[str, Callable[["re.Match[str]"], str]], ...] = (
    (r"too many (50[234]) error responses|error code (50[234])\b", _of_proxy),
    (
        r"certificate has expired",
        lambda found: "its certificate has expired; renew it on the server",
    ),
    (
        r"certificate is not valid for '([^']+)'",
        lambda found: (
            f"its certificate is not valid for {found[1]}; use the name of the server in "
            "its certificate"
        ),
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        lambda found: (
            "its certificate is of an authority that is unknown here; set "
            "MLFLOW_TRACKING_SERVER_CERT_PATH to the file with the authority's certificate"
        ),
    ),
    (
        r"WRONG_VERSION_NUMBER|wrong version number",
        lambda found: "it does not speak HTTPS; use http://, or the port for HTTPS",
    ),
    (
        r"error code 404 != 200\. Response body: '\s*<|not in a valid JSON format",
        lambda found: "there is no MLflow server at this path; correct the path of the URI",
    ),
)
"""Pattern in the texts of an error and its causes -> what to say instead."""
