"""Keep passwords and tokens of URIs and of the environment out of all output.

Libraries include the URI that they were given in their exceptions and logs, so their messages pass
through `hide` before they are printed or written.
"""

import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
SHORTEST = 3
"""Shorter secrets are hidden within URIs only, because elsewhere they may be parts of words."""

_NAMED_SECRET = re.compile(r"(?i)pass(word|wd)?$|pwd$|secret|token|key$|credential|^sig|auth$")
"""Names of URI parameters that hold secrets."""
_NAMES_A_VIEW = "viewStateShareKey"
"""A parameter of MLflow's UI, whose value is not a secret."""
_OF_ENVIRONMENT = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIALS|_KEY)$")
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s/:@'\"]*):([^\s/'\"]*)(?=@)")
_TOKEN_AS_USER = re.compile(r"(?<=://)(?<=http://|ttps://)([^\s/:@'\"]+)(?=@)")
_PARAMETER = re.compile(r"([?&;])([^\s=&?#'\"]+)=([^\s&#'\"]+)")

_known: set[str] = set()
"""Secrets of the URIs that were passed to `remember`."""


def remember(uri: str | None) -> None:
    """Hide the secrets of a URI from now on, also in text that does not contain the whole URI."""
    if not uri:
        return
    _known.update(_secrets_of(uri))


def remember_secret(secret: str | None) -> None:
    """Hide a password or token from now on, unless it is so short that it may be part of a word."""
    if secret and len(secret) >= 2 * SHORTEST:
        _known.add(secret)


def known_secrets() -> frozenset[str]:
    """Return the secrets that were passed to `remember` and `remember_secret`."""
    return frozenset(_known)


def hide(text: str) -> str:
    """Return the text with ``***`` in place of each secret."""
    secrets = _known | set(_of_environment(os.environ))
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _USER_AND_PASSWORD.sub(rf"\1:{HIDDEN}", text)
    text = _TOKEN_AS_USER.sub(HIDDEN, text)
    return _PARAMETER.sub(
        lambda found: f"{found[1]}{found[2]}={HIDDEN}" if _holds_secret(found[2]) else found[0],
        text,
    )


def guard() -> None:
    """Hide secrets in the logs and tracebacks of this process."""
    sys.excepthook = _print_hidden
    threading.excepthook = lambda raised: _print_hidden(
        raised.exc_type, raised.exc_value, raised.exc_traceback
    )
    make = logging.getLogRecordFactory()
    if not getattr(make, "hides_secrets", False):
        logging.setLogRecordFactory(_HidingRecords(make))


class _HidingRecords:
    """A factory of log records whose messages contain no secrets."""

    hides_secrets = True

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*arguments, **named)
        try:
            message = record.getMessage()
        except Exception:  # the log handler reports invalid arguments
            return record
        if (hidden := hide(message)) != message:
            record.msg, record.args = hidden, None
        if record.exc_info:
            record.exc_text = hide("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record


def _print_hidden(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    text = "".join(traceback.format_exception(kind, error, where))
    print(hide(text), end="", file=sys.stderr)


def _secrets_of(uri: str) -> set[str]:
    """Return the secrets of a URI, both quoted and unquoted, also if the URI is malformed.

    A password may contain ``@`` or ``/`` that should have been quoted as ``%40`` or ``%2F``. It
    ends at the last ``@``, as in SQLAlchemy.
    """
    _, _, rest = uri.partition("://")
    authority, has_user, _ = rest.partition("?")[0].rpartition("@")
    user, has_password, password = authority.partition(":")
    found = []
    if has_user and has_password:
        found.append(password)
    elif has_user and uri.startswith("http") and "/" not in authority:
        found.append(user)
    try:
        query = urlsplit(uri).query
    except ValueError:
        query = uri.partition("?")[2]
    found += [value for key, value in parse_qsl(query) if _holds_secret(key)]
    every = {form for secret in found for form in (secret, unquote(secret))}
    return {secret for secret in every if len(secret) >= SHORTEST}


def _holds_secret(parameter: str) -> bool:
    return parameter != _NAMES_A_VIEW and _NAMED_SECRET.search(parameter) is not None


def _of_environment(environment: Mapping[str, str]) -> list[str]:
    return [
        value
        for name, value in environment.items()
        if _OF_ENVIRONMENT.search(name) and len(value) >= 2 * SHORTEST
    ]
