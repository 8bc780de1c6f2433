"""The process: one task group over executors, the scheduler and every job.

`RunnerManager` takes its parts, so that a test or an embedding program gives it others. `serve` is a plain coroutine;
`apply` gives it another configuration while jobs run; `drain` and `abort` end it, gently or not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from runner.job.feature_flags import FLAGS
from runner.manager.capacity import Capacity
from runner.manager.deadlines import FINAL_UPDATE_TIMEOUT
from runner.manager.health import Health
from runner.manager.jobs import Jobs
from runner.manager.logging import runner_fields
from runner.manager.runners import Change, RunnerParts, ServedRunner, identity_of, labelled, matched
from runner.manager.scheduler import Scheduler, Turn
from runner.manager.sessions import Sessions
from runner.manager.tracing import KEEP_ALIVE_INTERVAL
from runner.status.board import Check, ProcessState, Questions, StatusBoard

if TYPE_CHECKING:
    from runner.config.model import Config, RunnerConfig
    from runner.executor.base import Executor
    from runner.gitlab.coordinator import Coordinator
    from runner.job.payload import Job
    from runner.manager.caches import LinkMaker
    from runner.manager.material import Identity

log = structlog.get_logger()

CLOSE_TIMEOUT = 10.0

WAITING_INTERVAL = 60.0
"""Seconds between two lines about what a process that drains waits for."""

START_TIMEOUT = 30.0
"""Seconds in which what serves a runner has to be there."""

ADAPTIVE_FLAG = "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY"


class RunnerManager:
    """All runners of one configuration. `serve` once."""

    def __init__(
        self,
        config: Config,
        *,
        identity: Identity,
        executor_for: Callable[[RunnerConfig], Executor],
        coordinator_for: Callable[[RunnerConfig], Coordinator],
        caches_for: Callable[[RunnerConfig], LinkMaker],
        applied: Callable[[Config], None] = lambda _: None,
        sessions: Sessions | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        final_update_timeout: float = FINAL_UPDATE_TIMEOUT,
        keep_alive_interval: float = KEEP_ALIVE_INTERVAL,
        max_jobs: int | None = None,
        board: StatusBoard | None = None,
    ) -> None:
        """`config` is applied when `serve` begins; `applied` hears of each that is. What happens is told to `board`."""
        self._config = config
        self._board = board or StatusBoard(system_id=identity.system_id)
        self._sessions = sessions or Sessions()
        self._parts = RunnerParts(
            executor=executor_for, coordinator=coordinator_for, caches=caches_for, sessions=self._sessions
        )
        self._applied = applied
        self._close = close
        self._jobs_left = max_jobs
        self._served: dict[Hashable, ServedRunner] = {}
        self._offered: tuple[str, ...] = ()
        self._services: TaskGroup | None = None
        self._applying = anyio.Lock()
        self._starting = anyio.CancelScope()
        self._jobs = Jobs(
            identity,
            self._sessions,
            self._board,
            final_update_timeout=final_update_timeout,
            keep_alive_interval=keep_alive_interval,
            shutdown_timeout=config.shutdown_timeout,
        )
        self._capacity = Capacity(concurrent=config.concurrent, check_interval=config.check_interval)
        self._scheduler = Scheduler(
            self._capacity,
            self._served,
            self._run_job,
            has_room=self._has_room,
            on_turn=self._note_turn,
            fields_of=lambda key: runner_fields(self._served[key].config),
        )
        self._board.questions = self.questions
        self._board.clusters = self._look_at_places

    @property
    def running(self) -> int:
        """Jobs that run now."""
        return self._jobs.running

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that jobs get which `abort` ends."""
        return self._jobs.shutdown_timeout

    @property
    def left_behind(self) -> int:
        """Jobs that `abort` ended and that could not remove their objects, or tell GitLab, in time."""
        return self._jobs.left_behind

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Take and run jobs until drained, aborted or cancelled; everything of every job is gone when it returns."""
        try:
            async with anyio.create_task_group() as group:
                services = anyio.CancelScope(shield=True)
                await group.start(self._hold_services, services)
                try:
                    await self.apply(self._config)
                    self._board.enter(ProcessState.RUNNING)
                    log.info("taking jobs", runners=len(self._served), concurrent=self._config.concurrent)
                    task_status.started()
                    await self._scheduler.run()
                finally:
                    self._services = None
                    self._starting.cancel()
                    services.cancel()
        finally:
            if self._close:
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_TIMEOUT):
                    await self._close()
        log.info("all jobs have ended")

    async def wait_until_idle(self) -> None:
        """Wait until no job runs."""
        await self._jobs.wait_until_idle()

    def drain(self) -> None:
        """Take no more jobs; `serve` returns when the running ones have ended."""
        log.info("taking no more jobs", running=self.running)
        self._board.enter(ProcessState.GRACEFUL_SHUTDOWN)
        self._scheduler.drain()
        if self._services is not None:
            self._services.start_soon(self._tell_what_is_left, name="drain")

    async def _tell_what_is_left(self) -> None:
        """Say now and then what the end is waiting for: jobs, or a GitLab that does not take how they ended."""
        while True:
            await anyio.sleep(WAITING_INTERVAL)
            telling = sum(card.finishing for card in self._board.jobs)
            log.info("waiting for jobs to end", running=self.running - telling, telling_gitlab=telling)

    def abort(self, signal: str = "terminated") -> None:
        """Take no more jobs and end the running ones; they get `shutdown_timeout` to clean up and report."""
        self._board.enter(ProcessState.FORCEFUL_SHUTDOWN)
        self._scheduler.drain()
        self._jobs.abort(signal)

    # The configuration -------------------------------------------------------------------------------------------

    async def apply(self, config: Config) -> Change:
        """Serve this configuration from now on; jobs that run keep theirs. Changes nothing unless `serve` runs.

        Runners whose entries did not change go on as they are, others are served anew beside their running jobs, and
        none asks GitLab any more whose entry is gone.
        """
        async with self._applying:
            return await self._apply(config)

    async def renew(self, identity: tuple[str, str], values: Mapping[str, Any], config: Config) -> None:
        """Go on with the new token of the runner that GitLab knew by this `url` and token; its jobs notice nothing.

        `values` are the keys that come with the token, `config` is the configuration that has them.
        """
        self._renew_served(identity, values)  # at once, for the old one is void
        async with self._applying:
            self._renew_served(identity, values)  # what was being applied has the old one
            if self._services is None:
                self._config = config  # what `serve` begins with
            await self._apply(config)

    def _renew_served(self, identity: tuple[str, str], values: Mapping[str, Any]) -> None:
        for served in self._served.values():
            if served.identity == identity:
                before = served.config
                served.renew(values)
                self._board.renewed(before, served.config)

    async def _apply(self, config: Config) -> Change:
        entries = dict(matched(self._served.values(), labelled(config)))
        fresh: list[ServedRunner] = []
        for key, runner in tuple(entries.items()):
            if not self._is_new(key, runner):
                continue
            if served := await self._begin(key, runner):
                fresh.append(served)
            elif key in self._offered:
                entries[key] = self._served[key].config
            else:
                del entries[key]
        if self._services is None:
            return Change()
        known = {key: self._served[key].config.name for key in self._offered}
        self._switch(config.model_copy(update={"runners": tuple(entries.values())}), entries, fresh)
        return Change(
            added=tuple(runner.name for key, runner in entries.items() if key not in known),
            changed=tuple(served.config.name for served in fresh if served.key in known),
            removed=tuple(name for key, name in known.items() if key not in entries),
            unchanged=len(known.keys() & entries.keys()) - sum(served.key in known for served in fresh),
        )

    async def _begin(self, key: str, runner: RunnerConfig) -> ServedRunner | None:
        """Make and open what is to serve an entry; None where that cannot be, which the log is told."""
        if self._services is None:
            return None
        reason = f"It was not ready after {START_TIMEOUT:.0f} s."
        with anyio.CancelScope(deadline=anyio.current_time() + START_TIMEOUT) as self._starting:
            try:
                served = ServedRunner(key, runner, self._parts)
                await self._services.start(served.serve, name=f"runner {key}")
            except Exception as error:  # noqa: BLE001 -- the other runners and the running jobs go on
                reason = str(error) or type(error).__name__
            else:
                return served
        if self._services is not None:  # else all of it ended meanwhile
            log.error("the runner cannot be served", **runner_fields(runner), reason=reason)
        return None

    def _is_new(self, key: str, runner: RunnerConfig) -> bool:
        return key not in self._served or self._served[key].config != runner

    def _switch(self, config: Config, entries: Mapping[str, RunnerConfig], fresh: Iterable[ServedRunner]) -> None:
        """Go over to a configuration at one moment, without a wait."""
        for served in fresh:
            before = self._served.get(served.key)
            self._served[served.key] = served
            if before:
                before.retire()
        self._config = config
        self._jobs.shutdown_timeout = config.shutdown_timeout
        if len(entries) > config.concurrent:
            log.warning(
                "the runners take turns, for there are more of them than jobs may run",
                runners=len(entries),
                concurrent=config.concurrent,
            )
        self._capacity.concurrent, self._capacity.check_interval = config.concurrent, config.check_interval
        for key, runner in entries.items():
            self._capacity.set_runner(
                key,
                limit=runner.limit,
                request_concurrency=runner.request_concurrency,
                strict=runner.strict_check_interval,
                adaptive=runner.feature_flags.get(ADAPTIVE_FLAG, FLAGS[ADAPTIVE_FLAG]),
                token=identity_of(runner),
            )
            health = Health(limit=runner.unhealthy_requests_limit, interval=runner.unhealthy_interval)
            self._scheduler.set_health(key, health)
        self._capacity.keep_runners(entries)
        self._offered = tuple(entries)
        assert self._services is not None  # `apply` looked
        for gone in self._served.keys() - entries.keys():
            self._scheduler.call_off(gone)
            self._services.start_soon(self._let_go, gone, name=f"leaving runner {gone}")
        self._board.configured(config)
        self._applied(config)
        self._scheduler.notice()

    async def _let_go(self, key: Hashable) -> None:
        """Serve a runner that is in the configuration no more until its last job has ended."""
        await self._scheduler.wait_until_gone(key)
        if key not in self._offered and key in self._served:
            self._served.pop(key).retire()

    async def _hold_services(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        """Hold what jobs need until `scope` is cancelled: when everything around is, the jobs clean up first."""
        with scope:
            async with anyio.create_task_group() as group:
                await group.start(self._sessions.serve)
                self._services = group
                task_status.started()
                await anyio.sleep_forever()

    # Jobs --------------------------------------------------------------------------------------------------------

    async def _has_room(self, key: Hashable, beside: int) -> bool:
        return await self._served[key].has_room(beside)

    async def _run_job(self, key: Hashable, job: Job, place_gone: Callable[[], None]) -> None:
        self._count_down()
        await self._jobs.run(self._served[key], job, place_gone)

    def _count_down(self) -> None:
        """One job less until this process is to leave, where it is."""
        if self._jobs_left is not None:
            self._jobs_left -= 1
            if self._jobs_left <= 0:
                self._scheduler.drain()

    def _note_turn(self, key: Hashable, turn: Turn) -> None:
        labels, meter = self._board.labels(self._served[key].config), self._board.meter
        {Turn.ASKED: meter.asked, Turn.NO_ROOM: meter.passed_over, Turn.UNHEALTHY: meter.refused}[turn](labels)

    def questions(self) -> Iterator[Questions]:
        """The requests for jobs that are under way."""
        for key, served in self._served.items():
            hard, adaptive = self._capacity.requests_of(key)
            yield Questions(
                labels=self._board.labels(served.config),
                under_way=self._capacity.asking_of(key),
                hard_limit=hard,
                adaptive_limit=adaptive,
            )

    async def _look_at_places(self) -> list[Check]:
        """Look whether jobs could run now where each runner's go."""
        offered = [self._served[key] for key in self._offered]
        checks = {served.key: Check(f"cluster of {served.config.name}") for served in offered}

        async def look(served: ServedRunner) -> None:
            checks[served.key] = replace(checks[served.key], trouble=await served.out_of_reach())

        async with anyio.create_task_group() as group:
            for served in offered:
                group.start_soon(look, served)
        return list(checks.values())
