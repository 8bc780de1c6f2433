"""The loop that fills free slots, with desks that answer when the test says."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import anyio
import anyio.lowlevel
import pytest

from runner.gitlab.replies import JobAnswer, JobReply
from runner.job.payload import Job
from runner.manager.capacity import Capacity
from runner.manager.scheduler import Scheduler
from runner.testing.payloads import job_payload


class Desk:
    """Answers each question with the next reply that the test has put there."""

    def __init__(self) -> None:
        self.asked = 0
        self.called_off = 0
        self.late: Job | None = None
        self.put, self._replies = anyio.create_memory_object_stream[JobReply](10)

    async def request_job(self, *, long_poll: bool) -> JobReply:
        """Wait for the test's reply; a question that is called off may still bring a job."""
        self.asked += 1
        try:
            return await self._replies.receive()
        except anyio.get_cancelled_exc_class():
            self.called_off += 1
            if self.late is not None:
                return JobReply(answer=JobAnswer.JOB, job=self.late)
            raise

    def close(self) -> None:
        """End the stream."""
        self.put.close()
        self._replies.close()


def job(number: int) -> Job:
    """A job with this id."""
    return Job.parse(job_payload(id=number))


class Stage:
    """A scheduler over one desk, whose jobs end when the test says."""

    def __init__(self, *, concurrent: int = 2) -> None:
        self.capacity = Capacity(concurrent=concurrent, check_interval=0.01)
        self.capacity.set_runner("a", limit=0, request_concurrency=1)
        self.desk = Desk()
        self.started: list[int] = []
        self.ended: list[int] = []
        self.let_go = anyio.Event()
        self.changed = anyio.Event()
        self.scheduler = Scheduler(self.capacity, {"a": self.desk}, self._run)

    async def _run(self, runner: Hashable, job: Job, _place_gone: Callable[[], None]) -> None:
        self.started.append(job.id)
        self.changed.set()
        try:
            await self.let_go.wait()
        finally:
            self.ended.append(job.id)

    async def until_started(self, count: int) -> None:
        """Wait for jobs."""
        with anyio.fail_after(5):
            while len(self.started) < count:
                self.changed = anyio.Event()
                await self.changed.wait()


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_run_when_jobs_come() -> None:
    """Jobs fill the slots; a full process asks no more; drained and empty, the loop ends."""
    stage = Stage(concurrent=2)
    async with anyio.create_task_group() as group:
        group.start_soon(stage.scheduler.run)
        for number in (1, 2):
            await stage.desk.put.send(JobReply(answer=JobAnswer.JOB, job=job(number)))
        await stage.until_started(2)
        await settle()
        assert stage.desk.asked == 2
        stage.scheduler.drain()
        await settle()
        assert stage.ended == []
        stage.let_go.set()
    assert sorted(stage.ended) == [1, 2]
    assert stage.capacity.reserved == 0
    stage.desk.close()


async def test_drain_when_a_question_is_under_way() -> None:
    """It is called off, and its slot comes back."""
    stage = Stage()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.scheduler.run)
        await settle()
        stage.scheduler.drain()
    assert (stage.desk.asked, stage.desk.called_off, stage.capacity.reserved) == (1, 1, 0)
    stage.desk.close()


async def test_drain_when_the_question_brings_a_job_all_the_same() -> None:
    """A job that GitLab has given away is run, not lost."""
    stage = Stage()
    stage.desk.late = job(7)
    stage.let_go.set()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.scheduler.run)
        await settle()
        stage.scheduler.drain()
    assert stage.ended == [7]
    assert stage.capacity.reserved == 0
    stage.desk.close()


async def test_run_when_it_is_cancelled() -> None:
    """Questions and jobs end with the scope around the loop; no slot is kept."""
    stage = Stage(concurrent=3)
    async with anyio.create_task_group() as group:
        group.start_soon(stage.scheduler.run)
        await stage.desk.put.send(JobReply(answer=JobAnswer.JOB, job=job(1)))
        await stage.until_started(1)
        group.cancel_scope.cancel()
    assert stage.ended == [1]
    assert stage.capacity.reserved == 0
    stage.desk.close()


@pytest.mark.parametrize("answer", [JobAnswer.NONE, JobAnswer.FORBIDDEN, JobAnswer.GARBAGE])
async def test_run_when_there_is_no_job(answer: JobAnswer) -> None:
    """Whatever the answer is, the runner asks again."""
    stage = Stage()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.scheduler.run)
        await stage.desk.put.send(JobReply(answer=answer))
        await stage.desk.put.send(JobReply(answer=JobAnswer.JOB, job=job(1)))
        await stage.until_started(1)
        group.cancel_scope.cancel()
    stage.desk.close()
