"""The plugin's fixtures are servers that run, and are closed after the test."""

import aiohttp

from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

pytest_plugins = ["runner.testing.plugin"]


async def test_both_servers_answer(gitlab_server: GitLabServer, kubernetes_server: KubernetesServer) -> None:
    """Each on a port of its own."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{kubernetes_server.url}/version") as answer:
            assert (await answer.json())["gitVersion"].startswith("v1.")
        async with session.post(f"{gitlab_server.url}/api/v4/jobs/request", json={"token": "wrong"}) as answer:
            assert answer.status == 403


async def test_kubelet_of_the_module_is_the_servers(
    kubelet: ScriptedKubelet, kubernetes_server: KubernetesServer
) -> None:
    """A test that asks for `kubelet` gets the one that runs the pods."""
    assert kubernetes_server.kubelet is kubelet
