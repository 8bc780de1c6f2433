"""Another configuration while jobs run: who is served by what, and who is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import pytest

from runner.config.model import Config, RunnerConfig
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import ClientInfo
from runner.gitlab.transport import ClientPool
from runner.job.verdict import Evidence
from runner.manager.manager import RunnerManager
from runner.manager.material import Identity
from runner.manager.runners import Change
from runner.status.board import StatusBoard
from runner.testing.gitlab import GitLabServer
from runner.testing.gitlab_jobs import JobRecord
from tests.manager.parts import HeldRoom, NoCaches

TOKENS = ("glrt-aaaaaaaaaaaa", "glrt-bbbbbbbbbbbb", "glrt-cccccccccccc")
SYSTEM_ID = "r_0123456789ab"


class Hall(HeldRoom):
    """A room in which scripts stand until they are let go."""

    def __init__(self, runner: RunnerConfig) -> None:
        super().__init__(step_script=self._stand)
        self.runner = runner
        self.go_on = anyio.Event()
        self.standing = 0

    async def _stand(self, attempt: str, stop: anyio.Event) -> Evidence:
        self.standing += 1
        await self.go_on.wait()
        return Evidence(attempt, exit_code=0, drained=True)


class Scene:
    """A GitLab, a manager, and the halls that it has had."""

    def __init__(self, gitlab: GitLabServer, hall_for: Callable[[RunnerConfig], Hall] = Hall) -> None:
        self.gitlab = gitlab
        self.halls: list[Hall] = []
        self.board = StatusBoard()
        pool = ClientPool()

        def hall(runner: RunnerConfig) -> Hall:
            self.halls.append(hall_for(runner))
            return self.halls[-1]

        def coordinator(runner: RunnerConfig) -> Coordinator:
            info = ClientInfo(version="1", revision="abc", shell="bash")
            return Coordinator(runner.url, runner.token, info=info, system_id=SYSTEM_ID, pool=pool)

        self.manager = RunnerManager(
            self.config(self.entry()),
            identity=Identity(name="runner", version="1", revision="abc", system_id=SYSTEM_ID, host="here"),
            executor_for=hall,
            coordinator_for=coordinator,
            caches_for=lambda _runner: NoCaches(),
            close=pool.aclose,
            board=self.board,
        )

    def entry(self, which: int = 0, **over: Any) -> dict[str, Any]:
        """One `[[runners]]` entry: the first has the name a, and so on."""
        return {"name": "abc"[which], "url": self.gitlab.url, "token": TOKENS[which], **over}

    def config(self, *entries: dict[str, Any], concurrent: int = 10) -> Config:
        """A configuration with these entries."""
        return Config.model_validate({"concurrent": concurrent, "check_interval": 1, "runners": entries})

    async def job(self, which: int = 0) -> JobRecord:
        """A job that stands in its script."""
        before = sum(hall.standing for hall in self.halls)
        job = self.gitlab.queue(runner=TOKENS[which], variables={"GIT_STRATEGY": "none"})
        await self.until(lambda: sum(hall.standing for hall in self.halls) > before)
        return job

    def asking(self, name: str) -> int:
        """Questions to GitLab that are under way for a runner."""
        return sum(row.under_way for row in self.board.questions() if row.labels.runner_name == name)

    async def until(self, reached: Any) -> None:
        """Wait until something is so."""
        with anyio.fail_after(10):
            while not reached():
                await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def scene(hall_for: Callable[[RunnerConfig], Hall] = Hall) -> AsyncIterator[Scene]:
    """A manager that serves the runner a; every script is let go at the end."""
    async with GitLabServer(tokens=TOKENS) as gitlab:
        made = Scene(gitlab, hall_for)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                await group.start(made.manager.serve)
                yield made
                for hall in made.halls:
                    hall.go_on.set()
                made.manager.drain()


async def test_apply_when_nothing_changed() -> None:
    """Everything goes on as it is; the board hears that a configuration was loaded."""
    async with scene() as s:
        assert await s.manager.apply(s.config(s.entry())) == Change(unchanged=1)
        assert len(s.halls) == 1
        assert s.board.config_ok


async def test_apply_when_a_runner_comes() -> None:
    """It is asked for at once, beside the one that stays as it is."""
    async with scene() as s:
        first = await s.job()
        assert await s.manager.apply(s.config(s.entry(), s.entry(1))) == Change(added=("b",), unchanged=1)
        second = await s.job(1)
        assert [hall.runner.name for hall in s.halls] == ["a", "b"]
        assert (first.state, second.state) == ("running", "running")


async def test_apply_when_an_entry_changes() -> None:
    """A running job keeps its place to its end, the next one goes to the new place, and then the old one is closed."""
    async with scene() as s:
        old_job = await s.job()
        change = await s.manager.apply(s.config(s.entry(kubernetes={"namespace": "other"})))
        assert change == Change(changed=("a",))
        new_job = await s.job()
        old, new = s.halls
        assert (old.standing, new.standing, new.runner.kubernetes.namespace) == (1, 1, "other")
        assert old.held
        old.go_on.set()
        await old_job.wait_finished()
        await s.until(lambda: not old.held)
        assert new.held
    assert (old_job.state, new_job.state) == ("success", "success")


async def test_apply_when_a_runner_goes() -> None:
    """Its job runs on, GitLab is asked no more for it, and what served it ends with the job."""
    async with scene() as s:
        job = await s.job()
        assert await s.manager.apply(s.config(s.entry(1))) == Change(added=("b",), removed=("a",))
        await s.job(1)
        await s.until(lambda: not s.asking("a"))
        late = s.gitlab.queue(runner=TOKENS[0])
        s.halls[0].go_on.set()
        await job.wait_finished()
        await s.until(lambda: not s.halls[0].held)
        assert (job.state, late.state) == ("success", "pending")


async def test_apply_when_a_runner_comes_back_while_its_job_runs() -> None:
    """It is served by what it left, for nothing of it changed."""
    async with scene() as s:
        await s.job()
        await s.manager.apply(s.config())
        assert await s.manager.apply(s.config(s.entry())) == Change(added=("a",))
        await s.job()
        assert len(s.halls) == 1


async def test_apply_when_a_token_changes() -> None:
    """To GitLab that is another runner: the old one's job ends under its token, the new one asks under its own."""
    async with scene() as s:
        old = await s.job()
        await s.manager.apply(s.config(s.entry(token=TOKENS[1])))
        new = await s.job(1)
        s.halls[0].go_on.set()
        await old.wait_finished()
        assert (old.state, new.state) == ("success", "running")


