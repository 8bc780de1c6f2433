"""A client of the embedded API server, and what the executor's parts need around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.retries import RetryPolicy
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from tests.executor.opened import Opened
from tests.executor.parts import Sink, pod_manifest


@pytest.fixture
def kubelet() -> ScriptedKubelet:
    """Scripted pods: a test puts fates into its queue."""
    return ScriptedKubelet(scale=0.01)


@pytest.fixture
async def server(kubelet: ScriptedKubelet) -> AsyncIterator[KubernetesServer]:
    """An API server."""
    server = KubernetesServer(kubelet=kubelet)
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def client(server: KubernetesServer, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client of it that tries once: patience is what is under test."""
    kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
    client = await connect(ConnectionSettings(kubeconfig=kubeconfig), retry=RetryPolicy(limit=1))
    yield client
    await client.aclose()


@pytest.fixture
def sink() -> Sink:
    """A job's log."""
    return Sink()


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A job's pod."""
    return pod_manifest()


@pytest.fixture
def opened(server: KubernetesServer, tmp_path: Path) -> Opened:
    """What the cluster under test opens."""
    return Opened(server, tmp_path)
