"""What a client and a watch tell to whoever counts."""

from __future__ import annotations

from pathlib import Path

import anyio

from runner.kube.connect import ConnectionSettings, connect
from runner.kube.informer import PodInformer
from runner.kube.retries import RetryPolicy
from runner.testing.faults import FaultRule, Reply
from runner.testing.kubernetes import KubernetesServer


async def test_client_tells_of_what_is_sent_once_more(tmp_path: Path) -> None:
    """Verb and resource before each repetition, and nothing for the first try."""
    told: list[str] = []
    async with KubernetesServer() as server:
        settings = ConnectionSettings(kubeconfig=str(server.kubeconfig(tmp_path / "kubeconfig")))
        server.faults.add(FaultRule("GET", "/pods$", Reply(503), times=2))
        async with await connect(
            settings,
            retry=RetryPolicy(backoff_min=0.001, backoff_max=0.001),
            retried=lambda verb, resource: told.append(f"{verb} {resource}"),
        ) as client:
            await client.list("pods", "default")
    assert told == ["list pods"] * 2


async def test_informer_tells_of_lists_and_interruptions(tmp_path: Path) -> None:
    """A watch that fails is made anew without a list, one whose version is gone with one."""
    told: list[str] = []
    async with KubernetesServer() as server:
        settings = ConnectionSettings(kubeconfig=str(server.kubeconfig(tmp_path / "kubeconfig")))
        server.faults.add(FaultRule("GET", "watch=1", Reply(500)))
        server.faults.add(FaultRule("GET", "watch=1", Reply(410)))
        async with await connect(settings) as client, anyio.create_task_group() as group:
            informer = PodInformer(client, "default", backoff_min=0.001, observe=told.append)
            group.start_soon(informer.run)
            with anyio.fail_after(10):
                while not informer.watching:
                    await anyio.lowlevel.checkpoint()
            running = informer.running
            group.cancel_scope.cancel()
    assert (running, informer.running) == (True, False)
    assert told == ["listed", "interrupted", "interrupted", "listed"]
