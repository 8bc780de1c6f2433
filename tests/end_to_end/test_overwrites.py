"""What jobs overwrite by variables, seen in their pods; and what is refused before there is one."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer
from runner.testing.payloads import image

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
TOKEN = "embedded.token"


@asynccontextmanager
async def opened(cluster: Cluster, **kubernetes: Any) -> AsyncIterator[tuple[Harness, str]]:
    """A harness, and the name of a second namespace beside the runner's own."""
    second = f"team-{uuid.uuid4().hex[:8]}"
    if cluster.is_real:
        await kubectl(cluster, "create", "namespace", second)
        try:
            await kubectl(
                cluster, "-n", second, "wait", "--for=create", "serviceaccount/default", "--timeout=30s", timeout=40
            )
            async with cluster.harness(kubernetes=kubernetes, keep_alive_interval=0.5) as h:
                yield h, second
        finally:
            with anyio.CancelScope(shield=True):
                await kubectl(cluster, "delete", "namespace", second, "--wait=false")
        return
    server = KubernetesServer(kubelet=ProcessKubelet(), namespaces=(second,), token=TOKEN)
    async with server, cluster.harness(cluster=server, kubernetes=kubernetes, keep_alive_interval=0.5) as h:
        yield h, second


async def kubectl(cluster: Cluster, *arguments: str, **options: Any) -> str:
    """Run kubectl beside the loop."""
    return await anyio.to_thread.run_sync(partial(cluster.kubectl, *arguments, **options))


async def running_pod(cluster: Cluster, h: Harness, namespace: str, **job: Any) -> tuple[JobRecord, dict[str, Any]]:
    """Start a job that runs until it is canceled; its pod as the API server has it."""
    record = h.queue(script=["echo ready-now", "sleep 300"], **job)
    await record.wait(lambda seen: "ready-now" in seen.text.splitlines() or seen.finished, timeout=60)
    assert not record.finished, record.text
    if h.cluster:
        pods = list(h.cluster.manifests("pods", namespace))
    else:
        labels = f"job.runner.gitlab.com/id={record.id}"
        pods = json.loads(await kubectl(cluster, "-n", namespace, "get", "pods", "-l", labels, "-o", "json"))["items"]
    (pod,) = (each for each in pods if "deletionTimestamp" not in each["metadata"])
    return record, pod


async def ended(cluster: Cluster, h: Harness, namespace: str, job: JobRecord) -> None:
    """Cancel a job, and wait until nothing of it is left in its namespace."""
    job.cancel(force=True)
    if h.cluster:
        await h.wait_until_empty()
        return
    await h.manager.wait_until_idle()
    left = ("wait", "--for=delete", "pods,secrets", "-l", "job.runner.gitlab.com/id", "--timeout=60s")
    await kubectl(cluster, "-n", namespace, *left, timeout=70)


def container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """One container of a pod."""
    (found,) = (each for each in pod["spec"]["containers"] if each["name"] == name)
    return dict(found)


def refused(h: Harness, job: JobRecord, *words: str) -> None:
    """The job failed for its configuration, with these words, and nothing was made for it."""
    assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
    for text in words:
        assert text in job.text, job.text
    assert [asked for asked in h.kube_requests if asked[0] == "create"] == []


# What is taken -----------------------------------------------------------------------------------------------------


async def test_a_job_runs_in_the_namespace_it_chose(cluster: Cluster) -> None:
    """The pod, its Secrets and what watches it are there, nothing stays, and the next job is at home again."""
    async with opened(cluster, namespace_overwrite_allowed="^team-[a-z0-9]+$") as (h, second):
        variables = {**NO_SOURCES, "TEAM": second, "KUBERNETES_NAMESPACE_OVERWRITE": "$TEAM"}
        job, pod = await running_pod(cluster, h, second, variables=variables)
        assert pod["metadata"]["namespace"] == second
        assert f'"Namespace" overwritten with "{second}"' in job.text.splitlines()
        assert f"Using Kubernetes namespace: {second}" in job.text.splitlines()
        await ended(cluster, h, second, job)
        after = await h.run(script=["echo at home"], variables=NO_SOURCES)
        assert after.state == "success", after.text
        assert f"Using Kubernetes namespace: {cluster.namespace}" in after.text.splitlines()


