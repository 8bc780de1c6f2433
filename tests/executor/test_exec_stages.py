"""A stage by exec: its code, its output, and what a connection that ends too early proves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from runner.executor.stages import ExecStages
from runner.executor.watching import PodWatch
from runner.job.verdict import verdict
from runner.kube.attach import open_exec
from runner.kube.channels import ExitStatus
from runner.kube.client import KubeClient
from runner.kube.errors import ForbiddenError
from runner.kube.informer import PodInformer
from runner.shell.context import Script as StageScript
from runner.testing.faults import CutResponse, FaultRule, Reply
from runner.testing.kubelets import Fate, Script, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from runner.trace.journal import ExitEntry, LogEntry, LostEntry, StartEntry
from tests.executor.parts import Sink, pod_manifest

STAGE = StageScript("step_script", "echo hello\n")


@asynccontextmanager
async def stages(server: KubernetesServer, client: KubeClient, sink: Sink, script: Script) -> AsyncIterator[ExecStages]:
    """Exec stages in a pod that runs and whose commands do as the script says."""
    kubelet = server.kubelet
    assert isinstance(kubelet, ScriptedKubelet)
    kubelet.queue(Fate(executed=lambda _container, _command: script))
    server.create("pods", pod_manifest())
    (pod,) = await kubelet.wait_pods()
    await pod.running.wait()

    def execute(container: str, command: tuple[str, ...]) -> Any:
        return open_exec(client, "default", "job-pod", container=container, command=command, stdin=True)

    watch = PodWatch(PodInformer(client, "default"), "job-pod")
    yield ExecStages(execute, watch, sink)
    watch.close()


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_run_when_the_script_ends(server: KubernetesServer, client: KubeClient, sink: Sink, code: int) -> None:
    """Output, then the code of the exec's own status."""
    async with stages(server, client, sink, Script(output=((0.0, b"hello\n"),), exit_code=code)) as made:
        evidence = await made.run(STAGE, attempt="step_script-1", stop=anyio.Event())
    assert (evidence.exit_code, evidence.drained) == (code, True)
    assert verdict(evidence).state == ("failed" if code else "success")
    assert sink.raw == b"hello\n"
    assert [type(entry) for entry in sink.entries] == [StartEntry, LogEntry, ExitEntry]
    assert isinstance(server.kubelet, ScriptedKubelet)
    ((container, command, _received),) = server.kubelet.pods[0].executions
    assert (container, command[:2]) == ("build", ("sh", "-c"))


@pytest.mark.parametrize("after_bytes", [0, 4, 12])
async def test_run_when_the_connection_is_cut(
    server: KubernetesServer, client: KubeClient, sink: Sink, after_bytes: int
) -> None:
    """However far it got, a script whose status never came has not succeeded."""
    server.faults.add(FaultRule("GET", "/exec", CutResponse(after_bytes)))
    async with stages(server, client, sink, Script(output=((0.0, b"hello, world\n"),))) as made:
        evidence = await made.run(STAGE, attempt="step_script-1", stop=anyio.Event())
    assert evidence.exit_code is None
    assert verdict(evidence).reason == "runner_system_failure"
    assert isinstance(sink.entries[-1], LostEntry)


async def test_run_when_it_is_stopped(server: KubernetesServer, client: KubeClient, sink: Sink) -> None:
    """A stop lets the connection go; the script is left to the pod's end."""
    stop = anyio.Event()
    script = Script(output=((0.0, b"hello\n"),), until=anyio.Event())
    async with stages(server, client, sink, script) as made, anyio.create_task_group() as group:
        found = []

        async def run() -> None:
            found.append(await made.run(STAGE, attempt="step_script-1", stop=stop))

        group.start_soon(run)
        while not sink.raw:
            await anyio.lowlevel.checkpoint()
        stop.set()
    assert found[0].exit_code is None
    assert found[0].connection_lost


async def test_run_when_exec_is_forbidden(server: KubernetesServer, client: KubeClient, sink: Sink) -> None:
    """The refusal itself is raised, and the stage's section is closed in the log."""
    server.forbid("get", "pods/exec")
    async with stages(server, client, sink, Script()) as made:
        with pytest.raises(ForbiddenError):
            await made.run(STAGE, attempt="step_script-1", stop=anyio.Event())
    assert [type(entry) for entry in sink.entries] == [StartEntry, LostEntry]


async def test_run_when_the_server_is_busy(server: KubernetesServer, client: KubeClient, sink: Sink) -> None:
    """Nothing has run before the exec is open, so it is asked for again."""
    server.faults.add(FaultRule("GET", "/exec", Reply(503)))
    async with stages(server, client, sink, Script()) as made:
        evidence = await made.run(STAGE, attempt="step_script-1", stop=anyio.Event())
    assert evidence.exit_code == 0


class TornStream:
    """An exec whose good status came, and then the connection broke."""

    exit_status = ExitStatus(code=0)
    drained = False

    async def send(self, data: bytes) -> None:
        """Take the script."""

    async def close_stdin(self) -> bool:
        """A server with half-close."""
        return True

    async def receive(self) -> None:
        """Nothing more comes."""


async def test_run_when_the_output_may_not_be_whole(client: KubeClient, server: KubernetesServer, sink: Sink) -> None:
    """A good status behind which the connection broke proves no whole log: no success."""
    async with stages(server, client, sink, Script()) as made:

        @asynccontextmanager
        async def torn(_container: str, _command: tuple[str, ...]) -> AsyncIterator[Any]:
            yield TornStream()

        evidence = await ExecStages(torn, made._watch, sink).run(STAGE, attempt="step_script-1", stop=anyio.Event())
    assert (evidence.exit_code, evidence.drained) == (0, False)
    assert verdict(evidence).reason == "runner_system_failure"
