"""What a job makes besides its pod, end to end: it is there while the job runs, and gone after it however it ends."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import anyio
import orjson
import pytest

from runner.testing.faults import FaultRule, Hold, Reply
from runner.testing.kubelets import Fate, Script, ScriptedKubelet, Waiting
from runner.testing.payloads import image

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
POD_NAME = "job.runner.gitlab.com/pod-name"


def own_id() -> int:
    """A job id that no other run on the same cluster has."""
    return random.randrange(10**6, 10**9)


async def listed(cluster: Cluster, h: Harness, kind: str, job: JobRecord, namespace: str = "") -> list[dict[str, Any]]:
    """The objects of a job in a namespace, the tests' own by default."""
    selector = f"job.runner.gitlab.com/id={job.id}"
    if h.cluster:
        plural = {"pdb": "poddisruptionbudgets"}.get(kind, kind)
        return list(h.cluster.manifests(plural, namespace, labels=selector))
    where = ("-n", namespace) if namespace else ()
    found = await anyio.to_thread.run_sync(lambda: cluster.kubectl("get", kind, "-l", selector, "-o", "json", *where))
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return items


async def until_gone(cluster: Cluster, h: Harness, *what: str) -> None:
    """Wait until nothing of a job is left; on a real cluster: until these objects are gone."""
    if h.cluster:
        await h.wait_until_empty()
        return
    await h.manager.wait_until_idle()
    await anyio.to_thread.run_sync(lambda: cluster.kubectl("wait", "--for=delete", *what, "--timeout=90s", timeout=100))


async def begun(job: JobRecord) -> None:
    """Wait until the job's script runs."""
    await job.wait(lambda record: "begun" in record.text.splitlines(), timeout=60)


# A namespace for each job ------------------------------------------------------------------------------------------


async def test_a_namespace_for_each_job(cluster: Cluster) -> None:
    """As testKubernetesNamespaceIsolation: the pod runs in `ci-job-<id>`, which goes with the job."""
    async with cluster.harness(kubernetes={"namespace_per_job": True}) as h:
        number = own_id()
        job = h.queue(id=number, script=["echo begun", "sleep 2"], variables=NO_SOURCES)
        await begun(job)
        (pod,) = await listed(cluster, h, "pods", job, f"ci-job-{number}")
        (namespace,) = await listed(cluster, h, "namespaces", job)
        assert namespace["metadata"]["name"] == pod["metadata"]["namespace"] == f"ci-job-{number}"
        assert "job.runner.gitlab.com/expires-at" in namespace["metadata"]["annotations"]
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        assert f"Using Kubernetes namespace: ci-job-{number}" in job.text
        await until_gone(cluster, h, f"namespace/ci-job-{number}")


async def test_a_namespace_outlives_a_pod_whose_image_is_missing(cluster: Cluster) -> None:
    """Unlike in the original, which removes it between two tries and cannot make it again at once."""
    kubernetes = {"namespace_per_job": True, "pull_policy": ["if-not-present", "if-not-present"]}
    async with cluster.harness(kubernetes=kubernetes) as h:
        number = own_id()
        job = await h.run(id=number, image="localhost/nowhere/missing:1", script=["true"], variables=NO_SOURCES)
        assert "Attempt #2" in job.text, job.text
        assert job.failure_reason != "runner_system_failure", job.text
        assert h.kube_requests["create", "namespaces"] == 1
        assert h.kube_requests["create", "pods"] == 2
        await until_gone(cluster, h, f"namespace/ci-job-{number}")


