"""The client and the embedded cluster agree: one pod's course, its streams, and what goes wrong with both."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from runner.kube.attach import StreamLostError, open_attach, open_exec
from runner.kube.channels import STDOUT, V5, Frame
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.errors import ForbiddenError, UnavailableError
from runner.kube.informer import PodInformer
from runner.kube.resources import Manifest
from runner.kube.retries import RetryPolicy
from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer


def pod(script: str) -> Manifest:
    """A pod that runs a script."""
    container = {"name": "build", "image": "any", "stdin": True, "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }


def is_running(seen: Manifest | None) -> bool:
    """Whether a pod runs."""
    return seen is not None and seen["status"].get("phase") == "Running"


async def test_a_pods_course_and_its_streams(tmp_path: Path) -> None:
    """By kubeconfig: born, attached to, executed in, watched, deleted, proved gone."""
    async with KubernetesServer(ProcessKubelet()) as server, anyio.create_task_group() as group:
        client = await connect(ConnectionSettings(kubeconfig=str(server.kubeconfig(tmp_path / "config"))), environ={})
        informer = PodInformer(client, "default")
        group.start_soon(informer.run)
        await client.create("pods", "default", pod('while read LINE; do echo "got $LINE"; done'))
        with anyio.fail_after(20), informer.subscribe("x") as subscription:
            while not is_running(await subscription.next()):
                pass
            async with open_attach(client, "default", "x", container="build", stdin=True, stdout=True) as stream:
                await stream.send(b"one\n")
                assert await stream.receive() == Frame(STDOUT, b"got one\n")
                server.cut_streams()
                with pytest.raises(StreamLostError):
                    await stream.receive()
            command = ["sh", "-c", "cat; exit 3"]
            async with open_exec(client, "default", "x", container="build", command=command, stdin=True) as stream:
                await stream.send(b"abc")
                assert await stream.close_stdin()
                assert await stream.receive() == Frame(STDOUT, b"abc")
                assert ((await stream.wait()).code, stream.drained, stream.protocol) == (3, True, V5)
            await client.delete("pods", "default", "x", grace_seconds=0)
            while await subscription.next() is not None:
                pass
        group.cancel_scope.cancel()
        await client.aclose()


async def test_history_and_outages_hold_up_no_waiter() -> None:
    """What happened while nobody could watch is told by the next list."""
    async with KubernetesServer() as server, anyio.create_task_group() as group:
        retry = RetryPolicy(limit=1)
        client = await connect(ConnectionSettings(host=server.url), retry=retry, environ={})
        informer = PodInformer(client, "default", poll_interval=0.05, backoff_min=0.01)
        group.start_soon(informer.run)
        with anyio.fail_after(20):
            assert await informer.wait_until_synced(timeout=10)
            await client.create("pods", "default", pod("true"))
            assert await informer.wait("x", is_running, timeout=10)
            await server.outage()
            with pytest.raises(UnavailableError):
                await client.read("pods", "default", "x")
            server.delete("pods", "x", grace_seconds=0)
            server.expire_history()
            await server.restore()
            assert await informer.wait("x", lambda seen: seen is None, timeout=10) is None
        group.cancel_scope.cancel()
        await client.aclose()


async def test_a_right_that_is_missing_is_told() -> None:
    """On calls and on upgrades."""
    async with KubernetesServer() as server:
        client = await connect(ConnectionSettings(host=server.url), environ={})
        server.forbid("create", "pods")
        server.forbid("create", "pods/attach")
        server.forbid("get", "pods/attach")
        with pytest.raises(ForbiddenError):
            await client.create("pods", "default", pod("true"))
        assert not await client.self_subject_access_review("default", "create", "pods")
        assert await client.self_subject_access_review("default", "get", "pods")
        server.create("pods", pod("true"))
        with pytest.raises(ForbiddenError, match="verbs get and create"):
            async with open_attach(client, "default", "x", container="build", stdin=True):
                raise AssertionError("it was refused")
        await client.aclose()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("openssl"), reason="the embedded server makes certificates with openssl")
async def test_tls_needs_the_right_authority_and_token() -> None:
    """Host, CA file and bearer token; a stranger's certificate is told from a server that is away."""
    async with KubernetesServer(tls=True, token="secret") as server:
        settings = ConnectionSettings(host=server.url, ca_file=server.ca_file, bearer_token="secret")
        client = await connect(settings, environ={})
        assert await client.list("pods", "default") == ()
        async with anyio.create_task_group() as group:
            informer = PodInformer(client, "default")
            group.start_soon(informer.run)
            assert await informer.wait_until_synced(timeout=10)
            group.cancel_scope.cancel()
        await client.aclose()
        stranger = ConnectionSettings(host=server.url, bearer_token="secret")
        client = await connect(stranger, retry=RetryPolicy(limit=1), environ={})
        with pytest.raises(
            UnavailableError, match=r"we do not trust \(unable to get local issuer certificate\)\.$"
        ) as caught:
            await client.list("pods", "default")
        assert (caught.value.reason, caught.value.sent) == ("CertificateInvalid", False)
        await client.aclose()
