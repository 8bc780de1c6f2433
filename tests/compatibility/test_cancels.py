"""Cancels and aborts in each part of a job's life: a real manager, a real GitLab, a place that stands still."""

from __future__ import annotations

import anyio
import pytest

from runner.config.model import Config
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import ClientInfo
from runner.gitlab.transport import ClientPool
from runner.job.verdict import Evidence
from runner.manager.manager import RunnerManager
from runner.manager.material import Identity
from runner.testing.gitlab import GitLabServer
from tests.manager.parts import NoCaches, Room

SYSTEM_ID = "s_0f1e2d3c4b5a"
SCRIPTS = {
    "prepare": [],
    "step_script": ["step_script-1"],
    "after_script": ["step_script-1", "after_script-1"],
    "upload_artifacts_on_success": ["step_script-1", "after_script-1"],
}
"""The scripts that have begun by the time a stage stands still."""

AFTER_THE_SCRIPT = ("after_script", "upload_artifacts_on_success")
"""Stages that a cancel does not end, as the script that it is for is over; an abort does."""


class Standing(Room):
    """A place in which one stage goes on until it is told to end, or let go."""

    def __init__(self, stage: str) -> None:
        super().__init__(**{stage: self._stand})
        self._preparing = stage == "prepare"
        self.let_go = anyio.Event()
        self.reached = anyio.Event()

    async def prepare(self, group: anyio.abc.TaskGroup) -> None:
        """Get ready, or never."""
        await super().prepare(group)
        if self._preparing:
            self.reached.set()
            await anyio.sleep_forever()

    async def _stand(self, attempt: str, stop: anyio.Event) -> Evidence:
        self.reached.set()
        async with anyio.create_task_group() as group:
            group.start_soon(self._end, self.let_go, group.cancel_scope)
            await stop.wait()
            group.cancel_scope.cancel()
        if self.let_go.is_set():
            return Evidence(attempt, exit_code=0, drained=True)
        return Evidence(attempt, exit_code=143, drained=True)

    @staticmethod
    async def _end(event: anyio.Event, scope: anyio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    def scripts(self) -> list[str]:
        """The scripts of the user that were begun, in their order."""
        return [attempt for attempt in self.did if attempt.startswith(("step_", "after_"))]


@pytest.mark.parametrize("force", [False, True], ids=["cancel", "abort"])
@pytest.mark.parametrize("stage", list(SCRIPTS))
async def test_job_is_ended_in(stage: str, *, force: bool) -> None:
    """after_script runs once, and follows only a cancel in the script; the place is removed; GitLab has `canceled`."""
    room = Standing(stage)
    async with GitLabServer(update_interval=0.01) as gitlab:
        pool = ClientPool()
        entry = {"name": "r", "url": gitlab.url, "token": gitlab.token}
        manager = RunnerManager(
            Config.model_validate({"concurrent": 1, "check_interval": 1, "runners": [entry]}),
            identity=Identity(name="runner", version="1", revision="abc", system_id=SYSTEM_ID, host="here"),
            executor_for=lambda _runner: room,
            coordinator_for=lambda runner: Coordinator(
                runner.url, runner.token, info=ClientInfo(version="1"), pool=pool
            ),
            caches_for=lambda _runner: NoCaches(),
            close=pool.aclose,
            keep_alive_interval=0.02,
            max_jobs=1,
        )
        job = gitlab.queue(
            script=["true"],
            after_script=["true"],
            variables={"GIT_STRATEGY": "none"},
            artifacts=[{"paths": ["out"], "when": "on_success"}],
        )
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(manager.serve)
                await room.reached.wait()
                gitlab.cancel(job.id, force=force)
                if stage in AFTER_THE_SCRIPT and not force:
                    room.let_go.set()
        assert gitlab.violations == []
    follows = ["after_script-1"] if stage == "step_script" and not force else []
    assert room.scripts() == SCRIPTS[stage] + follows
    assert (job.state, room.did[-1], room.did.count("remove")) == ("canceled", "remove", 1)
