"""Ask, dispatch, count: jobs from GitLab, each in a task of one group, never more than `concurrent`.

The scheduler knows no kind of executor and no wire: it asks through a `Coordinator`, and what it gets it hands to
`start_job`. Draining stops the asking and lets the running jobs end; cancelling the scheduler ends them too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from runner.gitlab.replies import JobAnswer
from runner.manager.capacity import Ask, Capacity

if TYPE_CHECKING:
    from runner.gitlab.replies import JobReply
    from runner.job.payload import Job

log = structlog.get_logger()


class Desk(Protocol):
    """Where one runner asks for its jobs."""

    async def request_job(self, *, long_poll: bool) -> JobReply:
        """Ask once. Never raises for what GitLab or the network does; when cancelled it may still return a job."""


class Scheduler:
    """The loop that fills free slots. `run` is one task; each question and each job is a child of it."""

    def __init__(
        self,
        capacity: Capacity,
        desks: Mapping[Hashable, Desk],
        start_job: Callable[[Hashable, Job], Awaitable[None]],
    ) -> None:
        self._capacity = capacity
        self._desks = desks
        self._start_job = start_job
        self._changed = anyio.Event()
        self._asking = anyio.CancelScope()
        self.draining = False
        """Whether no more jobs are asked for."""

    def drain(self) -> None:
        """Ask for no more jobs. Questions under way are called off; jobs that run go on."""
        self.draining = True
        self._asking.cancel()
        self._wake()

    def notice(self) -> None:
        """Look again: runners or limits have changed."""
        self._wake()

    async def run(self) -> None:
        """Ask and run until drained and empty, or cancelled."""
        async with anyio.create_task_group() as jobs:
            with self._asking:
                async with anyio.create_task_group() as questions:
                    while not self.draining:
                        changed = self._changed
                        now = anyio.current_time()
                        for ask in self._capacity.next_asks(now):
                            questions.start_soon(self._ask, ask, jobs, name=f"ask {ask.number}")
                        wakeup = self._capacity.next_wakeup(now)
                        with anyio.move_on_after(None if wakeup is None else wakeup - now):
                            await changed.wait()

    async def _ask(self, ask: Ask, jobs: anyio.abc.TaskGroup) -> None:
        """One question. Its slot goes to the job that comes, or back."""
        reply: JobReply | None = None
        try:
            reply = await self._desks[ask.runner].request_job(long_poll=ask.long_poll)
        finally:
            job = reply.job if reply else None
            self._capacity.answered(
                ask, anyio.current_time(), job=job is not None, retry_after=reply.retry_after if reply else None
            )
            if job is not None:
                jobs.start_soon(self._run_job, ask.runner, job, name=f"job {job.id}")
            self._wake()
        if reply.trouble:
            level = log.error if reply.answer in (JobAnswer.FORBIDDEN, JobAnswer.GARBAGE) else log.warning
            level("asking for a job failed", runner=str(ask.runner), reason=str(reply.trouble))

    async def _run_job(self, runner: Hashable, job: Job) -> None:
        try:
            await self._start_job(runner, job)
        finally:
            self._capacity.finished(runner)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
