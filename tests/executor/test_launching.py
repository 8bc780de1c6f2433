"""The pods of one job until one runs, and their removal: upstream's TestCleanup, and what goes wrong between two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import orjson
import pytest
from structlog.testing import capture_logs

from runner.executor import launching, patience, resources
from runner.executor.cluster import Cluster
from runner.executor.launching import PodLaunch
from runner.executor.room import Room
from runner.job.outcome import ImagePullError, JobConfigurationError, JobError
from runner.kube.client import KubeClient
from runner.kube.errors import ConflictError, ForbiddenError, KubeError
from runner.kube.informer import PodInformer
from runner.podspec.pod import build_pod, own_containers
from runner.podspec.pull import pull_policies
from runner.podspec.secret import JobRecord
from runner.testing.faults import FaultRule, Hold, Reply
from runner.testing.kubelets import Fate, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from runner.testing.payloads import image
from tests.executor.parts import Sink, request_for_pod

CREDENTIALS = {"credentials": [{"type": "registry", "url": "r.example.com", "username": "u", "password": "p"}]}
PORTS = {"image": image("busybox", ports=[{"number": 80, "protocol": "http", "name": "web"}])}
Launching = Callable[..., AbstractAsyncContextManager[PodLaunch]]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.01,))
    monkeypatch.setattr(resources, "LATE_PAUSES", (0.01,))
    monkeypatch.setattr(launching, "GONE_TIMEOUT", 0.2)


@pytest.fixture
def launched(client: KubeClient, sink: Sink) -> Launching:
    """Open a launch, whose pod runs unless the body is told not to wait for it."""

    @asynccontextmanager
    async def launch(*, wait: bool = True, **request: Any) -> AsyncIterator[PodLaunch]:
        pod = request_for_pod(**request)

        async def connect() -> KubeClient:
            return client

        def make_informer(client: KubeClient, namespace: str, selector: str, poll_interval: float) -> PodInformer:
            return PodInformer(client, namespace, selector=selector, poll_interval=poll_interval)

        cluster = Cluster(connect, make_informer, home="default")
        record = JobRecord(payload=b"payload", plan=b"plan")
        policies = pull_policies(pod, own_containers(pod))
        room = Room(pod.config, cluster, default_pod=lambda: build_pod(pod))
        launch = PodLaunch(cluster, sink, pod, policies=policies, selector="", record=record, home="", room=room)
        async with anyio.create_task_group() as group:
            await group.start(cluster.serve)
            if wait:
                with anyio.fail_after(10):
                    await launch.until_running(group)
            yield launch
            group.cancel_scope.cancel()

    return launch


async def until_running(launch: PodLaunch) -> None:
    """Wait as a job does; what it raises comes plain."""
    trouble: Exception | None = None
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            try:
                await launch.until_running(group)
            except (KubeError, JobError) as error:
                trouble = error
    if trouble:
        raise trouble


def deletions(server: KubernetesServer) -> list[str]:
    """What was asked to be deleted, by kind."""
    return [entry.path.split("/")[-2] for entry in server.faults.seen("DELETE", "/")]


async def test_TestCleanup_proper_cleanup(server: KubernetesServer, launched: Launching) -> None:  # noqa: N802
    """One request for the pod; its Secrets, budget and Services are the garbage collector's."""
    async with launched(job={**CREDENTIALS, **PORTS}, pod_disruption_budget=True) as launch:
        kinds = {path.split("/")[0] for path in server.objects()}
        assert kinds == {"pods", "secrets", "poddisruptionbudgets", "services"}
        await launch.remove()
        await server.wait_until_gone()
        assert deletions(server) == ["pods"]


NO_ROOT = (
    "spec.containers[1].securityContext.runAsUser: Invalid value: 0: must be in the ranges: [1000640000, 1000649999]"
)


@pytest.mark.parametrize("refusals", [1, 2], ids=["of root", "of anybody"])
async def test_helper_is_who_the_cluster_says_when_it_may_not_be_root(
    server: KubernetesServer, launched: Launching, refusals: int
) -> None:
    """OpenShift gives its own users out: the pod is made once more without root, and no third time."""
    status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": f"pods is forbidden: {NO_ROOT}"}
    refused = Reply(403, headers={"Content-Type": "application/json"}, body=orjson.dumps(status))
    server.faults.add(FaultRule("POST", "/pods$", refused, times=refusals))
    async with launched(wait=False) as launch:
        if refusals == 2:
            with pytest.raises(ForbiddenError, match="runAsUser"):
                await until_running(launch)
        else:
            await until_running(launch)
            (pod,) = server.manifests("pods")
            assert [each["securityContext"].get("runAsUser") for each in pod["spec"]["containers"]] == [None, None]
    assert len(server.faults.seen("POST", "/pods$")) == 2


async def test_TestCleanup_delete_failure(server: KubernetesServer, launched: Launching) -> None:  # noqa: N802
    """What cannot be deleted is in the manager's log and changes nothing for the job."""
    async with launched() as launch:
        server.forbid("delete", "pods")
        with capture_logs() as logs:
            await launch.remove()
        assert [(entry["event"], entry["resource"]) for entry in logs if entry["log_level"] == "warning"] == [
            ("an object of a job is left in the cluster", "pods")
        ]


async def test_TestCleanup_already_deleted(server: KubernetesServer, launched: Launching) -> None:  # noqa: N802
    """A pod that somebody else deleted is no trouble; removing twice neither."""
    async with launched() as launch:
        server.delete("pods", launch.pod.names.pod, grace_seconds=0)
        await server.wait_until_gone()
        with capture_logs() as logs:
            await launch.remove()
            await launch.remove()
        assert [entry for entry in logs if entry["log_level"] == "warning"] == []


