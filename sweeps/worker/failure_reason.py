"""What ended a worker, in one line, of what Ray says in many."""

from ray.exceptions import RayActorError, RayTaskError

from quantlab.errors import first_line


def reason_of(error: Exception | None) -> str:
    """What ended a worker, in a line, of what Ray says in many."""
    if error is None:
        return "no reason given"
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return f"{type(error.cause).__name__}: {first_line(error.cause)}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    has_traceback = any(line.startswith("Traceback") for line in lines)
    if has_traceback or (isinstance(error, RayActorError) and error.actor_init_failed):
        return lines[-1].strip()  # what was raised
    told = [line for line in lines if not line.startswith("\t")]  # those are ids
    return " ".join(" ".join(told).split())[:500] or type(error).__name__
