"""Limits on the time of a part of a job, beyond which the whole job ends: `prepare_timeout`, `get_sources_timeout`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import anyio

from runner.job.durations import format_duration
from runner.job.outcome import JobTimeoutError
from runner.job.stages import Stage

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig


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


class Limits:
    """The limits of one job, by stage."""

    def __init__(self, runner: RunnerConfig) -> None:
        preparation = Limit("prepare", runner.prepare_timeout)
        sources = Limit("get sources", runner.get_sources_timeout)
        self._limits: Mapping[str, Limit] = {
            Stage.PREPARE_EXECUTOR: preparation,
            Stage.PREPARE_SCRIPT: preparation,
            Stage.GET_SOURCES: sources,
            Stage.CLEAR_WORKTREE: sources,
        }

    def of(self, stage: str) -> AbstractContextManager[None]:
        """Apply the limit that a stage has, if it has one."""
        limit = self._limits.get(stage)
        return limit.applied() if limit else nullcontext()
