"""Durations in words, as GitLab takes them for `timeout` and `start_in`: `1h 30m`, `3 hours and 5 minutes`, `90`."""

from __future__ import annotations

import re

LONGEST_DURATION = 366 * 86400.0
"""Seconds. GitLab's own bound for a job is a month; what is far beyond is a mistake."""

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{2})")
_UNITS = {
    1.0: ("s", "sec", "secs", "second", "seconds"),
    60.0: ("m", "min", "mins", "minute", "minutes"),
    3600.0: ("h", "hr", "hrs", "hour", "hours"),
    86400.0: ("d", "dy", "day", "days"),
    7 * 86400.0: ("w", "wk", "week", "weeks"),
    30 * 86400.0: ("mo", "mos", "month", "months"),
}
_SECONDS = {word: seconds for seconds, words in _UNITS.items() for word in words}


def read_duration(text: str) -> float | None:
    """Read a duration as seconds, more than 0 and at most `LONGEST_DURATION`; None for anything else.

    A bare number is seconds, `1:30` is minutes and seconds.
    """
    plain = text.strip().lower()
    seconds = _bare(plain) or _clock(plain) or _words(plain)
    return seconds if 0 < seconds <= LONGEST_DURATION else None


def _bare(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,12}", text) else 0.0


def _clock(text: str) -> float:
    found = _CLOCK.fullmatch(text)
    if not found or len(text) > 12:
        return 0.0
    return int(found[1] or 0) * 3600.0 + int(found[2]) * 60.0 + int(found[3])


def _words(text: str) -> float:
    total = 0.0
    for number, unit in _PART.findall(text):
        if unit not in _SECONDS:
            return 0.0
        total += float(number) * _SECONDS[unit]
    rest = re.sub(r"\band\b", "", _PART.sub("", text))
    return total if not rest.strip(" ,") else 0.0
