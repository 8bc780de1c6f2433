"""The loop that fills free slots, with desks that answer when the test says."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from runner.gitlab.errors import CoordinatorForbiddenError
from runner.gitlab.replies import JobAnswer, JobReply
from runner.job.payload import Job
from runner.manager.capacity import Capacity
from runner.manager.health import Health
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


# Several runners ----------------------------------------------------------------------------------------------------


class Office:
    """A scheduler over desks that the test fills; jobs note what they do, and end when the test says."""

    def __init__(self, *names: str, concurrent: int = 2, check_interval: float = 0.01) -> None:
        self.capacity = Capacity(concurrent=concurrent, check_interval=check_interval)
        self.desks: dict[Hashable, Desk] = {name: Desk() for name in names}
        for name in names:
            self.capacity.set_runner(name, limit=0, request_concurrency=1)
        self.full = False
        self.looks = 0
        self.ending = anyio.Event()
        self.report = anyio.Event()
        self.started: list[int] = []
        self.scheduler = Scheduler(self.capacity, self.desks, self._run, has_room=self._has_room, fraction=lambda: 0.0)

    async def _has_room(self, runner: Hashable, beside: int) -> bool:
        self.looks += 1
        return not self.full

    async def _run(self, runner: Hashable, job: Job, place_gone: Callable[[], None]) -> None:
        self.started.append(job.id)
        await self.ending.wait()
        place_gone()
        await self.report.wait()

    async def until_asked(self, runner: str, times: int) -> None:
        """Wait until a runner has asked so often."""
        with anyio.fail_after(10):
            while self.desks[runner].asked < times:
                await anyio.lowlevel.checkpoint()

    async def until_looked(self, times: int) -> None:
        """Wait until somebody has looked for room so often."""
        with anyio.fail_after(10):
            while self.looks < times:
                await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close the desks."""
        for desk in self.desks.values():
            desk.close()


async def test_a_slot_is_free_while_the_end_of_its_job_is_reported() -> None:
    """The next job comes as soon as the pod is gone, whatever GitLab does with the end of the last one."""
    office = Office("a", concurrent=1)
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        await office.desks["a"].put.send(JobReply(answer=JobAnswer.JOB, job=job(1)))
        await settle()
        assert (office.started, office.desks["a"].asked) == ([1], 1)
        office.ending.set()
        await office.until_asked("a", 2)
        assert (office.capacity.running, office.capacity.reporting) == (0, 1)
        office.report.set()
        await settle()
        assert office.capacity.reporting == 0
        group.cancel_scope.cancel()
    office.close()


async def test_a_hanging_desk_delays_no_other() -> None:
    """One never answers; the other is asked again and again."""
    office = Office("hangs", "works", concurrent=3)
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        for _ in range(5):
            await office.desks["works"].put.send(JobReply(answer=JobAnswer.NONE))
        await office.until_asked("works", 6)
        assert office.desks["hangs"].asked == 1
        group.cancel_scope.cancel()
    office.close()


async def test_a_held_question_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one slot for two runners the one that holds it is called off, and a job that comes with that is run."""
    monkeypatch.setattr("runner.manager.capacity.SLOW_PATIENCE", 0.05)
    monkeypatch.setattr("runner.manager.capacity.HELD_PATIENCE", 0.05)
    office = Office("a", "b", concurrent=1)
    office.desks["a"].late = job(7)
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        with anyio.fail_after(10):
            while not office.started:
                await anyio.lowlevel.checkpoint()
        assert office.started == [7]
        assert office.desks["a"].called_off == 1
        office.desks["a"].late = None
        office.ending.set()
        await office.until_asked("b", 1)
        group.cancel_scope.cancel()
    office.close()


async def test_nothing_is_asked_while_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is looked at, GitLab is not asked, and the slot is nobody's."""
    monkeypatch.setattr("runner.manager.scheduler.ROOM_INTERVAL", 0.01)
    office = Office("a")
    office.full = True
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        await office.until_looked(3)
        await settle()
        assert (office.desks["a"].asked, office.capacity.reserved) == (0, 0)
        office.full = False
        await office.until_asked("a", 1)
        group.cancel_scope.cancel()
    office.close()


async def test_room_that_a_job_leaves_is_looked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only at the next look: the pod that is gone may be what was in the way."""
    monkeypatch.setattr("runner.manager.scheduler.ROOM_INTERVAL", 3600.0)
    office = Office("a")
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        await office.until_asked("a", 1)
        office.full = True
        await office.desks["a"].put.send(JobReply(answer=JobAnswer.JOB, job=job(1)))
        await office.until_looked(2)
        office.full = False
        office.ending.set()
        await office.until_asked("a", 2)
        group.cancel_scope.cancel()
    office.close()


async def test_questions_look_for_room_one_after_the_other() -> None:
    """Two that may be asked at once, and room for one job: one is asked."""
    office = Office("a", concurrent=5)
    office.capacity.set_runner("a", limit=0, request_concurrency=2)
    seen: list[int] = []

    async def has_room(runner: Hashable, beside: int) -> bool:
        await anyio.lowlevel.checkpoint()
        seen.append(beside)
        return beside < 1

    office.scheduler = Scheduler(office.capacity, office.desks, office._run, has_room=has_room)
    office.ending.set()
    office.report.set()
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        await office.desks["a"].put.send(JobReply(answer=JobAnswer.JOB, job=job(1)))
        await office.until_asked("a", 2)
        await settle()
        assert (seen[:3], office.desks["a"].asked) == ([0, 0, 1], 2)
        group.cancel_scope.cancel()
    office.close()


def refused() -> JobReply:
    """GitLab does not know the token."""
    return JobReply(answer=JobAnswer.FORBIDDEN, trouble=CoordinatorForbiddenError("Check the token."))


async def test_health_is_told_when_it_changes_and_a_loaded_configuration_clears_it() -> None:
    """One line for the first refusal, one for the unhealthy runner, none for those after; then one for the recovery."""
    office = Office("a")
    office.scheduler.set_health("a", Health(limit=2, interval=0.02))
    with capture_logs() as logs:
        async with anyio.create_task_group() as group:
            group.start_soon(office.scheduler.run)
            for _ in range(4):
                await office.desks["a"].put.send(refused())
            await office.until_asked("a", 5)
            assert not office.scheduler.health_of("a").healthy
            office.scheduler.set_health("a", Health(limit=2, interval=0.02))
            assert office.scheduler.health_of("a").healthy
            for reply in (refused(), JobReply(answer=JobAnswer.NONE)):
                await office.desks["a"].put.send(reply)
            await office.until_asked("a", 7)
            group.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == [
        "asking for jobs fails",
        "the runner is unhealthy, it asks less often",
        "asking for jobs fails",
        "asking for jobs works again",
    ]
    assert logs[0]["reason"] == "Check the token."
    office.close()


async def test_a_loaded_configuration_ends_the_wait_of_a_refused_runner() -> None:
    """It asks at once."""
    office = Office("a")
    office.scheduler.set_health("a", Health(interval=3600.0))
    async with anyio.create_task_group() as group:
        group.start_soon(office.scheduler.run)
        await office.desks["a"].put.send(refused())
        await settle()
        assert office.desks["a"].asked == 1
        office.scheduler.set_health("a", Health())
        await office.until_asked("a", 2)
        group.cancel_scope.cancel()
    office.close()
