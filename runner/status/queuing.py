"""Whether a job had waited at GitLab for longer than its runner's operator accepts.

Pure: the moment is an argument. A period is written in cron's form, with seconds before the minutes and a year at the
end where there are seven fields, as in GitLab Runner: `* * 9-17 * * mon-fri *`. Of the entries of
`[[runners.monitoring.job_queuing_durations]]` the last one counts whose period it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from runner.config.unfollowed import Monitoring, QueuingDuration

_MONTHS: Mapping[str, int] = MappingProxyType(
    {
        **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6},
        **{"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12},
    }
)
_DAYS: Mapping[str, int] = MappingProxyType({"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6})
_NO_NAMES: Mapping[str, int] = MappingProxyType({})
# Smallest and largest value, names, and what of a moment is compared.
_FIELDS: tuple[tuple[int, int, Mapping[str, int], Callable[[datetime], int]], ...] = (
    (0, 59, _NO_NAMES, lambda moment: moment.second),
    (0, 59, _NO_NAMES, lambda moment: moment.minute),
    (0, 23, _NO_NAMES, lambda moment: moment.hour),
    (1, 31, _NO_NAMES, lambda moment: moment.day),
    (1, 12, _MONTHS, lambda moment: moment.month),
    (0, 7, _DAYS, lambda moment: moment.isoweekday() % 7),
    (1970, 2099, _NO_NAMES, lambda moment: moment.year),
)
_DAY_OF_MONTH, _DAY_OF_WEEK = 3, 5


def waited_too_long(monitoring: Monitoring, *, seconds: float, running: str, now: datetime) -> bool:
    """Tell whether a wait of `seconds` is more than the entry of this moment accepts.

    `running` is GitLab's number of the project's running jobs, `now` a moment with its time zone. An entry without a
    threshold, or whose pattern does not fit `running`, accepts any wait.
    """
    present = [entry for entry in monitoring.job_queuing_durations if _is_present(entry, now)]
    if not present:
        return False
    entry = present[-1]
    return entry.threshold > 0 and seconds > entry.threshold and _fits(entry.jobs_running_for_project, running)


def in_period(period: str, moment: datetime) -> bool:
    """Tell whether a moment lies in a period. ValueError for what is none.

    Where both are given, the day of the month or the day of the week is enough, as cron has it.
    """
    fields = _parsed(period)
    fits = [values is None or read(moment) in values for values, (*_, read) in zip(fields, _FIELDS, strict=True)]
    if fields[_DAY_OF_MONTH] is not None and fields[_DAY_OF_WEEK] is not None:
        fits[_DAY_OF_MONTH] = fits[_DAY_OF_WEEK] = fits[_DAY_OF_MONTH] or fits[_DAY_OF_WEEK]
    return all(fits)


def _is_present(entry: QueuingDuration, now: datetime) -> bool:
    try:
        return any(in_period(period, now.astimezone(_zone(entry.timezone))) for period in entry.periods)
    except ValueError:
        return False


def _zone(name: str) -> tzinfo | None:
    """The zone of a name; none, which is the machine's, for no name and for one that the machine does not know."""
    if not name or name.lower() == "local":
        return None
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        return None


def _fits(pattern: str, running: str) -> bool:
    try:
        return not pattern or re.search(pattern, running[:16]) is not None
    except re.error:
        return False


@lru_cache(maxsize=256)
def _parsed(period: str) -> tuple[Collection[int] | None, ...]:
    """The values that each of the seven fields takes; None: any."""
    words = period.lower().split()
    if len(words) == 5:
        words = ["*", *words, "*"]
    elif len(words) == 6:
        words = ["*", *words]
    if len(words) != len(_FIELDS):
        raise ValueError(f"{period!r} has {len(words)} fields, and 5, 6 or 7 are a period.")
    return tuple(_values(word, low, high, names) for word, (low, high, names, _) in zip(words, _FIELDS, strict=True))


def _values(word: str, low: int, high: int, names: Mapping[str, int]) -> Collection[int] | None:
    if word in {"*", "?"}:
        return None
    values: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        start = low if first == "*" else _number(first, low, high, names)
        end = _number(last, low, high, names) if dash else high if first == "*" or slash else start
        width = _number(step, 1, high, _NO_NAMES) if slash else 1
        values.update(range(start, end + 1, width))
    if names is _DAYS and 7 in values:
        values.add(0)  # Sunday has two numbers
    return frozenset(values)


def _number(word: str, low: int, high: int, names: Mapping[str, int]) -> int:
    number = names.get(word[:3], -1) if word.isalpha() else int(word)
    if not low <= number <= high:
        raise ValueError(f"{word!r} does not lie between {low} and {high}.")
    return number
