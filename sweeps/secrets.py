"""Passwords and tokens, of URIs and of the environment, stay out of whatever is written or printed.

Libraries put the URI that they were given into their exceptions and logs, whole; so what they say
passes through `hide` before it goes anywhere.
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
"""Shorter ones are hidden within URIs only: elsewhere they are parts of words."""

_NAMED_SECRET = re.compile(r"(?i)pass(word|wd)?$|pwd$|secret|token|key$|credential|^sig|auth$")
"""What parameters of a URI are called that hold one."""
_OF_ENVIRONMENT = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIALS|_KEY)$")
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s/:@'\"]*):([^\s/'\"]*)(?=@)")
_TOKEN_AS_USER = re.compile(r"(?<=://)(?<=http://|ttps://)([^\s/:@'\"]+)(?=@)")
_PARAMETER = re.compile(r"([?&;])([^\s=&?#'\"]+)=([^\s&#'\"]+)")

_known: set[str] = set()
"""Secrets of URIs that this process was given."""


def remember(uri: str | None) -> None:
    """Hide what is secret of this URI from now on, also where it stands without the rest of it."""
    if not uri:
        return
    _known.update(_secrets_of(uri))


def hide(text: str) -> str:
    """The text with ``***`` in the place of each secret."""
    secrets = _known | set(_of_environment(os.environ))
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _USER_AND_PASSWORD.sub(rf"\1:{HIDDEN}", text)
    text = _TOKEN_AS_USER.sub(HIDDEN, text)
    return _PARAMETER.sub(
        lambda found: (
            f"{found[1]}{found[2]}={HIDDEN}" if _NAMED_SECRET.search(found[2]) else found[0]
        ),
        text,
    )


def guard() -> None:
    """Hide secrets in this process's logs and tracebacks, too."""
    sys.excepthook = _print_hidden
    threading.excepthook = lambda raised: _print_hidden(
        raised.exc_type, raised.exc_value, raised.exc_traceback
    )
    make = logging.getLogRecordFactory()
    if not getattr(make, "hides_secrets", False):
        logging.setLogRecordFactory(_HidingRecords(make))


class _HidingRecords:
    """Makes log records whose message holds no secret."""

    hides_secrets = True

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*arguments, **named)
        try:
            said = record.getMessage()
        except Exception:  # a fault of the caller, which its handler reports
            return record
        if (hidden := hide(said)) != said:
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
    """As they stand there, and as they are meant; of a URI that is none, as far as it can be read.

    A password may hold what should have been written as ``%40`` or ``%2F``: it ends at the last
    ``@``, as SQLAlchemy reads it.
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
    found += [value for key, value in parse_qsl(query) if _NAMED_SECRET.search(key)]
    every = {form for secret in found for form in (secret, unquote(secret))}
    return {secret for secret in every if len(secret) >= SHORTEST}


def _of_environment(environment: Mapping[str, str]) -> list[str]:
    return [
        value
        for name, value in environment.items()
        if _OF_ENVIRONMENT.search(name) and len(value) >= 2 * SHORTEST
    ]
