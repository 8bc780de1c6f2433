"""Registry credentials end to end: the Secret, its owner, and where the passwords never are."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runner.testing.kubelets import Fate, Rule, Script, ScriptedKubelet
from runner.testing.payloads import variable

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

PASSWORD = "s3cret-registry-password"
AUTHS = {"auths": {"registry.example.com": {"auth": base64.b64encode(f"robot:{PASSWORD}".encode()).decode()}}}
PUBLIC = [variable("GIT_STRATEGY", "none"), variable("DOCKER_AUTH_CONFIG", json.dumps(AUTHS), public=True)]
REGISTRY = "kubernetes.io/dockercfg"


async def objects(cluster: Cluster, h: Harness, job: JobRecord, kind: str) -> list[dict[str, Any]]:
    """The objects of a job."""
    selector = f"job.runner.gitlab.com/id={job.id}"
    if h.cluster:
        return list(h.cluster.manifests(kind, labels=selector))
    found = await anyio.to_thread.run_sync(lambda: cluster.kubectl("get", kind, "-l", selector, "-o", "json"))
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return [item for item in items if "deletionTimestamp" not in item["metadata"]]


def logins(secret: dict[str, Any]) -> dict[str, str]:
    """Servers and passwords in a Secret."""
    content = json.loads(base64.b64decode(secret["data"][".dockercfg"]))
    return {server: entry["password"] for server, entry in content.items()}


async def test_the_secret_has_its_owner_and_goes_with_it(cluster: Cluster) -> None:
    """One Secret of the job's and the variable's logins, named in the pod and owned by it; nothing of it is told."""
    async with cluster.harness(kubernetes={"image_pull_secrets": ["configured"]}, keep_alive_interval=0.5) as h:
        job = h.queue(script=["echo begun", "sleep 100"], variables=PUBLIC)
        await job.wait(lambda record: "begun" in record.text.splitlines(), timeout=60)
        (pod,) = await objects(cluster, h, job, "pods")
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        # One of an earlier test with the same job id may still wait for the garbage collector.
        secrets = [each for each in await objects(cluster, h, job, "secrets") if each["type"] == REGISTRY]
        (secret,) = (each for each in secrets if each["metadata"]["ownerReferences"] == [owner])
        assert pod["spec"]["imagePullSecrets"] == [{"name": "configured"}, {"name": secret["metadata"]["name"]}]
        assert logins(secret) == {"registry.example.com": PASSWORD}
        shown = json.dumps(pod)
        assert PASSWORD not in shown
        assert AUTHS["auths"]["registry.example.com"]["auth"] not in shown
        job.cancel(force=True)
        await job.wait_finished(timeout=30)
        assert PASSWORD not in job.text
        if h.cluster:
            await h.wait_until_empty()
        else:
            wait = ("wait", "--for=delete", "secret", secret["metadata"]["name"], "--timeout=60s")
            await anyio.to_thread.run_sync(lambda: cluster.kubectl(*wait, timeout=70))


async def test_scripts_still_get_the_variable(cluster: Cluster) -> None:
    """What never stands in the pod is in the environment of the job's script, as for any tool that pushes images."""
    async with cluster.harness() as h:
        script = ['test "${#DOCKER_AUTH_CONFIG}" -gt 50 && echo "it is there"']
        job = await h.run(script=script, variables=PUBLIC)
        assert "\nit is there\n" in job.text, job.text


@pytest.mark.only_on("embedded")
async def test_the_service_accounts_own_secrets(cluster: Cluster) -> None:
    """With use_service_account_image_pull_secrets the pod names none, and none is made."""
    kubernetes = {"image_pull_secrets": ["configured"], "use_service_account_image_pull_secrets": True}
    kubelet = ScriptedKubelet()
    async with cluster.harness(kubelet=kubelet, kubernetes=kubernetes) as h:
        job = await h.run(variables=PUBLIC)
        assert job.state == "success", job.text
        (pod,) = kubelet.pods
        assert "imagePullSecrets" not in pod.manifest["spec"]
        assert h.kube_requests["create", "secrets"] == 1  # the job's record
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_a_broken_variable_is_a_warning(cluster: Cluster) -> None:
    """The job goes on with GitLab's own credentials."""
    broken = [variable("GIT_STRATEGY", "none"), variable("DOCKER_AUTH_CONFIG", f"{{{PASSWORD}")]
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        job = await h.run(variables=broken)
        assert job.state == "success", job.text
        assert "WARNING: The registry credentials of DOCKER_AUTH_CONFIG are left out: it is no JSON." in job.text
        assert PASSWORD not in job.text


@pytest.mark.only_on("embedded")
async def test_a_helper_outside_of_the_path_ends_the_job(cluster: Cluster) -> None:
    """Before anything is created, and without its name in the log."""
    config = json.dumps({"credHelpers": {"registry.example.com": "../../tmp/evil"}})
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        job = await h.run(variables=[variable("DOCKER_AUTH_CONFIG", config)])
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error")
        assert "a credential helper's name has a path separator" in job.text
        assert "evil" not in job.text
        assert h.cluster is not None
        assert h.cluster.objects() == ()


@pytest.mark.only_on("embedded")
async def test_each_pod_of_a_fallback_has_a_secret_of_its_own(cluster: Cluster) -> None:
    """The first pod takes its Secret along; the next one finds another."""
    kubelet = ScriptedKubelet(scale=0.01)
    running = anyio.Event()
    kubelet.rule(Rule(Fate.image_pull_failure(), times=1))
    kubelet.queue(Fate(stages={"step_script": Script(until=running)}))
    async with cluster.harness(kubelet=kubelet, kubernetes={"pull_policy": ["always", "always"]}) as h:
        job = h.queue(variables=PUBLIC)
        first, second = await kubelet.wait_pods(2)
        await second.wait_started("step_script-1")
        (secret,) = (each for each in await objects(cluster, h, job, "secrets") if each["type"] == REGISTRY)
        names = [pod.manifest["spec"]["imagePullSecrets"][0]["name"] for pod in (first, second)]
        assert secret["metadata"]["name"] == names[1] != names[0]
        running.set()
        await job.wait_finished(timeout=30)
        assert job.state == "success", job.text
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_a_job_that_dies_before_its_pod_leaves_no_secret(cluster: Cluster) -> None:
    """As TestCleanup has it: a Secret without a pod is removed by its name."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        assert h.cluster is not None
        h.cluster.forbid("create", "pods")
        job = await h.run(variables=PUBLIC)
        assert job.state == "failed"
        assert h.kube_requests["create", "secrets"] == 1
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_the_managers_own_files_are_read_at_its_home(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness has no home, so a developer's own passwords never get into a test's pod."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps(AUTHS))
    monkeypatch.setenv("HOME", str(tmp_path))
    kubelet = ScriptedKubelet()
    held = anyio.Event()
    kubelet.queue(Fate(stages={"step_script": Script(until=held)}))
    async with cluster.harness(kubelet=kubelet) as h:
        job = h.queue(variables={"GIT_STRATEGY": "none"})
        (pod,) = await kubelet.wait_pods()
        await pod.wait_started("step_script-1")
        (secret,) = (each for each in await objects(cluster, h, job, "secrets") if each["type"] == REGISTRY)
        # What GitLab itself gives a job.
        assert list(logins(secret)) == ["registry.example.com"]
        assert logins(secret)["registry.example.com"] != PASSWORD
        held.set()
        await job.wait_finished(timeout=30)
