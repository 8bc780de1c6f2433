"""Ask, dispatch, count: jobs from GitLab, each in a task of one group, never more than `concurrent`.

The scheduler knows no kind of executor and no wire: it asks through a `Coordinator`, and what it gets it hands to
`start_job`. Draining stops the asking and lets the running jobs end; cancelling the scheduler ends them too.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from runner.gitlab.replies import JobAnswer
from runner.manager.capacity import Ask, Capacity
from runner.manager.health import Health, News, Verdict

if TYPE_CHECKING:
    from runner.gitlab.replies import JobReply
    from runner.job.payload import Job

log = structlog.get_logger()

ROOM_INTERVAL = 2.0
"""Seconds until a place without room is looked at again; the end of a job there is heard of at once."""

_OVERLOADED = frozenset({JobAnswer.THROTTLED, JobAnswer.UNAVAILABLE})


class Turn(Enum):
    """What came of a runner's turn."""

    ASKED = auto()
    NO_ROOM = auto()
    """Its place had no room for a job."""
    UNHEALTHY = auto()
    """GitLab has refused it once more."""


class Desk(Protocol):
    """Where one runner asks for its jobs."""

    async def request_job(self, *, long_poll: bool) -> JobReply:
        """Ask once. Never raises for what GitLab or the network does; when cancelled it may still return a job."""


StartJob = Callable[[Hashable, "Job", Callable[[], None]], Awaitable[None]]
"""Runs a job of a runner to GitLab's last word. The third argument is to be called once the job's place is gone: its
slot is free while GitLab is still being told.
"""

HasRoom = Callable[[Hashable, int], Awaitable[bool]]
"""Says whether another job of the runner could start, beside as many that may be on their way."""


async def _always(runner: Hashable, beside: int) -> bool:
    return True