async def test_apply_when_concurrent_goes_up_and_down() -> None:
    """Up, the next job is asked for at once; down, no job is taken until enough have ended, and none is disturbed."""
    async with scene() as s:
        await s.manager.apply(s.config(s.entry(), concurrent=1))
        first = await s.job()
        waiting = s.gitlab.queue(runner=TOKENS[0], variables={"GIT_STRATEGY": "none"})
        await anyio.wait_all_tasks_blocked()
        assert waiting.state == "pending"
        await s.manager.apply(s.config(s.entry(), concurrent=2))
        await s.until(lambda: s.halls[0].standing == 2)
        await s.manager.apply(s.config(s.entry(), concurrent=1))
        await s.until(lambda: not s.asking("a"))
        last = s.gitlab.queue(runner=TOKENS[0], variables={"GIT_STRATEGY": "none"})
        await anyio.wait_all_tasks_blocked()
        assert [job.state for job in (first, waiting, last)] == ["running", "running", "pending"]


async def test_apply_when_limit_counts_jobs_of_before() -> None:
    """A limit counts those jobs too that run with the entry as it was."""
    async with scene() as s:
        await s.job()
        await s.manager.apply(s.config(s.entry(limit=1, kubernetes={"namespace": "other"})))
        await s.until(lambda: not s.asking("a"))
        late = s.gitlab.queue(runner=TOKENS[0])
        await anyio.wait_all_tasks_blocked()
        assert late.state == "pending"


async def test_apply_when_a_job_comes_for_a_runner_that_goes() -> None:
    """A job that GitLab gives away in the moment in which its runner leaves is run and reported."""
    async with scene() as s:
        s.halls[0].go_on.set()
        await s.until(lambda: any(request.path.endswith("jobs/request") for request in s.gitlab.requests))
        job = s.gitlab.queue(runner=TOKENS[0], variables={"GIT_STRATEGY": "none"})
        await s.manager.apply(s.config(s.entry(1)))
        await s.until(lambda: not s.halls[0].held)
        assert job.state in ("success", "pending")


@pytest.mark.parametrize("end", ["before", "after"])
async def test_apply_when_the_manager_does_not_serve(end: str) -> None:
    """There is nothing to change."""
    async with GitLabServer(tokens=TOKENS) as gitlab:
        made = Scene(gitlab)
        if end == "after":
            async with anyio.create_task_group() as group:
                await group.start(made.manager.serve)
                made.manager.drain()
        assert await made.manager.apply(made.config()) == Change()
