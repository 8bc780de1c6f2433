"""One pod as the watch tells of it: what it is, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from runner.config.kubernetes import KubernetesConfig
from runner.executor.waiting import PodWait
from runner.executor.watching import PodWatch
from runner.job.outcome import JobConfigurationError, JobError, RunnerSystemError
from runner.kube.client import KubeClient
from runner.kube.errors import ForbiddenError
from runner.kube.informer import PodInformer
from runner.testing.kubelets import Fate, Mishap, ScriptedKubelet, Waiting
from runner.testing.kubernetes import KubernetesServer
from tests.executor.parts import Sink, pod_manifest


@asynccontextmanager
async def watched(client: KubeClient) -> AsyncIterator[PodWatch]:
    """The watch over `job-pod`, with its informer running."""
    informer = PodInformer(client, "default", poll_interval=0.05)
    async with anyio.create_task_group() as group:
        group.start_soon(informer.run)
        watch = PodWatch(informer, "job-pod")
        yield watch
        watch.close()
        group.cancel_scope.cancel()


async def until_running(client: KubeClient, watch: PodWatch, sink: Sink, *, poll_timeout: float = 5) -> None:
    """Wait as a job does."""
    settings = KubernetesConfig.model_validate({"poll_timeout": poll_timeout, "poll_interval": 1})
    with anyio.fail_after(10):
        wait = PodWait(client, watch, sink, namespace="default", name="job-pod", settings=settings)
        if found := await wait.until_running():
            raise found.error()


MISHAPS = {
    "oom": (Mishap.OOM_KILLED, "OOMKilled"),
    "helper": (Mishap.HELPER_DIED, "helper"),
    "evicted": (Mishap.EVICTED, "Evicted"),
    "drained": (Mishap.DRAINED, "EvictionByEvictionAPI"),
    "deleted": (Mishap.DELETED, "deleted=True"),
    "forced": (Mishap.DELETED_BY_FORCE, "gone=True"),
}


@pytest.mark.parametrize("mishap", MISHAPS)
async def test_until_ended(server: KubernetesServer, client: KubeClient, sink: Sink, mishap: str) -> None:
    """The fate names what struck the pod."""
    what, words = MISHAPS[mishap]
    server.create("pods", pod_manifest())
    async with watched(client) as watch:
        await until_running(client, watch, sink)
        assert watch.fate is None
        assert await watch.fate_now() is None
        assert isinstance(server.kubelet, ScriptedKubelet)
        (pod,) = server.kubelet.pods
        await pod.strike(what)
        with anyio.fail_after(10):
            await watch.until_ended()
        assert words in repr(watch.fate)


async def test_fate_now_when_the_pod_is_gone(
    server: KubernetesServer, client: KubeClient, manifest: dict[str, Any], sink: Sink
) -> None:
    """A GET that finds nothing is proof."""
    server.create("pods", manifest)
    async with watched(client) as watch:
        await until_running(client, watch, sink)
        server.delete("pods", "job-pod", grace_seconds=0)
        await server.wait_until_gone("pods")
        fate = await watch.fate_now()
        assert fate is not None
        assert fate.gone


async def test_until_ended_when_reading_is_forbidden(
    server: KubernetesServer, client: KubeClient, manifest: dict[str, Any], sink: Sink
) -> None:
    """Without any right to see the pod the wait does not last for ever."""
    server.create("pods", manifest)
    async with watched(client) as watch:
        await until_running(client, watch, sink)
        for verb in ("get", "list", "watch"):
            server.forbid(verb, "pods")
        server.cut_streams()
        with pytest.raises(ForbiddenError), anyio.fail_after(10):
            await watch.until_ended()


async def test_until_running_tells_each_state_once(
    server: KubernetesServer, client: KubeClient, kubelet: ScriptedKubelet, manifest: dict[str, Any], sink: Sink
) -> None:
    """The log says what the pod waits for, a line for each change."""
    pulled = anyio.Event()
    kubelet.queue(Fate(before=(Waiting("ContainerCreating", until=pulled),)))
    server.create("pods", manifest)
    async with watched(client) as watch, anyio.create_task_group() as group:
        group.start_soon(lambda: until_running(client, watch, sink))
        (pod,) = await kubelet.wait_pods()
        while not any("node-" in text or "status is Pending" in text for _, text in sink.notes):
            await anyio.lowlevel.checkpoint()
        pulled.set()
        await pod.running.wait()
    lines = [text for _, text in sink.notes if text.startswith("Waiting for pod default/job-pod")]
    assert lines
    assert len(sink.notes) == len(set(sink.notes))


NEVER: dict[str, tuple[Fate, type[JobError], str]] = {
    "invalid_image": (Fate.invalid_image(), JobConfigurationError, "invalid reference format"),
    "crash_loop": (Fate.crash_loop(), JobConfigurationError, "crashes again and again"),
    "evicted": (Fate(at_start=Mishap.EVICTED), RunnerSystemError, "TerminationByKubelet"),
    "unschedulable": (Fate.unschedulable(), RunnerSystemError, "timed out waiting for pod to start"),
}


@pytest.mark.parametrize("never", NEVER)
async def test_until_running_when_it_never_will(
    server: KubernetesServer, client: KubeClient, kubelet: ScriptedKubelet, sink: Sink, never: str
) -> None:
    """The error has the cluster's words."""
    fate, kind, words = NEVER[never]
    kubelet.queue(fate)
    server.create("pods", pod_manifest())
    async with watched(client) as watch:
        with pytest.raises(kind) as error:
            await until_running(client, watch, sink, poll_timeout=1)
        assert words in error.value.message


async def test_until_running_when_the_pod_is_deleted(
    server: KubernetesServer, client: KubeClient, kubelet: ScriptedKubelet, manifest: dict[str, Any], sink: Sink
) -> None:
    """A pod that somebody deletes before it runs ends the job."""
    kubelet.queue(Fate.never_runs())
    server.create("pods", manifest)
    async with watched(client) as watch:
        await watch.next_change(timeout=5)
        server.delete("pods", "job-pod", grace_seconds=0)
        with pytest.raises(RunnerSystemError, match="delete"):
            await until_running(client, watch, sink)