async def test_a_namespace_goes_when_the_job_is_canceled_before_its_pod_runs(cluster: Cluster) -> None:
    """The pod that no node takes, and all around it."""
    kubernetes = {"namespace_per_job": True, "node_selector": {"no-node": "has-this"}}
    kubelet = ScriptedKubelet(Fate.unschedulable())
    async with cluster.harness(kubelet=kubelet, kubernetes=kubernetes, keep_alive_interval=0.2) as h:
        number = own_id()
        job = h.queue(id=number, script=["true"], variables=NO_SOURCES)
        await job.wait(lambda record: "Waiting for pod" in record.text, timeout=60)
        job.cancel()
        await job.wait_finished(timeout=30)
        await until_gone(cluster, h, f"namespace/ci-job-{number}")


@pytest.mark.only_on("embedded")
async def test_a_namespace_goes_when_the_manager_ends(cluster: Cluster) -> None:
    """The harness ends its manager while the pod is being made."""
    held = Hold(after_effect=True)
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes={"namespace_per_job": True}) as h:
        assert h.cluster is not None
        h.cluster.faults.add(FaultRule("POST", "/pods$", held))
        h.queue(script=["true"], variables=NO_SOURCES)
        await held.reached()
        h.manager.abort()
        held.release()
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_a_namespace_that_is_there_already_is_anothers(cluster: Cluster) -> None:
    """It is neither used nor removed, and the job's log says why it cannot run."""
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes={"namespace_per_job": True}) as h:
        assert h.cluster is not None
        h.cluster.create("namespaces", {"metadata": {"name": "ci-job-7"}})
        job = await h.run(id=7, script=["true"], variables=NO_SOURCES)
        assert job.state == "failed"
        assert 'namespaces "ci-job-7" already exists' in job.text
        assert h.cluster.objects() == ("namespaces/ci-job-7",)


@pytest.mark.only_on("embedded")
async def test_the_watch_of_a_jobs_own_namespace_ends_with_the_job(cluster: Cluster) -> None:
    """A hundred jobs must not leave a hundred watches."""
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes={"namespace_per_job": True}) as h:
        assert h.cluster is not None
        for _ in range(3):
            job = await h.run(script=["true"], variables=NO_SOURCES)
            assert job.state == "success", job.text
            await h.wait_until_empty()
        assert h.cluster.cut_streams() == 0


# Disruption budget and Services ------------------------------------------------------------------------------------


