"""The process around the jobs: how many it takes, and what one of them may do to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from runner.config.model import Config, RunnerConfig
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import ClientInfo
from runner.gitlab.tls import TlsFiles
from runner.gitlab.transport import ClientPool
from runner.job.payload import Job
from runner.job.verdict import Evidence
from runner.manager.manager import RunnerManager
from runner.manager.material import Identity, JobMaterial
from runner.manager.sessions import Sessions
from runner.terminal.session import Session
from runner.testing.faults import FaultRule, Reply
from runner.testing.gitlab import GitLabServer
from runner.trace.masking import Masker
from tests.manager.parts import NoCaches, Room

NO_SOURCES = {"GIT_STRATEGY": "none"}
SYSTEM_ID = "r_0123456789ab"


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab."""
    async with GitLabServer() as server:
        yield server


@asynccontextmanager
async def managing(gitlab: GitLabServer, room: Room, **over: Any) -> AsyncIterator[RunnerManager]:
    """A manager whose jobs run in a room; it has ended when the block ends."""
    pool = ClientPool()

    def coordinator(runner: RunnerConfig) -> Coordinator:
        info = ClientInfo(version="1", revision="abc", shell="bash")
        return Coordinator(
            runner.url, runner.token, info=info, system_id=SYSTEM_ID, tls=TlsFiles(), pool=pool, observe=None
        )

    entries = [{"name": "r", "url": gitlab.url, "token": gitlab.token}]
    manager = RunnerManager(
        Config.model_validate(
            {
                "concurrent": 1,
                "check_interval": 1,
                "shutdown_timeout": over.pop("shutdown_timeout", 30),
                "runners": entries,
            }
        ),
        identity=Identity(name="runner", version="1", revision="abc", system_id=SYSTEM_ID, host="here"),
        executor_for=lambda _runner: room,
        coordinator_for=coordinator,
        caches_for=lambda _runner: NoCaches(),
        close=pool.aclose,
        **over,
    )
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            await group.start(manager.serve)
            yield manager


async def test_serve_when_there_is_a_number_of_jobs_to_take(gitlab: GitLabServer) -> None:
    """It ends by itself after that many; the next job is left to others."""
    jobs = [gitlab.queue(variables=NO_SOURCES) for _ in range(3)]
    async with managing(gitlab, Room(), max_jobs=2):
        pass
    assert [job.state for job in jobs] == ["success", "success", "pending"]


async def test_serve_when_a_job_cannot_be_ended(gitlab: GitLabServer) -> None:
    """Whatever goes wrong around one job, the others run; the log of the service says what it was."""

    class Stuck(Room):
        async def remove(self) -> None:
            await super().remove()
            if self.did.count("remove") == 1:
                raise ZeroDivisionError

    jobs = [gitlab.queue(variables=NO_SOURCES) for _ in range(2)]
    with capture_logs() as logs:
        async with managing(gitlab, Stuck(), max_jobs=2) as manager:
            await jobs[1].wait_finished()
            await manager.wait_until_idle()
    assert jobs[1].state == "success"
    (told,) = [entry["exception"] for entry in logs if entry["event"] == "a job was given up"]
    assert "ZeroDivisionError" in told


