"""A token that is renewed while jobs run: a real manager, a real GitLab."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import anyio
import orjson

from runner.config.load import parse_config
from runner.config.model import Config, RunnerConfig
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import ClientInfo
from runner.gitlab.transport import ClientPool
from runner.job.variables import short_token
from runner.job.verdict import Evidence
from runner.manager.assemble import registrar_for
from runner.manager.manager import RunnerManager
from runner.manager.material import Identity
from runner.manager.token_renewal import TokenRenewal
from runner.status.board import StatusBoard
from runner.status.metrics import Metrics
from runner.testing.gitlab import GitLabServer
from tests.manager.parts import NoCaches, Room

SYSTEM_ID = "s_0f1e2d3c4b5a"
NO_SOURCES = {"GIT_STRATEGY": "none"}
TEXT = """\
concurrent = 4
check_interval = 1
[[runners]]
  name = "one"
  url = "{url}"
  token = "{token}"
  executor = "kubernetes"
  limit = 1
  token_obtained_at = 2026-08-01T10:00:00Z
  token_expires_at = 2026-08-29T10:00:00Z
"""


def written(path: Path, text: str) -> Path:
    """The configuration's file."""
    path.write_text(text)
    return path


def read(path: Path) -> Config:
    """What it says now."""
    return parse_config(path.read_text(), file="config.toml", environ={})[0]


async def test_renewal_disturbs_no_job_and_the_reload_changes_nothing(tmp_path: Path) -> None:
    """The running job ends well and counts for `limit` all the time; the next question has the new token."""
    let_go, started = anyio.Event(), anyio.Event()

    async def standing(attempt: str, stop: anyio.Event) -> Evidence:
        started.set()
        await let_go.wait()
        return Evidence(attempt, exit_code=0, drained=True)

    rooms: list[Room] = []

    def room_for(runner: RunnerConfig) -> Room:
        rooms.append(Room(step_script=standing))
        return rooms[-1]

    async with GitLabServer() as gitlab:
        old = gitlab.token
        file = written(tmp_path / "config.toml", TEXT.format(url=gitlab.url, token=old))
        pool = ClientPool()
        metrics = Metrics()
        board = StatusBoard(system_id=SYSTEM_ID, meter=metrics)
        manager = RunnerManager(
            read(file),
            identity=Identity(name="runner", version="1", revision="abc", system_id=SYSTEM_ID, host="here"),
            executor_for=room_for,
            coordinator_for=lambda runner: Coordinator(
                runner.url,
                runner.token,
                info=ClientInfo(version="1"),
                system_id=SYSTEM_ID,
                pool=pool,
                observe=board.gitlab_observer(runner),
            ),
            caches_for=lambda _runner: NoCaches(),
            close=pool.aclose,
            max_jobs=2,
            board=board,
        )
        renewal = TokenRenewal(
            file,
            registrar_for=registrar_for(file, board=board),
            renewed=manager.renew,
            now=lambda: datetime(2026, 8, 22, 10, 0, 1, tzinfo=UTC),
        )
        jobs = [gitlab.queue(variables=NO_SOURCES) for _ in range(2)]
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                await group.start(manager.serve)
                await started.wait()
                renewal.adopt(read(file))
                group.start_soon(renewal.run)
                await gitlab.faults.wait_seen("POST", "/reset_authentication_token$")
                while renewal.next_wait() == 0.0:
                    await anyio.lowlevel.checkpoint()
                await manager.apply(renewal.adopt(read(file)))
                assert (manager.running, jobs[1].state) == (1, "pending")
                let_go.set()
                await jobs[1].wait_finished()
                await manager.wait_until_idle()
                group.cancel_scope.cancel()
        (new,) = gitlab.runners.tokens
        asked = [orjson.loads(one.body)["token"] for one in gitlab.requests if one.path.endswith("/jobs/request")]
        assert gitlab.violations == []
    assert [job.state for job in jobs] == ["success", "success"]
    assert new != old
    assert (asked[0], asked[-1]) == (old, new)
    assert read(file).runners[0].token == new
    assert len(rooms) == 1
    answers = "gitlab_runner_api_request_statuses_total"
    told = {"system_id": SYSTEM_ID, "method": "post"}
    exchange = {"runner": short_token(old), "endpoint": "reset_token", "status": "201"}
    question = {"runner": short_token(new), "endpoint": "request_job", "status": "201"}
    assert metrics.registry.get_sample_value(answers, {**told, **exchange}) == 1
    assert metrics.registry.get_sample_value(answers, {**told, **question}) == 1


async def test_renewal_before_the_manager_serves_is_what_it_begins_with(tmp_path: Path) -> None:
    """A token that is due at the start is void before the first question: none is asked with it."""
    async with GitLabServer() as gitlab:
        old = gitlab.token
        file = written(tmp_path / "config.toml", TEXT.format(url=gitlab.url, token=old))
        pool = ClientPool()
        manager = RunnerManager(
            read(file),
            identity=Identity(name="runner", version="1", revision="abc", system_id=SYSTEM_ID, host="here"),
            executor_for=lambda _runner: Room(),
            coordinator_for=lambda one: Coordinator(one.url, one.token, info=ClientInfo(version="1"), pool=pool),
            caches_for=lambda _runner: NoCaches(),
            close=pool.aclose,
        )
        _, answer = gitlab.runners.reset({"token": old})
        config = read(file)
        values = {"token": answer["token"]}
        renewed = config.model_copy(update={"runners": (config.runners[0].model_copy(update=values),)})
        await manager.renew((gitlab.url, old), values, renewed)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                await group.start(manager.serve)
                await gitlab.faults.wait_seen("POST", "/jobs/request$")
                group.cancel_scope.cancel()
        assert {orjson.loads(one.body)["token"] for one in gitlab.requests} == {answer["token"]}
