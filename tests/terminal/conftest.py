"""A pod of the embedded Kubernetes for the tests of terminals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from runner.kube.connect import ConnectionSettings, connect
from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer
from tests.terminal.visitors import POD, Pod


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that runs."""
    async with KubernetesServer(ProcessKubelet(), token="cluster-secret") as cluster:
        client = await connect(ConnectionSettings(kubeconfig=str(cluster.kubeconfig(tmp_path / "config"))), environ={})
        await client.create("pods", "default", POD)
        with anyio.fail_after(20):
            while (await client.read("pods", "default", "job"))["status"].get("phase") != "Running":
                await anyio.lowlevel.checkpoint()
        yield Pod(client, cluster)
        await client.aclose()
