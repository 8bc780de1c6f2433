"""What a pod needs in its namespace before it is made: its service account, its registry secrets.

`resource_availability_check_max_attempts` says how often to look again, with five seconds between looks. A namespace of
the job's own is always waited for: its default service account comes a moment after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.job.outcome import JobConfigurationError, JobError, RunnerSystemError
from runner.kube.errors import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from runner.kube.client import KubeClient
    from runner.podspec.request import PodRequest

CHECK_INTERVAL = 5.0
"""Seconds between looks."""

ACCOUNT_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
"""Seconds between looks for the service account of a new namespace."""

_DEFAULT_ACCOUNT = "default"


async def until_available(client: KubeClient, pod: PodRequest) -> None:
    """Wait for the service account and then for each registry secret, where the configuration asks for it.

    Raises KubeError, and JobError that names what is not there after all looks.
    """
    kubernetes = pod.kubernetes
    looks = kubernetes.resource_availability_check_max_attempts + 1
    if looks == 1:
        return
    wanted = [("serviceaccounts", kubernetes.service_account)] if kubernetes.service_account else []
    wanted += [("secrets", name) for name in dict.fromkeys(kubernetes.image_pull_secrets)]
    for resource, name in wanted:
        if not await _appears(client, pod, resource, name, pauses=(CHECK_INTERVAL,) * (looks - 1)):
            raise _absence(pod, resource, name)


async def until_namespace_is_ready(client: KubeClient, pod: PodRequest) -> None:
    """Wait until a new namespace has its default service account; pods are refused before.

    Who may not look goes on: the API server will say what is missing. Raises KubeError.
    """
    try:
        await _appears(client, pod, "serviceaccounts", _DEFAULT_ACCOUNT, pauses=ACCOUNT_PAUSES)
    except ForbiddenError:
        return


async def _appears(client: KubeClient, pod: PodRequest, resource: str, name: str, *, pauses: tuple[float, ...]) -> bool:
    """Look for an object, and again after each pause, until it is there."""
    for pause in (*pauses, None):
        try:
            await client.read(resource, pod.pod_namespace, name)
        except NotFoundError:
            if pause is not None:
                await anyio.sleep(pause)
        else:
            return True
    return False


def _absence(pod: PodRequest, resource: str, name: str) -> JobError:
    """The original's words; the fault is the job's when it chose the account or the namespace itself."""
    kind = "ServiceAccount" if resource == "serviceaccounts" else "ImagePullSecret"
    message = f"Timed out while waiting for {kind}/{name} to be present in the cluster"
    chosen = [key for key in ("namespace", "service_account") if (key,) in pod.origins]
    if chosen:
        return JobConfigurationError(f"{message} (the job's variables overwrite {' and '.join(chosen)})")
    return RunnerSystemError(f"{message} (namespace {pod.pod_namespace})")