class Noting(Sessions):
    """Sessions that tell which of them were open and are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[int] = []

    def take(self, job: Job) -> Session:
        session = Session(base_url="", certificate="", timeout=1, closed=lambda one: self.closed.append(one.job_id))
        session.job_id = job.id
        return session


async def test_serve_when_a_job_asks_for_what_cannot_be(gitlab: GitLabServer) -> None:
    """It is refused before anything is made for it, with a reason that GitLab knows."""
    room, sessions = Room(), Noting()
    job = gitlab.queue(variables={**NO_SOURCES, "GIT_CLONE_PATH": "/elsewhere"})
    async with managing(gitlab, room, max_jobs=1, sessions=sessions):
        await job.wait_finished()
    assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error")
    assert "GIT_CLONE_PATH" in job.text
    assert (room.did, sessions.closed) == ([], [job.id])


@pytest.mark.parametrize("where", ["JobMaterial.of", "Masker"])
async def test_serve_when_a_payload_meets_a_fault_of_ours(
    gitlab: GitLabServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The one job ends with a system failure, and the next one runs."""
    right = JobMaterial.of if where == "JobMaterial.of" else Masker
    faults = [ZeroDivisionError("a secret")]

    def once(*args: Any, **over: Any) -> Any:
        if faults:
            raise faults.pop()
        return right(*args, **over)

    monkeypatch.setattr(f"runner.manager.jobs.{where}", once)
    jobs = [gitlab.queue(variables=NO_SOURCES) for _ in range(2)]
    sessions = Noting()
    with capture_logs() as logs:
        async with managing(gitlab, Room(), max_jobs=2, sessions=sessions):
            await jobs[1].wait_finished()
    assert [(job.state, job.failure_reason) for job in jobs] == [("failed", "runner_system_failure"), ("success", None)]
    assert "internal error: ZeroDivisionError" in jobs[0].text
    assert "a secret" not in jobs[0].text
    assert sessions.closed == [job.id for job in jobs]
    [told] = [line["exception"] for line in logs if line["event"] == "a fault of this program ended the job"]
    assert "ZeroDivisionError" in told


async def test_abort_when_gitlab_does_not_hear_of_a_refused_job(gitlab: GitLabServer) -> None:
    """Telling it gets no more time than what else is left of the process."""
    gitlab.faults.add(FaultRule("PUT", "/jobs/", Reply(503), times=None))
    job = gitlab.queue(variables={**NO_SOURCES, "GIT_CLONE_PATH": "/elsewhere"})
    async with managing(gitlab, Room(), shutdown_timeout=0.1) as manager:
        await gitlab.faults.wait_seen("PUT", "/jobs/")
        manager.abort()
    assert job.state == "running"


async def test_drain_when_a_job_runs(gitlab: GitLabServer) -> None:
    """The running job goes on to its end, and no other is begun."""
    let_go, started = anyio.Event(), anyio.Event()

    async def standing(attempt: str, stop: anyio.Event) -> Evidence:
        started.set()
        await let_go.wait()
        return Evidence(attempt, exit_code=0, drained=True)

    jobs = [gitlab.queue(variables=NO_SOURCES) for _ in range(2)]
    async with managing(gitlab, Room(step_script=standing)) as manager:
        await started.wait()
        assert manager.running == 1
        manager.drain()
        let_go.set()
    assert [job.state for job in jobs] == ["success", "pending"]


async def test_drain_when_gitlab_is_away(gitlab: GitLabServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a job is still delivered, and meanwhile the log says what is waited for."""
    monkeypatch.setattr("runner.manager.manager.WAITING_INTERVAL", 0.01)
    started, let_go = anyio.Event(), anyio.Event()

    async def standing(attempt: str, stop: anyio.Event) -> Evidence:
        started.set()
        await let_go.wait()
        return Evidence(attempt, exit_code=0, drained=True)

    def waited(**fields: int) -> bool:
        return any(fields.items() <= line.items() for line in logs if line["event"] == "waiting for jobs to end")

    job = gitlab.queue(variables=NO_SOURCES)
    with capture_logs() as logs:
        async with managing(gitlab, Room(step_script=standing)) as manager:
            await started.wait()
            await gitlab.outage()
            manager.drain()
            while not waited(running=1, telling_gitlab=0):
                await anyio.lowlevel.checkpoint()
            let_go.set()
            while not waited(running=0, telling_gitlab=1):
                await anyio.lowlevel.checkpoint()
            await gitlab.restore()
    assert job.state == "success"


async def test_abort_when_a_job_runs(gitlab: GitLabServer) -> None:
    """The job is interrupted and its place removed before `serve` returns."""
    started = anyio.Event()

    async def standing(attempt: str, stop: anyio.Event) -> Evidence:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    room = Room(step_script=standing)
    job = gitlab.queue(variables=NO_SOURCES)
    async with managing(gitlab, room) as manager:
        await started.wait()
        manager.abort("SIGTERM")
    assert (job.state, job.failure_reason) == ("failed", "runner_interrupted")
    assert room.did[-1] == "remove"