async def test_amounts_labels_and_places_of_a_job_are_in_its_pod(cluster: Cluster) -> None:
    """What the guards let pass replaces what is configured; the rest of the tables stays."""
    kubernetes = {
        "cpu_limit": "1",
        "memory_request": "32Mi",
        "service_cpu_request": "50m",
        "pod_labels": {"team": "nobody", "kept": "yes"},
        "cpu_limit_overwrite_max_allowed": "2",
        "memory_limit_overwrite_max_allowed": "1Gi",
        "helper_memory_request_overwrite_max_allowed": "1Gi",
        "service_memory_limit_overwrite_max_allowed": "1Gi",
        "pod_labels_overwrite_allowed": "^team=",
        "pod_annotations_overwrite_allowed": ".",
        "node_selector_overwrite_allowed": "^kubernetes.io/",
        "node_tolerations_overwrite_allowed": "^ci",
        "service_account_overwrite_allowed": "^default$",
    }
    variables = {
        **NO_SOURCES,
        "KUBERNETES_CPU_LIMIT": "1500m",
        "KUBERNETES_MEMORY_LIMIT": "256Mi",
        "KUBERNETES_HELPER_MEMORY_REQUEST": "48Mi",
        "KUBERNETES_SERVICE_MEMORY_LIMIT": "128Mi",
        "KUBERNETES_POD_LABELS_1": "team=checkout",
        "KUBERNETES_POD_ANNOTATIONS_1": "example.com/note=$CI_JOB_NAME = here",
        "KUBERNETES_NODE_SELECTOR_OS": "kubernetes.io/os=linux",
        "KUBERNETES_NODE_TOLERATIONS_1": "ci=true:NoSchedule",
        "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "default",
    }
    own = [{"key": "KUBERNETES_SERVICE_MEMORY_LIMIT", "value": "64Mi", "public": True}]
    services = [
        image(cluster.busybox_image, alias=name, entrypoint=["sh", "-c"], command=["sleep 300"], variables=environment)
        for name, environment in (("common", []), ("own", own))
    ]
    async with opened(cluster, **kubernetes) as (h, _):
        job, pod = await running_pod(cluster, h, cluster.namespace, variables=variables, services=services)
        assert container(pod, "build")["resources"] == {
            "limits": {"cpu": "1500m", "memory": "256Mi"},
            "requests": {**defaulted(cluster, cpu="1500m"), "memory": "32Mi"},
        }
        assert container(pod, "helper")["resources"] == {"requests": {"memory": "48Mi"}}
        assert [container(pod, name)["resources"]["limits"] for name in ("common", "own")] == [
            {"memory": "128Mi"},
            {"memory": "64Mi"},
        ]
        assert container(pod, "own")["resources"]["requests"]["cpu"] == "50m"
        assert {key: pod["metadata"]["labels"][key] for key in ("team", "kept")} == {"team": "checkout", "kept": "yes"}
        assert pod["metadata"]["annotations"]["example.com/note"].endswith(" = here")
        assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
        assert {"key": "ci", "operator": "Equal", "value": "true", "effect": "NoSchedule"} in pod["spec"]["tolerations"]
        assert pod["spec"]["serviceAccountName"] == "default"
        lines = job.text.splitlines()
        assert '"CPULimit" overwritten with "1500m"' in lines
        assert '"NodeTolerations" overwritten with "ci=true:NoSchedule"' in lines
        assert 'Service "own": "ServiceMemoryLimit" overwritten with "64Mi"' in lines
        await ended(cluster, h, cluster.namespace, job)


def defaulted(cluster: Cluster, **limits: str) -> dict[str, str]:
    """Requests that a real API server takes from the limits."""
    return limits if cluster.is_real else {}


