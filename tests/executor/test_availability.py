"""Waiting for what a pod needs in its namespace, as upstream's WaitForResources, ServiceAccountExists, SecretExists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from runner.executor import availability
from runner.executor.availability import until_available, until_namespace_is_ready
from runner.job.outcome import JobConfigurationError, RunnerSystemError
from runner.kube.client import KubeClient
from runner.kube.errors import ForbiddenError
from runner.testing.kubernetes import KubernetesServer
from tests.executor.parts import request_for_pod


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(availability, "ACCOUNT_PAUSES", (0.01,) * 200)


def looks(server: KubernetesServer, name: str) -> int:
    """How often something was looked for."""
    return len(server.faults.seen("GET", f"/{name}$"))


async def test_until_available_when_all_is_there(server: KubernetesServer, client: KubeClient) -> None:
    """The account first, then each secret, once each."""
    for name in ("one", "two"):
        server.create("secrets", {"metadata": {"name": name}})
    wanted: dict[str, Any] = {"service_account": "default", "image_pull_secrets": ["one", "two", "one"]}
    await until_available(client, request_for_pod(resource_availability_check_max_attempts=2, **wanted))
    assert [path.rpartition("/")[2] for _, path in server.requests] == ["default", "one", "two"]


async def test_until_available_when_the_check_is_off(server: KubernetesServer, client: KubeClient) -> None:
    """Nothing is asked, whatever is missing."""
    await until_available(client, request_for_pod(service_account="missing", image_pull_secrets=["missing"]))
    assert server.requests == ()


async def test_until_available_when_no_account_is_named(server: KubernetesServer, client: KubeClient) -> None:
    """The namespace's own account is always there."""
    await until_available(client, request_for_pod(resource_availability_check_max_attempts=2))
    assert server.requests == ()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        pytest.param({"service_account": "missing"}, "ServiceAccount/missing", id="account"),
        pytest.param({"image_pull_secrets": ["missing"]}, "ImagePullSecret/missing", id="secret"),
    ],
)
async def test_until_available_when_something_never_comes(
    server: KubernetesServer, client: KubeClient, keys: dict[str, Any], message: str
) -> None:
    """One look more than attempts; then the original's sentence, with the namespace."""
    with pytest.raises(RunnerSystemError) as caught:
        await until_available(client, request_for_pod(resource_availability_check_max_attempts=3, **keys))
    assert caught.value.message == (
        f"Timed out while waiting for {message} to be present in the cluster (namespace default)"
    )
    assert looks(server, "missing") == 4


async def test_until_available_when_it_comes_later(server: KubernetesServer, client: KubeClient) -> None:
    """The pod is made as soon as the secret is there."""
    request = request_for_pod(resource_availability_check_max_attempts=1000, image_pull_secrets=["late"])
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(until_available, client, request)
            await server.faults.wait_seen("GET", "/secrets/late")
            server.create("secrets", {"metadata": {"name": "late"}})
    assert looks(server, "late") >= 2


async def test_until_available_looks_for_the_account_that_the_job_chose(
    server: KubernetesServer, client: KubeClient
) -> None:
    """Unlike the original, which looks for the configured one; what the job chose in vain is no system failure."""
    request = request_for_pod(resource_availability_check_max_attempts=1, service_account="chosen")
    request = replace(request, origins={("service_account",): "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE"})
    with pytest.raises(JobConfigurationError, match=r"ServiceAccount/chosen .* overwrite service_account"):
        await until_available(client, request)


async def test_until_available_when_looking_is_forbidden(server: KubernetesServer, client: KubeClient) -> None:
    """A check that was asked for and cannot be made is not passed over."""
    server.forbid("get", "secrets")
    with pytest.raises(ForbiddenError):
        await until_available(
            client, request_for_pod(resource_availability_check_max_attempts=1, image_pull_secrets=["one"])
        )


async def test_until_namespace_is_ready_when_its_account_comes_later(
    server: KubernetesServer, client: KubeClient
) -> None:
    """A real cluster makes the account a moment after the namespace, and refuses pods before."""
    server.create("namespaces", {"metadata": {"name": "ci-job-4711"}})
    server.delete("serviceaccounts", "default", namespace="ci-job-4711")
    request = request_for_pod(namespace_per_job=True)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(until_namespace_is_ready, client, request)
            await server.faults.wait_seen("GET", "/serviceaccounts/default")
            server.create("serviceaccounts", {"metadata": {"name": "default"}}, namespace="ci-job-4711")


async def test_until_namespace_is_ready_when_looking_is_forbidden(server: KubernetesServer, client: KubeClient) -> None:
    """The right is not needed: the pod will tell."""
    server.forbid("get", "serviceaccounts")
    await until_namespace_is_ready(client, request_for_pod(namespace_per_job=True))
