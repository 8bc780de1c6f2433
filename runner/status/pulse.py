"""Whether the event loop turns, and how late it is.

A loop that something holds answers nobody, and a probe's own time-out tells of that. One that is merely too busy does
answer: what it is worth shows in how late a moment comes that was agreed upon before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

BEAT_INTERVAL = 1.0
LAG_MAX = 5.0
"""Seconds of lag from which on the loop does not count as turning."""

_BEATS_KEPT = 10


class Pulse:
    """Beats once a second and keeps the lags of the last ten beats. `run` it in a task."""

    def __init__(self, lagged: Callable[[float], None], *, interval: float = BEAT_INTERVAL) -> None:
        """`lagged` hears of each beat's lag."""
        self._lagged = lagged
        self._interval = interval
        self._lags: deque[float] = deque(maxlen=_BEATS_KEPT)
        self._due_at: float | None = None

    @property
    def lag(self) -> float:
        """The worst lag of the last beats, and of the one that is due; infinite while nothing beats."""
        if self._due_at is None:
            return float("inf")
        return max(*self._lags, anyio.current_time() - self._due_at, 0.0, 0.0)

    async def run(self) -> None:
        """Beat until cancelled."""
        try:
            while True:
                self._due_at = anyio.current_time() + self._interval
                await anyio.sleep_until(self._due_at)
                lag = max(0.0, anyio.current_time() - self._due_at)
                self._lags.append(lag)
                self._lagged(lag)
        finally:
            self._due_at = None
