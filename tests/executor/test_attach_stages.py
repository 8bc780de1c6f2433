"""A stage under agents: what was seen of it, however it ends and whatever strikes the pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from runner.executor import stages as stages_module
from runner.executor.session import PodSession
from runner.executor.stages import AttachStages
from runner.executor.watching import PodWatch
from runner.job.outcome import RunnerSystemError
from runner.job.verdict import verdict
from runner.kube.attach import open_attach
from runner.kube.client import KubeClient
from runner.kube.informer import PodInformer
from runner.podspec.status import is_running
from runner.shell.context import Script as StageScript
from runner.testing.faults import CutResponse, FaultRule, Reply
from runner.testing.kubelets import Fate, Mishap, Script, ScriptedKubelet, ScriptedPod
from runner.testing.kubernetes import KubernetesServer
from tests.executor.parts import Sink, pod_manifest

ATTEMPT = "step_script-1"
STAGE = StageScript("step_script", "echo hello\n")


def hanging() -> Script:
    """A stage that prints a line and does not end."""
    return Script(output=((0.0, b"hello\n"),), until=anyio.Event())


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages_module, "DRAIN_TIMEOUT", 0.2)
    monkeypatch.setattr(stages_module, "LAUNCH_TIMEOUT", 0.5)


@asynccontextmanager
async def stages(
    server: KubernetesServer, client: KubeClient, sink: Sink, script: Script
) -> AsyncIterator[tuple[AttachStages, ScriptedPod]]:
    """Stages in a pod that runs and whose `step_script` does as the script says; the conversation goes on beside."""
    kubelet = server.kubelet
    assert isinstance(kubelet, ScriptedKubelet)
    kubelet.queue(Fate(stages={"step_script": script}))
    server.create("pods", pod_manifest())
    (pod,) = await kubelet.wait_pods()
    await pod.running.wait()

    def attach(container: str, **streams: bool) -> Any:
        return open_attach(client, "default", "job-pod", container=container, stdin=True, **streams)

    informer = PodInformer(client, "default", poll_interval=0.05)
    watch = PodWatch(informer, "job-pod")
    session = PodSession(lambda: attach("helper", stdout=True, stderr=True), sink, job_id=1)
    made = AttachStages(session, watch, sink, attach_build=lambda: attach("build"))
    async with anyio.create_task_group() as group:
        group.start_soon(informer.run)
        with anyio.fail_after(30):
            while not is_running(watch.view):
                await watch.next_change(timeout=5)
            group.start_soon(made.serve)
            yield made, pod
        group.cancel_scope.cancel()
    watch.close()


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_run_when_the_stage_ends(server: KubernetesServer, client: KubeClient, sink: Sink, code: int) -> None:
    """The record's code and kills, once all of the output is there."""
    script = Script(output=((0.0, b"hello\n"),), exit_code=code, oom_kills=1)
    async with stages(server, client, sink, script) as (made, pod):
        evidence = await made.run(STAGE, attempt=ATTEMPT, stop=anyio.Event())
    assert (evidence.exit_code, evidence.oom_kills, evidence.drained, evidence.pod) == (code, 1, True, None)
    assert verdict(evidence).state == ("failed" if code else "success")
    assert sink.raw == b"hello\n"
    assert pod.scripts[ATTEMPT] == b"echo hello\n"


async def test_run_when_the_wrapper_dies(server: KubernetesServer, client: KubeClient, sink: Sink) -> None:
    """A stage without a record is lost, not successful."""
    async with stages(server, client, sink, Script(lost=True)) as (made, _pod):
        evidence = await made.run(STAGE, attempt=ATTEMPT, stop=anyio.Event())
    assert (evidence.lost, evidence.exit_code) == (True, None)
    assert verdict(evidence).state == "failed"


@pytest.mark.parametrize("mishap", [Mishap.OOM_KILLED, Mishap.BUILD_DIED, Mishap.HELPER_DIED, Mishap.EVICTED])
async def test_run_when_something_strikes_the_pod(
    server: KubernetesServer, client: KubeClient, sink: Sink, mishap: Mishap
) -> None:
    """The wait ends with what became of the pod."""
    async with stages(server, client, sink, hanging()) as (made, pod), anyio.create_task_group() as group:

        async def strike() -> None:
            await pod.wait_started(ATTEMPT)
            await pod.strike(mishap)

        group.start_soon(strike)
        evidence = await made.run(STAGE, attempt=ATTEMPT, stop=anyio.Event())
    assert evidence.exit_code is None
    assert evidence.pod is not None
    assert verdict(evidence).state == "failed"


@pytest.mark.parametrize("ignores_term", [False, True])
async def test_run_when_it_is_stopped(
    server: KubernetesServer, client: KubeClient, sink: Sink, ignores_term: bool
) -> None:
    """TERM first, KILL for who does not listen; the record says which it was."""
    stop = anyio.Event()
    script = Script(until=anyio.Event(), ignores_term=ignores_term)
    async with stages(server, client, sink, script) as (made, pod), anyio.create_task_group() as group:

        async def stop_it() -> None:
            await pod.wait_started(ATTEMPT)
            stop.set()

        group.start_soon(stop_it)
        evidence = await made.run(STAGE, attempt=ATTEMPT, stop=stop)
    assert evidence.exit_code == (137 if ignores_term else 143)


async def test_run_when_a_stop_changes_nothing(
    server: KubernetesServer, client: KubeClient, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that a stop does not reach is given up: what cannot be stopped cannot be waited for."""
    monkeypatch.setattr(stages_module, "STOP_TIMEOUT", 0.05)
    stop = anyio.Event()
    async with stages(server, client, sink, hanging()) as (made, pod), anyio.create_task_group() as group:

        async def stop_it() -> None:
            await pod.wait_started(ATTEMPT)
            server.faults.add(FaultRule("GET", "/attach", Reply(500), times=None))
            stop.set()

        group.start_soon(stop_it)
        evidence = await made.run(STAGE, attempt=ATTEMPT, stop=stop)
    assert (evidence.exit_code, evidence.connection_lost) == (None, True)
    assert verdict(evidence).state == "failed"


@pytest.mark.parametrize("trouble", [Reply(500), CutResponse(0)], ids=["refused", "cut"])
async def test_run_when_the_build_container_is_hard_to_reach(
    server: KubernetesServer, client: KubeClient, sink: Sink, trouble: Any
) -> None:
    """The order is given again until it shows, and the stage starts once."""
    server.faults.add(FaultRule("GET", "/attach", trouble, times=3))
    async with stages(server, client, sink, Script(exit_code=4)) as (made, pod):
        evidence = await made.run(STAGE, attempt=ATTEMPT, stop=anyio.Event())
    assert evidence.exit_code == 4
    assert pod.attempts == (ATTEMPT,)


async def test_run_when_the_pod_may_not_be_read(server: KubernetesServer, client: KubeClient, sink: Sink) -> None:
    """A right that is taken away is told with its name; nobody waits for the job's time-out."""
    async with stages(server, client, sink, hanging()) as (made, _pod):
        for verb in ("list", "watch", "get"):
            server.forbid(verb, "pods")
        server.cut_streams()
        with pytest.raises(RunnerSystemError, match="does not allow reading the pod any more"):
            await made.run(STAGE, attempt=ATTEMPT, stop=anyio.Event())
