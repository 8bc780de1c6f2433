"""A job is ended at every moment of its life, in every way: nothing is left, and GitLab hears once how it ended.

The pods are scripted and wait for events, so each cut falls exactly where the table says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import orjson
import pytest
from aiohttp import web

from runner.executor import resources
from runner.testing.faults import FaultRule, Handler, Hold
from runner.testing.gitlab import GitLabServer
from runner.testing.gitlab_jobs import JobRecord
from runner.testing.harness import Harness, harness
from runner.testing.kubelets import Fate, Script, ScriptedKubelet, ScriptedPod, Waiting
from runner.testing.kubernetes import KubernetesServer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "LATE_PAUSES", (0.01,))


ARTIFACTS = [{"name": "built", "paths": ["out"], "when": "always", "artifact_type": "archive"}]


@dataclass
class Scene:
    """One job that stands still at a moment of its life."""

    phase: str
    held: Hold = field(default_factory=lambda: Hold(after_effect=False))
    committed: Hold = field(default_factory=lambda: Hold(after_effect=True))
    event: anyio.Event = field(default_factory=anyio.Event)

    def fate(self) -> Fate:
        """The pod's story: it stands still in the stage or the state that the phase names."""
        if self.phase == "pending":
            return Fate(before=(Waiting("ContainerCreating", until=self.event),))
        return Fate(stages={self.phase: Script(until=self.event)})

    def add_faults(self, h: Harness) -> None:
        """Let the request wait that the phase is about."""
        assert h.cluster is not None
        match self.phase:
            case "accepting":
                h.gitlab.faults.add(FaultRule("PUT", "/jobs/", self.committed))
            case "creating":
                h.cluster.faults.add(FaultRule("POST", "/pods$", self.held))
            case "created":
                h.cluster.faults.add(FaultRule("POST", "/pods$", self.committed))
            case "attaching":
                h.cluster.faults.add(FaultRule("GET", "/attach", self.held, times=None))
            case "final_update":
                h.gitlab.faults.add(FaultRule("PUT", "/jobs/", self._hold_final, times=None))

    async def _hold_final(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        final = orjson.loads(await request.read())["state"] != "running"
        return await self.held(request, handler) if final else await handler(request)

    async def reached(self, h: Harness, kubelet: ScriptedKubelet) -> None:
        """Wait until the job stands still."""
        if self.phase in ("accepting", "created"):
            await self.committed.reached()
        elif self.phase in ("creating", "attaching", "final_update"):
            await self.held.reached()
        else:
            (pod,) = await kubelet.wait_pods()
            if self.phase != "pending":
                await pod.wait_started(f"{self.phase}-1")

    def release(self) -> None:
        """Let the job go on."""
        self.held.release()
        self.committed.release()
        self.event.set()


async def _user_cancels(h: Harness, job: JobRecord) -> None:
    job.cancel()
    assert job.state == "canceling"


async def _user_forces(h: Harness, job: JobRecord) -> None:
    job.cancel(force=True)


async def _time_is_over(h: Harness, job: JobRecord) -> None:
    (job_run,) = h.manager._jobs._running
    job_run._abort.deadline = anyio.current_time()


async def _drain(h: Harness, job: JobRecord) -> None:
    h.manager.drain()


async def _abort(h: Harness, job: JobRecord) -> None:
    h.manager.abort()


async def _cancel_manager_twice(h: Harness, job: JobRecord) -> None:
    await _cancel_twice("RunnerManager.serve")


async def _cancel_job_twice(h: Harness, job: JobRecord) -> None:
    await _cancel_twice(f"job {job.id}")


async def _cancel_twice(name: str) -> None:
    """Cancel a task as an embedding program may: natively, and again while it ends."""
    task = next(task for task in asyncio.all_tasks() if task.get_name().endswith(name))
    task.cancel()
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    task.cancel()


BEFORE_SCRIPTS = ("accepting", "creating", "created", "pending", "attaching", "prepare_script", "get_sources")
IN_SCRIPT = ("step_script",)
AFTER_SCRIPTS = ("after_script", "upload_artifacts_on_success")
PHASES = (*BEFORE_SCRIPTS, *IN_SCRIPT, *AFTER_SCRIPTS, "final_update")


@dataclass(frozen=True)
class Cause:
    """Who ends the job, and what GitLab then believes: state and reason."""

    act: Callable[[Harness, JobRecord], Awaitable[None]]
    end: tuple[str, str | None]
    end_after_scripts: tuple[str, str | None] | None = None
    """When it comes after the user's scripts, where it is another one."""
    final_status: int = 200
    goes_on: bool = False
    """Whether the job lives on until it ends by itself."""


SUCCESS = ("success", None)
INTERRUPTED = ("failed", "runner_interrupted")
CAUSES = {
    "canceled": Cause(_user_cancels, ("canceled", "unknown_failure"), ("canceled", None)),
    "forced": Cause(_user_forces, ("canceled", None), final_status=403),
    "timeout": Cause(_time_is_over, ("failed", "job_execution_timeout")),
    "drained": Cause(_drain, SUCCESS, goes_on=True),
    "aborted": Cause(_abort, INTERRUPTED),
    "manager_canceled_twice": Cause(_cancel_manager_twice, INTERRUPTED),
    "job_canceled_twice": Cause(_cancel_job_twice, INTERRUPTED),
}


def expected(cause: str, phase: str) -> tuple[str, str | None]:
    """What GitLab believes in the end. A verdict that stands already is not changed by what comes later."""
    if phase == "final_update":
        return {"canceled": ("canceled", None), "forced": ("canceled", None)}.get(cause, SUCCESS)
    if phase in AFTER_SCRIPTS:
        return CAUSES[cause].end_after_scripts or CAUSES[cause].end
    return CAUSES[cause].end


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("phase", PHASES)
async def test_a_job_that_is_ended(phase: str, cause: str) -> None:
    """No object stays in the cluster, GitLab gets one final state and the right one, and no task is left."""
    scene = Scene(phase)
    kubelet = ScriptedKubelet(scene.fate(), scale=0.01)
    async with harness(kubelet=kubelet, keep_alive_interval=0.05) as h:
        scene.add_faults(h)
        job = h.queue(script=["true"], after_script=["true"], artifacts=ARTIFACTS)
        await scene.reached(h, kubelet)
        await CAUSES[cause].act(h, job)
        if CAUSES[cause].goes_on or phase in ("accepting", "final_update") or (cause, phase) in _IGNORED:
            scene.release()
        await job.wait_finished(timeout=20)
        await h.wait_until_empty(timeout=20)
        assert (job.state, job.failure_reason) == expected(cause, phase), job.text
        finals = [update.status for update in job.updates if update.state != "running"]
        assert finals == [CAUSES[cause].final_status], job.updates
        assert h.gitlab.violations == []
        _check_stages(cause, phase, kubelet.pods)
        scene.release()
    assert asyncio.all_tasks() == {asyncio.current_task()}


_IGNORED = {("canceled", phase) for phase in AFTER_SCRIPTS}
"""A gentle cancel stops scripts; what follows them is the job's end already and goes on."""


def _check_stages(cause: str, phase: str, pods: tuple[ScriptedPod, ...]) -> None:
    """After a gentle cancel of the script, and only then, after_script runs."""
    stages = [attempt.rpartition("-")[0] for pod in pods for attempt in pod.attempts]
    if phase in BEFORE_SCRIPTS and not CAUSES[cause].goes_on:
        assert "step_script" not in stages
    if phase == "step_script":
        assert ("after_script" in stages) == (cause in ("canceled", "drained"))
    assert len(stages) == len(set(stages))


async def test_an_embedding_scope_is_cancelled() -> None:
    """A program that cancels the scope around manager and all gets the job reported and its pod removed first."""
    scene = Scene("step_script")
    kubelet = ScriptedKubelet(scene.fate())
    async with GitLabServer() as gitlab, KubernetesServer(kubelet=kubelet) as cluster:
        with anyio.CancelScope() as embedder:
            async with harness(gitlab=gitlab, cluster=cluster) as h:
                job = h.queue(script=["true"], after_script=["true"])
                await scene.reached(h, kubelet)
                embedder.cancel()
                await anyio.sleep_forever()
        await cluster.wait_until_gone()
        assert (job.state, job.failure_reason) == INTERRUPTED
        assert gitlab.violations == []


async def test_a_job_that_comes_after_the_abort_is_handed_back() -> None:
    """A job that GitLab gives away while the process is told to end is not run, and GitLab hears of it."""
    async with harness(kubelet=ScriptedKubelet()) as h:
        held = Hold(after_effect=True)
        h.gitlab.faults.add(FaultRule("POST", "/jobs/request", held))
        job = h.queue(script=["true"])
        await held.reached()
        h.manager.abort()
        held.release()
        await job.wait_finished()
        assert (job.state, job.failure_reason) == INTERRUPTED
        assert h.cluster is not None
        assert h.cluster.faults.seen("POST", "/pods$") == ()


async def test_an_embedder_that_cancels_does_not_wait_for_a_gitlab_that_is_away() -> None:
    """The last words of a cancelled manager get `shutdown_timeout`, not the hour of a job that ended by itself."""
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=anyio.Event())}))
    with anyio.fail_after(20):
        async with GitLabServer() as gitlab, anyio.create_task_group() as embedder:

            async def embedded(*, task_status: anyio.abc.TaskStatus[JobRecord]) -> None:
                async with harness(gitlab=gitlab, kubelet=kubelet, process={"shutdown_timeout": 0.2}) as h:
                    task_status.started(h.queue(script=["true"]))
                    await anyio.sleep_forever()

            job = await embedder.start(embedded)
            await job.wait_trace(b"here")
            await gitlab.outage()
            embedder.cancel_scope.cancel()
    assert job.state == "running"