async def test_a_budget_and_services_vanish_with_the_pod(cluster: Cluster) -> None:
    """Each names the pod as its owner and selects it alone; nobody deletes them."""
    async with cluster.harness(kubernetes={"pod_disruption_budget": True}) as h:
        web = image(cluster.busybox_image, alias="web", ports=[{"number": 8080, "protocol": "http", "name": "http"}])
        job = h.queue(id=own_id(), script=["echo begun", "sleep 2"], services=[web], variables=NO_SOURCES)
        await begun(job)
        (pod,) = await listed(cluster, h, "pods", job)
        (budget,) = await listed(cluster, h, "pdb", job)
        (service,) = await listed(cluster, h, "services", job)
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        assert budget["metadata"]["name"] == f"{name}-pdb"
        for each in (budget, service):
            owners = each["metadata"]["ownerReferences"]
            assert owners == [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]
        assert budget["spec"]["selector"] == {"matchLabels": {POD_NAME: pod["metadata"]["labels"][POD_NAME]}}
        assert service["spec"]["selector"] == {POD_NAME: pod["metadata"]["labels"][POD_NAME]}
        assert [port["name"] for port in service["spec"]["ports"]] == ["web-8080"]
        if h.cluster:
            h.cluster.forbid("delete", "services")
            h.cluster.forbid("delete", "poddisruptionbudgets")
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        await until_gone(cluster, h, f"service/{service['metadata']['name']}", f"pdb/{name}-pdb")


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("kind", ["poddisruptionbudgets", "services"])
async def test_a_budget_or_service_that_cannot_be_made_fails_the_job(cluster: Cluster, kind: str) -> None:
    """With the right that is missing; the pod goes, and its Secrets with it."""
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes={"pod_disruption_budget": True}) as h:
        assert h.cluster is not None
        h.cluster.forbid("create", kind)
        web = image("nginx", alias="web", ports=[{"number": 80, "protocol": "http", "name": "http"}])
        job = await h.run(services=[web], variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure")
        assert f'cannot create resource "{kind}"' in job.text
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_an_owner_that_cannot_be_named_fails_the_job(cluster: Cluster) -> None:
    """As `failure to set it fails the job`: the Secret without an owner is removed by its name."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        assert h.cluster is not None
        h.cluster.forbid("patch", "secrets")
        job = await h.run(variables=NO_SOURCES)
        assert job.state == "failed"
        assert 'cannot patch resource "secrets"' in job.text
        await h.wait_until_empty()


# Retries and availability ------------------------------------------------------------------------------------------


@pytest.mark.only_on("embedded")
async def test_a_quota_that_is_waited_for_by_the_operators_words(cluster: Cluster) -> None:
    """`retry_limits` names the words: the request is repeated in silence; without them the job waits and says so."""
    refused = {
        "kind": "Status",
        "code": 403,
        "reason": "Forbidden",
        "message": 'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5',
    }
    for limits, parked in (({}, True), ({"exceeded quota": 3}, False)):
        async with cluster.harness(
            kubelet=ScriptedKubelet(), kubernetes={"retry_limits": limits, "retry_backoff_max": 500}
        ) as h:
            assert h.cluster is not None
            h.cluster.faults.add(FaultRule("POST", "/pods$", Reply(403, body=orjson.dumps(refused)), times=2))
            job = await h.run(variables=NO_SOURCES)
            assert job.state == "success", job.text
            assert ("the job waits for room, for at most 180 s" in job.text) is parked


@pytest.mark.only_on("real")
async def test_a_real_quota_that_is_waited_for(cluster: Cluster) -> None:
    """The job waits until the quota has room."""
    namespace = f"runner-quota-{own_id()}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        cluster.kubectl("create", "quota", "small", "--hard=pods=0", "-n", namespace)
        kubernetes = {"namespace": namespace, "retry_limits": {"exceeded quota": 1000}, "retry_backoff_max": 500}
        async with cluster.harness(kubernetes=kubernetes) as h:
            job = h.queue(script=["echo there is room"], variables=NO_SOURCES)
            with anyio.fail_after(60):
                while h.kube_requests["create", "pods"] < 2:
                    await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(lambda: cluster.kubectl("delete", "quota", "small", "-n", namespace))
            await job.wait_finished(timeout=60)
            assert job.state == "success", job.text
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


async def test_what_the_check_finds_is_used(cluster: Cluster) -> None:
    """With the check on, service account and registry secret are looked for before the pod."""
    kubernetes = {"resource_availability_check_max_attempts": 1, "service_account": "default"}
    async with cluster.harness(kubernetes=kubernetes) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
        assert job.state == "success", job.text
        assert h.kube_requests["get", "serviceaccounts"] == 1


# Events ------------------------------------------------------------------------------------------------------------


async def test_testKubernetesPodEvents(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """FF_PRINT_POD_EVENTS prints a table of all that happens to the pod, in place of the lines of waiting."""
    variables = {**NO_SOURCES, "FF_PRINT_POD_EVENTS": "true"}
    async with cluster.harness() as h:
        job = await h.run(script=["sleep 1"], variables=variables)
        assert job.state == "success", job.text
        lines = [line.split() for line in job.text.splitlines()]
        head = lines.index(["Type", "Reason", "Message"])
        assert lines[head + 1][:2] == ["Normal", "Scheduled"], job.text
        reasons = {line[1] for line in lines[head:] if line[:1] == ["Normal"]}
        assert reasons >= (
            {"Scheduled", "Pulled", "Created", "Started"} if cluster.is_real else {"Scheduled", "Started"}
        )
        assert "Waiting for pod" not in job.text


@pytest.mark.only_on("embedded")
async def test_events_that_may_not_be_watched_are_a_warning(cluster: Cluster) -> None:
    """The job runs the same."""
    held = anyio.Event()
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(until=held)}))
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        h.cluster.forbid("watch", "events")
        job = h.queue(variables={**NO_SOURCES, "FF_PRINT_POD_EVENTS": "true"})
        await job.wait(lambda record: "WARNING: The pod's events cannot be shown" in record.text)
        held.set()
        await job.wait_finished()
        assert job.state == "success", job.text


async def test_testKubernetesClusterWarningEvent(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """A bad image prints the cluster's warnings; the key turns them off."""
    for shown in (True, False):
        async with cluster.harness(kubernetes={"print_pod_warning_events": shown}) as h:
            job = await h.run(script=["true"], image="localhost/nowhere/missing:1", variables=NO_SOURCES)
            assert job.state == "failed"
            assert ("WARNING: Event retrieved from the cluster: " in job.text) is shown, job.text


@pytest.mark.only_on("embedded")
async def test_warnings_after_a_failed_script_are_told_once(cluster: Cluster) -> None:
    """What the cluster had to say about the pod stands behind the failure, after_script or not."""
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(exit_code=1), "after_script": Script(exit_code=1)}))
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        job = h.queue(script=["false"], after_script=["false"], variables=NO_SOURCES)
        (pod,) = await kubelet.wait_pods()
        about = {"kind": "Pod", "namespace": "default", "name": pod.name}
        event = {"type": "Warning", "reason": "Unhealthy", "message": "the probe failed", "count": 1}
        h.cluster.create("events", {"metadata": {"name": "probe"}, "involvedObject": about, **event})
        await job.wait_finished()
        assert job.text.count("WARNING: Event retrieved from the cluster: the probe failed") == 1, job.text