async def test_TestPrepareIssue2583(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """What one job overwrites is not there for the next one of the same runner."""
    async with opened(cluster, pod_labels_overwrite_allowed=".") as (h, _):
        job, pod = await running_pod(
            cluster, h, cluster.namespace, variables={**NO_SOURCES, "KUBERNETES_POD_LABELS_1": "mine=yes"}
        )
        assert pod["metadata"]["labels"]["mine"] == "yes"
        await ended(cluster, h, cluster.namespace, job)
        job, pod = await running_pod(cluster, h, cluster.namespace, variables=NO_SOURCES)
        assert "mine" not in pod["metadata"]["labels"]
        await ended(cluster, h, cluster.namespace, job)


@pytest.mark.only_on("real")
async def test_testKubernetesOptionsUserAndGroup(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """`image:kubernetes:user` is whom the script runs as; the helper stays who it is."""
    async with cluster.harness(kubernetes={"allowed_users": ["1000"]}) as h:
        job = await h.run(
            script=["id -u", "id -g"],
            image=image(cluster.busybox_image, executor_opts={"kubernetes": {"user": "1000:1001"}}),
            variables=NO_SOURCES,
        )
        assert job.state == "success", job.text
        assert "$ id -u\n1000\n$ id -g\n1001\n" in job.text


@pytest.mark.only_on("real")
async def test_TestKubernetesUserAndGroupConstraints(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """A user that is not allowed is a warning, and the job runs as the image's own."""
    async with cluster.harness(kubernetes={"allowed_users": ["2000"]}) as h:
        job = await h.run(
            script=["id -u"],
            image=image(cluster.busybox_image, executor_opts={"kubernetes": {"user": "1000"}}),
            variables=NO_SOURCES,
        )
        assert job.state == "success", job.text
        assert "$ id -u\n0\n" in job.text
        assert "WARNING: Error parsing 'uid' from image options" in job.text
        assert "1000 is not in the list of allowed ones" in job.text


# What is refused ---------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "testOverwriteNamespaceNotMatch": (
        {"namespace_overwrite_allowed": "^team-"},
        {"variables": {"KUBERNETES_NAMESPACE_OVERWRITE": "production"}},
        'couldn\'t prepare overwrites: provided value "production" does not match "^team-"',
    ),
    "testOverwriteServiceAccountNotMatch": (
        {"service_account_overwrite_allowed": "^ci-"},
        {"variables": {"KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "admin"}},
        'couldn\'t prepare overwrites: provided value "admin" does not match "^ci-"',
    ),
    "cpu_limit": (
        {"cpu_limit_overwrite_max_allowed": "1"},
        {"variables": {"KUBERNETES_CPU_LIMIT": "1001m"}},
        'invalid build limits specified: the resource "CPULimit" requested "1001m" is higher than limit allowed "1"',
    ),
    "labels": (
        {"pod_labels_overwrite_allowed": "^team="},
        {"variables": {"KUBERNETES_POD_LABELS_1": "owner=me"}},
        'provided value "owner=me" does not match "^team="',
    ),
    "annotations": (
        {"pod_annotations_overwrite_allowed": "."},
        {"variables": {"KUBERNETES_POD_ANNOTATIONS_1": "alone"}},
        'provided value "alone" does not match "k=v"',
    ),
    "node_selector": (
        {"node_selector_overwrite_allowed": "^disk="},
        {"variables": {"KUBERNETES_NODE_SELECTOR_1": "kubernetes.io/hostname=node"}},
        'does not match "^disk="',
    ),
    "tolerations": (
        {"node_tolerations_overwrite_allowed": "^ci"},
        {"variables": {"KUBERNETES_NODE_TOLERATIONS_1": ""}},
        'provided value "" does not match "^ci"',
    ),
    "service": (
        {"service_cpu_limit_overwrite_max_allowed": "1"},
        {"services": [image("redis:7", variables=[{"key": "KUBERNETES_SERVICE_CPU_LIMIT", "value": "2"}])]},
        "couldn't prepare explicit service overwrites: invalid service limits specified",
    ),
    "TestKubernetesAllowedImages": (
        {"allowed_images": ["ruby:*", "python:*"]},
        {"image": "php:8"},
        'disallowed image: the "php:8" image is not present on list of allowed images: ruby:*, python:*.',
    ),
    "TestKubernetesAllowedServices": (
        {"allowed_services": ["postgres:*"]},
        {"services": [image("redis:7", alias="postgres")]},
        'disallowed image: the "redis:7" image is not present on list of allowed services: postgres:*.',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_job_is_refused_before_anything_is_made(cluster: Cluster, name: str) -> None:
    """Out of bounds: this job fails, for its configuration, and the next one of the runner does not."""
    kubernetes, asked, words = REFUSED[name]
    async with cluster.harness(kubernetes={**kubernetes, "image": cluster.busybox_image}) as h:
        variables = {**NO_SOURCES, **asked.get("variables", {})}
        refused(h, await h.run(**{"script": ["true"], **asked, "variables": variables}), words)
        after = await h.run(script=["true"], image=cluster.busybox_image, variables=NO_SOURCES)
        assert after.state == "success", after.text


async def test_a_namespace_that_is_not_there_is_the_jobs_mistake(cluster: Cluster) -> None:
    """The sentence names the variable, or the key where nobody overwrote it."""
    async with cluster.harness(kubernetes={"namespace_overwrite_allowed": "."}) as h:
        variables = {**NO_SOURCES, "KUBERNETES_NAMESPACE_OVERWRITE": "nowhere-at-all"}
        job = await h.run(script=["true"], variables=variables)
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
        assert 'namespaces "nowhere-at-all" not found' in job.text
        assert "(the job's variables overwrite namespace by KUBERNETES_NAMESPACE_OVERWRITE)" in job.text
    async with cluster.harness(kubernetes={"namespace": "nowhere-at-all"}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
        assert '(`namespace` in [runners.kubernetes] is "nowhere-at-all")' in job.text


@pytest.mark.only_on("embedded")
async def test_a_forbidden_namespace_is_the_jobs_mistake(cluster: Cluster) -> None:
    """The runner may not make pods where the job wants to go; at home the same is the operator's to mend."""
    async with opened(cluster, namespace_overwrite_allowed=".") as (h, second):
        assert h.cluster is not None
        h.cluster.forbid("create", "pods")
        variables = {**NO_SOURCES, "KUBERNETES_NAMESPACE_OVERWRITE": second}
        job = await h.run(script=["true"], variables=variables)
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
        assert "overwrite namespace by KUBERNETES_NAMESPACE_OVERWRITE" in job.text
        job = await h.run(script=["true"], variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text


# A token of the job's own ------------------------------------------------------------------------------------------


async def token_of(cluster: Cluster, namespace: str, *, rights: bool) -> str:
    """A token that the API server knows, with rights in the namespace or with none."""
    if not cluster.is_real:
        return TOKEN if rights else "unknown.token"
    name = "jobs" if rights else "nobody"
    await kubectl(cluster, "-n", namespace, "create", "serviceaccount", name)
    if rights:
        role = ("create", "rolebinding", name, "--clusterrole=admin", f"--serviceaccount={namespace}:{name}")
        await kubectl(cluster, "-n", namespace, *role)
    return (await kubectl(cluster, "-n", namespace, "create", "token", name)).strip()


async def test_a_job_asks_with_its_own_token(cluster: Cluster) -> None:
    """Its rights count, not the runner's: it runs where it may, also with no word about the token in the log."""
    async with opened(cluster, bearer_token_overwrite_allowed=True, namespace_overwrite_allowed="^team-") as (
        h,
        second,
    ):
        token = await token_of(cluster, second, rights=True)
        variables = {**NO_SOURCES, "KUBERNETES_BEARER_TOKEN": token, "KUBERNETES_NAMESPACE_OVERWRITE": second}
        job, pod = await running_pod(cluster, h, second, variables=variables)
        assert pod["metadata"]["namespace"] == second
        assert '"BearerToken" overwritten with "XXXXXXXX..."' in job.text.splitlines()
        assert token not in job.text
        await ended(cluster, h, second, job)


async def test_a_token_without_rights_is_the_jobs_mistake(cluster: Cluster) -> None:
    """The runner's stronger credentials do not stand in for it."""
    async with opened(cluster, bearer_token_overwrite_allowed=True) as (h, second):
        token = await token_of(cluster, second, rights=False)
        job = await h.run(script=["true"], variables={**NO_SOURCES, "KUBERNETES_BEARER_TOKEN": token})
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
        assert "overwrite bearer_token by KUBERNETES_BEARER_TOKEN" in job.text
        assert token not in job.text
        after = await h.run(script=["true"], variables=NO_SOURCES)
        assert after.state == "success", after.text
