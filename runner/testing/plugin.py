"""The pytest plugin: `gitlab_server`, `kubernetes_server`, and the `kubelet` that runs its pods.

Public. Loaded by pytest when the package is installed; otherwise `pytest_plugins = ["runner.testing.plugin"]`. The
fixtures hold no scope open: the servers own a task each, so any event loop plugin may run them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import Kubelet, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer


@pytest_asyncio.fixture
async def gitlab_server() -> AsyncIterator[GitLabServer]:
    """A GitLab on loopback with an empty queue of jobs."""
    server = GitLabServer()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
def kubelet() -> Kubelet:
    """What runs the pods of `kubernetes_server`: a ScriptedKubelet; override it in a module to have another."""
    return ScriptedKubelet()


@pytest_asyncio.fixture
async def kubernetes_server(kubelet: Kubelet) -> AsyncIterator[KubernetesServer]:
    """A Kubernetes of one node on loopback; it is closed, and every process ended, after the test."""
    server = KubernetesServer(kubelet)
    await server.start()
    yield server
    await server.aclose()
