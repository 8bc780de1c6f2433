"""Durations as Go writes them: `1h30m`, `15m0s`, `250ms`.

GitLab's users and config files speak Go's durations, and job logs print them; inside the project a duration is a
float of seconds. Only these two functions cross that border.
"""

import re

import durationpy

LONGEST_DURATION = float(2**63 // 10**9)
"""Seconds in Go's `time.Duration`: 63 bits of nanoseconds, about 292 years."""

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_GRAMMAR = re.compile(rf"[+-]?(?:0|(?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h))+)")
_EXPECTED = "must be a duration such as 1h30m, 15m or 45s"


def parse_duration(text: str) -> float:
    """Read a Go duration as seconds.

    The grammar is that of Go's `time.ParseDuration`: a sign, then numbers each with a unit (`0` alone needs none).
    Raises `ValueError` for anything else, and for what Go cannot hold.
    """
    # The library forgives blanks and rubbish between the parts; Go does not, and a typo must not become a number.
    if not _GRAMMAR.fullmatch(text):
        raise ValueError(_EXPECTED)
    try:
        seconds = float(durationpy.from_str(text).total_seconds())
    except (durationpy.DurationError, OverflowError):
        raise ValueError(_EXPECTED) from None
    if abs(seconds) > LONGEST_DURATION:
        raise ValueError(_EXPECTED)
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds as Go prints a duration: `1h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`."""
    sign = "-" if seconds < 0 else ""
    nanoseconds = round(abs(seconds) * 1e9)
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 10**3), ("µs", 10**6), ("ms", 10**9)):
        if nanoseconds < size:
            return f"{sign}{_decimal(nanoseconds, size // 1000)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{clock}{_decimal(rest, 10**9)}s"


def _decimal(value: int, one: int) -> str:
    """Write value/one without trailing zeros; exact, as floats are not."""
    whole, fraction = divmod(value, one)
    if not fraction:
        return str(whole)
    digits = str(fraction).rjust(len(str(one)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"
