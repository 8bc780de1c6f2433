"""The pytest plugin: `gitlab_server`, `kubernetes_server`, and the `kubelet` that runs its pods.

Public. Loaded by pytest when the package is installed; otherwise `pytest_plugins = ["runner.testing.plugin"]`. The
fixtures hold no scope open: the servers own a task each, so any event loop plugin may run them, pytest-asyncio where it
is there. The servers are imported when a test asks for one: every run of pytest in the same environment loads this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING or find_spec("pytest_asyncio"):
    from pytest_asyncio import fixture as async_fixture
else:  # anyio's plugin runs plain ones
    async_fixture = pytest.fixture

if TYPE_CHECKING:
    from runner.testing.gitlab import GitLabServer
    from runner.testing.kubelets import Kubelet
    from runner.testing.kubernetes import KubernetesServer


@async_fixture
async def gitlab_server() -> AsyncIterator[GitLabServer]:
    """A GitLab on loopback with an empty queue of jobs."""
    from runner.testing.gitlab import GitLabServer

    server = GitLabServer()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
def kubelet() -> Kubelet:
    """What runs the pods of `kubernetes_server`: a ScriptedKubelet; override it in a module to have another."""
    from runner.testing.kubelets import ScriptedKubelet

    return ScriptedKubelet()


@async_fixture
async def kubernetes_server(kubelet: Kubelet) -> AsyncIterator[KubernetesServer]:
    """A Kubernetes of one node on loopback; it is closed, and every process ended, after the test."""
    from runner.testing.kubernetes import KubernetesServer

    server = KubernetesServer(kubelet)
    await server.start()
    yield server
    await server.aclose()