class Scheduler:
    """The loop that fills free slots. `run` is one task; each question and each job is a child of it."""

    def __init__(
        self,
        capacity: Capacity,
        desks: Mapping[Hashable, Desk],
        start_job: StartJob,
        *,
        has_room: HasRoom = _always,
        on_turn: Callable[[Hashable, Turn], None] = lambda runner, turn: None,
        fields_of: Callable[[Hashable], Mapping[str, str]] = lambda runner: {"runner": str(runner)},
        fraction: Callable[[], float] = random.random,
    ) -> None:
        """`fields_of` gives what the log calls a runner by."""
        self._capacity = capacity
        self._desks = desks
        self._start_job = start_job
        self._has_room = has_room
        self._on_turn = on_turn
        self._fields_of = fields_of
        self._fraction = fraction
        self._healths: dict[Hashable, Health] = {}
        self._cursors: dict[Hashable, str] = {}
        self._doors: dict[Hashable, anyio.Lock] = defaultdict(anyio.Lock)
        self._asked: Counter[Hashable] = Counter()
        self._questions: dict[int, anyio.CancelScope] = {}
        self._unwanted: set[int] = set()
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
        """Look again: runners or limits have changed. Questions that have no slot any more are called off."""
        self._call_off(self._capacity.in_excess())
        self._wake()

    def call_off(self, runner: Hashable) -> None:
        """Ask no more for a runner that is in no configuration any more: questions under way end before their answers.

        A job that was on its way comes nevertheless.
        """
        self._call_off(self._capacity.questions_of(runner))

    async def wait_until_gone(self, runner: Hashable) -> None:
        """Wait until a runner that is in no configuration any more has no question, no job and no end to report."""
        while self._capacity.knows(runner):
            await self._changed.wait()
        self._healths.pop(runner, None)
        self._cursors.pop(runner, None)
        self._doors.pop(runner, None)
        self._asked.pop(runner, None)

    def set_health(self, runner: Hashable, health: Health) -> None:
        """Begin anew with what is known of a runner's health: a configuration that is loaded clears it.

        One that has been refused asks at once.
        """
        before = self._healths.get(runner)
        self._healths[runner] = health
        if before and before.refused:
            self._capacity.ask_now(runner, anyio.current_time())
            self._wake()

    def health_of(self, runner: Hashable) -> Health:
        """How a runner stands with GitLab."""
        return self._healths.setdefault(runner, Health())

    async def run(self) -> None:
        """Ask and run until drained and empty, or cancelled."""
        async with anyio.create_task_group() as jobs:
            with self._asking:
                async with anyio.create_task_group() as questions:
                    while not self.draining:
                        changed = self._changed
                        now = anyio.current_time()
                        for ask in self._capacity.next_asks(now):
                            self._questions[ask.number] = anyio.CancelScope()
                            questions.start_soon(self._ask, ask, jobs, name=f"ask {ask.number}")
                        for number in self._capacity.to_call_off(now):
                            self._questions[number].cancel()
                        wakeup = self._capacity.next_wakeup(now)
                        with anyio.move_on_after(None if wakeup is None else wakeup - now):
                            await changed.wait()
            log.info("no more jobs are asked for")

    async def _ask(self, ask: Ask, jobs: anyio.abc.TaskGroup) -> None:
        """One question, if there is room for a job. Its slot goes to the job that comes, or back."""
        with self._questions[ask.number]:
            reply: JobReply | None = None
            asked = False
            try:
                asked = await self._may_come(ask.runner)
                self._on_turn(ask.runner, Turn.ASKED if asked else Turn.NO_ROOM)
                if asked:
                    reply = await self._desks[ask.runner].request_job(long_poll=ask.long_poll)
            finally:
                del self._questions[ask.number]
                self._asked[ask.runner] -= asked
                self._book(ask, reply, jobs, asked=asked)
                self._unwanted.discard(ask.number)
                self._wake()

    async def _may_come(self, runner: Hashable) -> bool:
        """Say whether there is room for a job beside those that other questions may bring; one after the other."""
        async with self._doors[runner]:
            room = await self._has_room(runner, self._asked[runner])
            self._asked[runner] += room
            return room

    def _book(self, ask: Ask, reply: JobReply | None, jobs: anyio.abc.TaskGroup, *, asked: bool) -> None:
        now = anyio.current_time()
        if not asked:
            self._capacity.put_back(ask, until=now + ROOM_INTERVAL)
        elif reply is None:
            # Called off. One that GitLab was not to hold, and that lasted so long, hangs.
            hangs = not (ask.long_poll or self.draining or ask.number in self._unwanted)
            verdict = self._heard(ask, JobAnswer.UNAVAILABLE) if hangs else Verdict()
            self._capacity.answered(ask, now, job=False, retry_after=verdict.retry_after)
        else:
            verdict = self._heard(ask, reply.answer, reply)
            job, overloaded = reply.job, reply.answer in _OVERLOADED
            self._capacity.answered(
                ask,
                now,
                job=job is not None,
                retry_after=verdict.retry_after,
                overloaded=overloaded,
                moved=self._has_moved(ask.runner, reply),
            )
            if job is not None:
                jobs.start_soon(self._run_job, ask.runner, job, name=f"job {job.id}")

    def _has_moved(self, runner: Hashable, reply: JobReply) -> bool:
        """Whether GitLab gave another cursor of its queue than before, without a job."""
        if not reply.last_update or reply.last_update == self._cursors.get(runner):
            return False
        self._cursors[runner] = reply.last_update
        return reply.answer is JobAnswer.NONE

    def _heard(self, ask: Ask, answer: JobAnswer, reply: JobReply | None = None) -> Verdict:
        """Judge an answer, and write the one line that a change of the runner's health is worth."""
        verdict = self.health_of(ask.runner).heard(
            answer, self._fraction(), retry_after=reply.retry_after if reply else None
        )
        if not self.health_of(ask.runner).healthy:
            self._on_turn(ask.runner, Turn.UNHEALTHY)
        fields = {**self._fields_of(ask.runner), "reason": "GitLab did not answer in time."}
        if reply:
            fields["reason"] = str(reply.trouble)
            if reply.trouble and reply.trouble.correlation_id:
                fields["correlation_id"] = reply.trouble.correlation_id
        if verdict.news is News.UNHEALTHY:
            log.error("the runner is unhealthy, it asks less often", **fields)
        elif verdict.news is News.TROUBLE:
            log.warning("asking for jobs fails", **fields)
        elif verdict.news is News.RECOVERED:
            log.info("asking for jobs works again", **self._fields_of(ask.runner))
        return verdict

    async def _run_job(self, runner: Hashable, job: Job) -> None:
        held = True

        def place_gone() -> None:
            nonlocal held
            if held:
                held = False
                self._capacity.finished(runner, reporting=True)
                self._capacity.room_came(runner, anyio.current_time())
                self._wake()

        try:
            await self._start_job(runner, job, place_gone)
        finally:
            place_gone()
            self._capacity.reported(runner)
            self._wake()

    def _call_off(self, questions: Iterable[int]) -> None:
        """End questions that the configuration has no place for any more."""
        for number in questions:
            self._unwanted.add(number)
            self._questions[number].cancel()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
