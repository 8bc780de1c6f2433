"""How long to wait before asking GitLab again: its own word first, else exponential with full jitter.

Law: pure. The moment and the random fraction are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX = 900.0
"""Seconds: the longest wait that a server is believed. GitLab's own are a minute; a broken proxy's may be a day."""

RETRY_ATTEMPTS = 5
"""How often a request that may be repeated is sent in all, as GitLab Runner does."""

_EXPONENT_MAX = 32


def is_retriable(status: int) -> bool:
    """Tell whether an answer with this status means "not now": 408, 429, 500, 502, 503, 504 and everything from 512."""
    return status in {408, 429, 500, 502, 503, 504} or status >= 512


def server_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the answer asks us to wait, None when it does not.

    `RateLimit-ResetTime` (an HTTP date, GitLab's rate limiter) counts before `Retry-After` (seconds, or an HTTP date),
    and that before `RateLimit-Reset` (seconds since the epoch). A date in the past and garbage are no answer. `now` is
    seconds since the epoch; `headers` must not mind case. At most RETRY_AFTER_MAX.
    """
    delay = _until(headers.get("RateLimit-ResetTime", ""), now)
    if delay is None:
        text = headers.get("Retry-After", "").strip()
        delay = float(text) if _is_number(text) else _until(text, now)
    if not delay and _is_number(text := headers.get("RateLimit-Reset", "").strip()):
        delay = max(float(text) - now, 0.0)
    return min(delay, RETRY_AFTER_MAX) if delay else None


def jittered(attempt: int, fraction: float, *, initial: float = 0.1, limit: float = 60.0) -> float:
    """Return the wait after failed attempt number `attempt` (from 1): `fraction` of `initial` doubled each time.

    Full jitter, so a thousand clients of a server that comes back do not arrive together. `fraction` is random in [0,
    1).
    """
    return fraction * min(limit, initial * 2.0 ** min(attempt - 1, _EXPONENT_MAX))


class Backoff:
    """Waits that double from `initial` to `limit` while things fail, and begin anew with the first success.

    For asking for jobs the limit is half a minute: after an outage of any length the runner is back within that.
    """

    def __init__(self, *, initial: float = 1.0, limit: float = 30.0) -> None:
        self._initial = initial
        self._limit = limit
        self._failures = 0

    def failed(self, fraction: float) -> float:
        """Count a failure and return the seconds to wait: between a half and the whole of the doubled wait.

        Never near zero, unlike full jitter: this wait also keeps an unreachable server from being asked in a tight
        loop.
        """
        self._failures += 1
        whole = jittered(self._failures, 1.0, initial=self._initial, limit=self._limit)
        return whole * (0.5 + fraction / 2)

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _until(text: str, now: float) -> float | None:
    try:
        delay = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return None
    return delay if delay > 0 else None
