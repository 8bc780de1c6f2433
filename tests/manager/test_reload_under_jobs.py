"""Edits of config.toml, an end and a loss of the cluster while many jobs run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from runner.config.model import Config
from runner.manager.reload import ConfigWatch
from runner.manager.runners import Change
from runner.testing.gitlab import GitLabServer
from runner.testing.gitlab_jobs import JobRecord
from runner.testing.harness import Harness, harness
from runner.testing.kubelets import Fate, Script, ScriptedKubelet

pytestmark = pytest.mark.slow

JOBS = 50
EDITS = 100
TOKENS = ("glrt-aaaaaaaaaaaa", "glrt-bbbbbbbbbbbb", "glrt-cccccccccccc", "glrt-dddddddddddd")


def standing(go_on: anyio.Event) -> ScriptedKubelet:
    """Pods whose scripts stand until they are let go."""
    return ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=go_on)}))


async def running_jobs(h: Harness, count: int) -> list[JobRecord]:
    """Jobs that all stand in their script."""
    jobs = [h.queue(script=["true"], runner=h.gitlab.token) for _ in range(count)]
    for job in jobs:
        await job.wait_trace(b"here", timeout=60)
    return jobs


def table(**values: Any) -> str:
    """Lines of TOML."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def edition(number: int, url: str) -> str:
    """The text of an edit: runners come and go, change tokens, keys and place; concurrent moves; some are broken."""
    if number % 10 == 7:
        return "concurrent = 0\n"
    if number % 10 == 3:
        return "[[runners\n"
    text = table(concurrent=1 + number % 60, check_interval=1, log_level=("info", "debug")[number % 2])
    for place, token in enumerate(TOKENS):
        if (number >> place) % 2 == 0:
            text += "[[runners]]\n" + table(name=f"n{place}", url=url, token=token, executor="kubernetes")
            text += "[runners.kubernetes]\n" + table(image="busybox", namespace=f"ns-{number % 3}")
    return text


def replace_by(path: Path, text: str) -> None:
    """Put another file in a file's place: the looks here are too frequent for half a file."""
    beside = path.with_name("beside")
    beside.write_text(text)
    beside.replace(path)


class Follower:
    """Gives configurations to a manager, and counts what it was told."""

    def __init__(self, h: Harness) -> None:
        self._h = h
        self.loaded = 0
        self.refusals = 0
        self.changes: list[Change] = []
        self._heard = anyio.Event()

    async def apply(self, config: Config) -> Change:
        self.changes.append(await self._h.manager.apply(config))
        self.loaded += 1
        self._heard.set()
        return self.changes[-1]

    def refused(self) -> None:
        self.refusals += 1
        self._heard.set()

    async def until(self, number: int) -> None:
        """Wait until it has been told so many times."""
        with anyio.fail_after(20):
            while self.loaded + self.refusals < number:
                await self._heard.wait()
                self._heard = anyio.Event()


async def test_reload_when_many_jobs_run(tmp_path: Path) -> None:
    """A hundred edits under fifty jobs disturb none: each ends as if nothing had been, and nothing is left over."""
    go_on = anyio.Event()
    path = tmp_path / "config.toml"
    async with GitLabServer(tokens=TOKENS) as gitlab:
        path.write_text(edition(0, gitlab.url))
        watch = ConfigWatch(path, interval=0.005)
        watch.first()
        async with harness(kubelet=standing(go_on), gitlab=gitlab, concurrent=JOBS) as h:
            follower = Follower(h)
            jobs = await running_jobs(h, JOBS)
            async with anyio.create_task_group() as group:
                group.start_soon(partial(watch.run, follower.apply, refused=follower.refused))
                for number in range(1, EDITS + 1):
                    replace_by(path, edition(number, gitlab.url))
                    await follower.until(number)
                assert h.manager.running == JOBS
                go_on.set()
                for job in jobs:
                    await job.wait_finished(timeout=60)
                group.cancel_scope.cancel()
            await h.wait_until_empty()
        assert {job.state for job in jobs} == {"success"}
        assert (follower.loaded, follower.refusals) == (80, 20)
        assert all(change.changed or change.added or change.removed for change in follower.changes)
        assert gitlab.violations == []


async def test_drain_when_many_jobs_run() -> None:
    """All that run finish, and none that waits is taken, though there are slots for it."""
    go_on = anyio.Event()
    async with harness(kubelet=standing(go_on), concurrent=30) as h:
        jobs = await running_jobs(h, 20)
        h.manager.drain()
        with anyio.fail_after(10):
            while any(row.under_way for row in h.manager.questions()):
                await anyio.wait_all_tasks_blocked()
        late = [h.queue(script=["true"]) for _ in range(10)]
        go_on.set()
        for job in jobs:
            await job.wait_finished(timeout=60)
        await h.wait_until_empty()
        assert {job.state for job in jobs} == {"success"}
        assert {job.state for job in late} == {"pending"}
        assert h.manager.left_behind == 0


async def test_abort_when_the_cluster_is_away() -> None:
    """A process that has to go is not held up by objects that it cannot remove: `shutdown_timeout` bounds it all."""
    async with harness(kubelet=standing(anyio.Event()), process={"shutdown_timeout": 1}) as h:
        (job,) = await running_jobs(h, 1)
        assert h.cluster is not None
        await h.cluster.outage()
        with capture_logs() as logs, anyio.fail_after(6):
            h.manager.abort()
            await h.manager.wait_until_idle()
        assert h.manager.left_behind == 1
        assert (job.state, job.failure_reason) == ("failed", "runner_interrupted")
        told = [entry for entry in logs if entry["event"] == "objects may be left in the cluster"]
        assert [entry["selector"] for entry in told] == [f"job.runner.gitlab.com/id={job.id}"]
        await h.cluster.restore()
