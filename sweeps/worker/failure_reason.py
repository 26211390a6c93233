"""Summarize errors of Ray in one line."""

from ray.exceptions import RayActorError, RayTaskError

from quantlab.errors import first_line


def reason_of(error: Exception | None) -> str:
    """Return the reason for which a worker ended, in one line.

    Args:
        error: the error that Ray raised; None if there is none.
    """
    if error is None:
        return "no reason is known"
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return f"{type(error.cause).__name__}: {first_line(error.cause)}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    has_traceback = any(line.startswith("Traceback") for line in lines)
    if has_traceback or (isinstance(error, RayActorError) and error.actor_init_failed):
        return lines[-1].strip()  # the type and message of the exception
    message = [line for line in lines if not line.startswith("\t")]  # lines with a tab hold ids
    return " ".join(" ".join(message).split())[:500] or type(error).__name__