async def test_TestCleanup_secret_without_a_pod(server: KubernetesServer, launched: Launching) -> None:  # noqa: N802
    """A Secret whose pod was refused has no owner: it is deleted by its name."""
    server.forbid("create", "pods")
    async with launched(wait=False, job=CREDENTIALS) as launch:
        with pytest.raises(ForbiddenError):
            await until_running(launch)
        assert [path.split("/")[0] for path in server.objects()] == ["secrets"]
        await launch.remove()
        await server.wait_until_gone()
        assert deletions(server) == ["secrets"]


async def test_TestCleanup_services(server: KubernetesServer, launched: Launching) -> None:  # noqa: N802
    """Services are not asked to be deleted: they have their owner from the beginning."""
    async with launched(job=PORTS) as launch:
        (service,) = server.manifests("services")
        assert service["metadata"]["ownerReferences"][0]["name"] == launch.pod.names.pod
        await launch.remove()
        await server.wait_until_gone()
        assert deletions(server) == ["pods"]


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        pytest.param({}, 1, id="the agents leave at once"),
        pytest.param({"cleanup_grace_period_seconds": 0}, 0, id="immediate"),
        pytest.param({"cleanup_grace_period_seconds": 45}, 45, id="asked for"),
        pytest.param({"pod_termination_grace_period_seconds": 20}, 20, id="the pod's own"),
        pytest.param(
            {"pod_termination_grace_period_seconds": 20, "cleanup_grace_period_seconds": 5}, 5, id="cleanup first"
        ),
    ],
)
async def test_TestCleanup_grace_period(  # noqa: N802
    server: KubernetesServer, launched: Launching, keys: dict[str, int], seconds: int
) -> None:
    """The pod is deleted with the grace that the configuration names."""
    async with launched(**keys) as launch:
        await launch.remove()
        (request,) = server.faults.seen("DELETE", "/pods/")
        options = orjson.loads(request.body)
        assert (options["gracePeriodSeconds"], options["propagationPolicy"]) == (seconds, "Background")


async def test_remove_takes_a_pod_along_that_could_not_be_deleted_before(
    server: KubernetesServer, kubelet: ScriptedKubelet, launched: Launching
) -> None:
    """The first of two pods, whose deletion failed while the API server was in trouble, is not forgotten."""
    kubelet.queue(Fate.image_pull_failure())
    server.faults.add(FaultRule("DELETE", "/pods/", Reply(405)))
    async with launched(pull_policy=["always", "if-not-present"]) as launch:
        assert len(server.objects("pods")) == 2
        await launch.remove()
        await server.wait_until_gone()


async def test_remove_while_the_first_pod_is_cleared(
    server: KubernetesServer, kubelet: ScriptedKubelet, launched: Launching
) -> None:
    """A job that ends between two pods leaves neither."""
    kubelet.queue(Fate.image_pull_failure())
    held = Hold()
    server.faults.add(FaultRule("DELETE", "/pods/", held))
    async with launched(wait=False, pull_policy=["always", "if-not-present"]) as launch:
        async with anyio.create_task_group() as group:
            group.start_soon(until_running, launch)
            await held.reached()
            group.cancel_scope.cancel()
        held.release()
        await launch.remove()
        await server.wait_until_gone()


async def test_until_running_when_the_last_policy_fails(
    server: KubernetesServer, kubelet: ScriptedKubelet, launched: Launching, sink: Sink
) -> None:
    """The error is the pull's own; its reason follows from the registry's words."""
    kubelet.queue(Fate.image_pull_failure("no space left"), Fate.image_pull_failure("no space left"))
    async with launched(wait=False, pull_policy=["always", "if-not-present"]) as launch:
        with pytest.raises(ImagePullError, match=r'pulling image "alpine:3\.20" for container build: image'):
            await until_running(launch)
        assert len([text for kind, text in sink.notes if kind == "green"]) == 1
        await launch.remove()
        await server.wait_until_gone()


async def test_until_running_when_it_is_no_pull_that_failed(
    server: KubernetesServer, kubelet: ScriptedKubelet, launched: Launching
) -> None:
    """Another policy helps against a missing image alone."""
    kubelet.queue(Fate.configuration_error())
    async with launched(wait=False, pull_policy=["always", "if-not-present"]) as launch:
        with pytest.raises(JobConfigurationError):
            await until_running(launch)
        assert len(kubelet.pods) == 1
        await launch.remove()
        await server.wait_until_gone()


@pytest.mark.parametrize("isolated", [True, False])
async def test_SetupBuildNamespace_and_TeardownBuildNamespace(  # noqa: N802 -- upstream's names
    server: KubernetesServer, launched: Launching, isolated: bool
) -> None:
    """The namespace of the job is made before all else and removed after all else, or there is none."""
    async with launched(namespace_per_job=isolated) as launch:
        made = [path for path in server.objects() if path.startswith("namespaces/")]
        assert made == (["namespaces/ci-job-4711"] if isolated else [])
        first = next(entry.path for entry in server.faults.seen("POST", "/"))
        assert first.endswith("/namespaces") is isolated
        await launch.remove()
        await server.wait_until_gone()
        assert deletions(server) == (["pods", "namespaces"] if isolated else ["pods"])


async def test_namespace_of_a_stranger_is_left(server: KubernetesServer, launched: Launching) -> None:
    """One that is there already was not made for this job."""
    server.create("namespaces", {"metadata": {"name": "ci-job-4711"}})
    async with launched(wait=False, namespace_per_job=True) as launch:
        with pytest.raises(ConflictError):
            await until_running(launch)
        await launch.remove()
        assert server.objects() == ("namespaces/ci-job-4711",)