# Reaching the pod --------------------------------------------------------------------------------------------------


async def test_a_pod_that_is_waited_for_to_be_reachable(cluster: Cluster) -> None:
    """FF_WAIT_FOR_POD_TO_BE_REACHABLE asks for the helper's log until the node answers."""
    async with cluster.harness(kubernetes={"poll_interval": 1}) as h:
        if h.cluster:
            h.cluster.faults.add(FaultRule("GET", "/log$", Reply(500, body=b"tls: internal error"), times=1))
        job = await h.run(script=["true"], variables={**NO_SOURCES, "FF_WAIT_FOR_POD_TO_BE_REACHABLE": "true"})
        assert job.state == "success", job.text
        assert h.kube_requests["get", "pods/log"] == (1 if cluster.is_real else 2)


@pytest.mark.only_on("embedded")
async def test_a_pod_that_is_never_reachable(cluster: Cluster) -> None:
    """After `poll_timeout` the job fails with the node's own words, and nothing is left."""
    kubernetes = {"poll_interval": 1, "poll_timeout": 1}
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes=kubernetes) as h:
        assert h.cluster is not None
        h.cluster.faults.add(FaultRule("GET", "/log$", Reply(500, body=b"tls: internal error"), times=None))
        job = await h.run(variables={**NO_SOURCES, "FF_WAIT_FOR_POD_TO_BE_REACHABLE": "true"})
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure")
        assert "timed out waiting for pod to become attachable" in job.text
        assert "tls: internal error" in job.text
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_events_of_a_pod_that_waits_are_told_as_they_come(cluster: Cluster) -> None:
    """What keeps the pod is in the table before it runs."""
    pulled = anyio.Event()
    kubelet = ScriptedKubelet(Fate(before=(Waiting("ContainerCreating", "slow disk", until=pulled),)))
    async with cluster.harness(kubelet=kubelet) as h:
        job = h.queue(variables={**NO_SOURCES, "FF_PRINT_POD_EVENTS": "true"})
        await job.wait(lambda record: "slow disk" in record.text)
        pulled.set()
        await job.wait_finished()
        assert job.state == "success", job.text
