"""Choose trials by conditions, and say which axes and values there are if none is meant."""

import math
from collections.abc import Iterable, Mapping, Sequence

from quantlab.errors import ConfigurationError, suggestion
from sweeps.selection.conditions import Condition, number_of, parse

_MOST_SHOWN = 12
"""Labels of an axis that a message lists."""


def chosen_places(
    axes: Sequence[Mapping[str, str]],
    only: Iterable[str],
    whose: str,
    *,
    option: str = "--only",
) -> list[int]:
    """Return the positions of the trials that fulfil all conditions.

    Args:
        axes: the axes of each trial (see `sweeps.selection.axes`).
        only: texts of conditions (see `sweeps.selection.conditions`).
        whose: what the trials belong to, for messages, such as ``"sweep digits"``.
        option: the option that has the conditions, for messages.

    Raises:
        ConfigurationError: a text is no list of conditions, a name or a value is not there, or no
            trial fulfils all conditions. The message lists the axes and values that there are.
    """
    places = list(range(len(axes)))
    before: list[Condition] = []
    for text in only:
        for condition in parse(text, option):
            name = condition.name
            known = {one[name] for one in axes if name in one}
            _require_known(condition, known, f"{option} {text}", axes, whose)
            fulfilled = condition.labels(known)
            rest = [
                place
                for place in places
                if (
                    axes[place][name] in fulfilled
                    if name in axes[place]
                    else condition.allows_absence
                )
            ]
            if not rest:
                others = ",".join(map(str, before))
                among = f"no trial of {whose} with {others}" if before else f"no trial of {whose}"
                left = [axes[place] for place in places]
                raise ConfigurationError(f"{option} {text}: {among} has {condition}; {_list(left)}")
            places, before = rest, [*before, condition]
    return places


def _require_known(
    condition: Condition,
    known: set[str],
    given: str,
    axes: Sequence[Mapping[str, str]],
    whose: str,
) -> None:
    """Refuse names and values that no trial has, which are typing errors."""
    name = condition.name
    if not known:
        names = list(dict.fromkeys(name for one in axes for name in one))
        raise ConfigurationError(
            f"{given}: no trial of {whose} has {name!r}{suggestion(name, names)}; {_list(axes)}"
        )
    if condition.operator not in ("=", "!="):
        return
    for value in condition.values:
        if not value.labels(known):
            alike = suggestion(value.text, sorted(known))
            raise ConfigurationError(
                f"{given}: no trial of {whose} has {name} {value.text!r}{alike}; {_list(axes)}"
            )


def _list(axes: Sequence[Mapping[str, str]]) -> str:
    """List the axes of trials with their labels; blocks only if methods do not tell them apart."""
    labels: dict[str, set[str]] = {}
    for one in sorted(axes, key=len, reverse=True):  # those with all axes determine the order
        for name, label in one.items():
            labels.setdefault(name, set()).add(label)
    if labels.get("block") == labels.get("method"):
        labels.pop("block", None)
    shown = (f"{name} = {_some(found)}" for name, found in labels.items())
    return f"there are {'; '.join(shown)}"


def _some(labels: set[str]) -> str:
    """List labels in order: numbers by their size, before other labels."""

    def order(label: str) -> tuple[float, str]:
        number = number_of(label)
        return (math.inf if number is None else number, label)

    shown = ", ".join(sorted(labels, key=order)[:_MOST_SHOWN])
    return shown + (f", ... ({len(labels)} values)" if len(labels) > _MOST_SHOWN else "")
