"""Limits on the time of a part of a job, beyond which the whole job ends: `prepare_timeout`, `get_sources_timeout`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from runner.job.durations import format_duration
from runner.job.outcome import JobTimeoutError


class Limit:
    """A limit that a runner sets on a part of its jobs.

    Its time begins when the part does and does not stop in between: retries and their pauses count.
    """

    def __init__(self, name: str, timeout: float | None) -> None:
        """`name` is the part's, for people; a timeout that is not above zero is none."""
        self._name = name
        self._timeout = timeout if timeout and timeout > 0 else None
        self._deadline = float("inf")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Cut what runs meanwhile when the time is over. Raises JobTimeoutError then.

        May be entered again for the same part: the time goes on.
        """
        if self._timeout is not None:
            self._deadline = min(self._deadline, anyio.current_time() + self._timeout)
        with anyio.CancelScope(deadline=self._deadline) as scope:
            yield
        if scope.cancelled_caught:
            spent = format_duration(self._timeout or 0.0)
            raise JobTimeoutError(f"{self._name} timeout: exceeded timeout of {spent}")
