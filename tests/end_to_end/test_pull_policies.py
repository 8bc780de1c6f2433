"""Pull policies end to end: what the job's log says of each try, and what is left in the cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runner.testing.kubelets import Fate, Rule, ScriptedKubelet
from runner.testing.payloads import image

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
MISSING = "localhost/nowhere/missing:1"
BOTH = ["always", "if-not-present"]
TWICE = {"pull_policy": BOTH}


def told(job: JobRecord) -> list[str]:
    """The lines of the log that are about pulling; what the registry or the cluster said is left out."""
    lines = [re.sub(r"(image pull failed:).*", r"\1 ...", line) for line in job.text.splitlines()]
    return [line for line in lines if re.search(r"pull policy|pull image .* with policy|Job failed", line)]


async def until_empty(cluster: Cluster, h: Harness) -> None:
    """Wait until nothing of a job is left."""
    if h.cluster:
        await h.wait_until_empty()
        return
    wait = ("wait", "--for=delete", "pods,secrets", "-l", "job.runner.gitlab.com/id", "--timeout=60s")
    await anyio.to_thread.run_sync(lambda: cluster.kubectl(*wait, timeout=70))


def failing(container: str, *, policy_of_others: str = "[Always IfNotPresent]") -> list[str]:
    """What GitLab Runner says when a container's image is never to be had, as in `testKubernetesFailingToPull...`."""
    about = f'image "{MISSING}" for container "{container}" with policy'
    return [
        f'WARNING: Failed to pull {about} "Always": image pull failed: ...',
        f'Attempt #2: Trying "IfNotPresent" pull policy for "{MISSING}" image for container "{container}"',
        f'WARNING: Failed to pull {about} "IfNotPresent": image pull failed: ...',
        f'ERROR: Job failed: pulling image "{MISSING}" for container {container}: image pull failed: ...',
    ]


async def test_testKubernetesFailingToPullImageTwice(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """A build image that is nowhere: each policy is tried with a pod of its own, then the job fails."""
    async with cluster.harness(kubernetes=TWICE) as h:
        job = await h.run(script=["true"], image=MISSING, variables=NO_SOURCES)
        assert told(job) == [
            "Using effective pull policy of [Always IfNotPresent] for container build",
            "Using effective pull policy of [Always IfNotPresent] for container helper",
            *failing("build"),
        ], job.text
        assert (job.state, job.failure_reason) != ("failed", "runner_system_failure"), job.text
        pods = set(re.findall(r"Waiting for pod \S+/(\S+) to be running", job.text))
        assert len(pods) == 2, job.text
        assert "WARNING: Event retrieved from the cluster: " in job.text
        await until_empty(cluster, h)


async def test_testKubernetesFailingToPullServiceImageTwice(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """The same for a service; the policies of the others stay as they are."""
    kubernetes = {"pull_policy": "if-not-present", "allowed_pull_policies": BOTH}
    async with cluster.harness(kubernetes=kubernetes) as h:
        service = image(MISSING, alias="db", pull_policy=BOTH)
        job = await h.run(script=["true"], services=[service], variables=NO_SOURCES)
        assert told(job) == [
            "Using effective pull policy of [IfNotPresent] for container build",
            "Using effective pull policy of [IfNotPresent] for container helper",
            "Using effective pull policy of [Always IfNotPresent] for container db",
            *failing("db"),
        ], job.text
        await until_empty(cluster, h)


async def test_testKubernetesFailingToPullHelperTwice(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """The same for the helper image, whose policies are those of the build image."""
    first = {"embedded": BOTH, "real": ["if-not-present", "if-not-present"]}[cluster.kind]
    async with cluster.harness(kubernetes={"pull_policy": first, "helper_image": MISSING}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
        expected = failing("helper")
        if cluster.is_real:  # where the build image itself can only be had from the node
            expected = [line.replace('policy "Always"', 'policy "IfNotPresent"') for line in expected]
        assert told(job)[2:] == expected, job.text
        await until_empty(cluster, h)


@pytest.mark.only_on("real")
async def test_a_fallback_that_helps(cluster: Cluster) -> None:
    """No registry can be asked, but the node has the images: each container falls back on its own, and the job runs."""
    async with cluster.harness(kubernetes=TWICE) as h:
        job = await h.run(script=["echo it runs"], variables=NO_SOURCES)
        assert job.state == "success", job.text
        tries = [line for line in told(job) if line.startswith("Attempt ")]
        assert tries == [
            f'Attempt #2: Trying "IfNotPresent" pull policy for "{cluster.busybox_image}" image for container "build"',
            f'Attempt #3: Trying "IfNotPresent" pull policy for "{cluster.helper_image}" image for container "helper"',
        ], job.text
        assert "\nit runs\n" in job.text
        await until_empty(cluster, h)


def wants(container: str, policy: str) -> Any:
    """Whether a pod pulls a container's image under a policy."""

    def fits(pod: dict[str, Any]) -> bool:
        return any((each["name"], each["imagePullPolicy"]) == (container, policy) for each in pod["spec"]["containers"])

    return fits


@pytest.mark.only_on("embedded")
async def test_a_cursor_for_each_container(cluster: Cluster) -> None:
    """Two images that the node alone has: the pod that runs at last pulls neither; a successor reads all of it."""
    kubelet = ScriptedKubelet(scale=0.01)
    kubelet.rule(Rule(Fate.image_pull_failure(), when=wants("build", "Always")))
    kubelet.rule(Rule(Fate.image_pull_failure(container="db"), when=wants("db", "Always")))
    async with cluster.harness(kubelet=kubelet, kubernetes=TWICE) as h:
        job = await h.run(script=["true"], services=[image("postgres", alias="db")], variables=NO_SOURCES)
        assert job.state == "success", job.text
        policies = [
            {each["name"]: each["imagePullPolicy"] for each in pod.manifest["spec"]["containers"]}
            for pod in kubelet.pods
        ]
        assert policies == [
            {"build": "Always", "helper": "Always", "db": "Always"},
            {"build": "IfNotPresent", "helper": "Always", "db": "Always"},
            {"build": "IfNotPresent", "helper": "Always", "db": "IfNotPresent"},
        ]
        assert len({pod.name for pod in kubelet.pods}) == 3
        noted = [line.split()[2] for line in kubelet.pods[-1].journal if line.startswith("note ")]
        assert noted.count("warning") >= 2, noted
        assert noted.count("green") == 2, noted
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_the_same_policy_twice_is_another_try(cluster: Cluster) -> None:
    """A registry that is away for a moment costs a pod, not the job."""
    kubelet = ScriptedKubelet(scale=0.01)
    kubelet.queue(Fate.image_pull_failure("dial tcp: i/o timeout"))
    async with cluster.harness(kubelet=kubelet, kubernetes={"pull_policy": ["always", "always"]}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
        assert job.state == "success", job.text
        assert 'Attempt #2: Trying "Always" pull policy' in job.text
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_a_policy_that_is_not_allowed(cluster: Cluster) -> None:
    """The job fails before anything is created, with the original's sentence."""
    async with cluster.harness(kubernetes={"pull_policy": "if-not-present"}) as h:
        job = await h.run(script=["true"], image=image("busybox", pull_policy=["always"]), variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error")
        assert (
            'Job failed: invalid pull policy for container "build": pull_policy ([Always]) defined in GitLab pipeline '
            "config is not one of the allowed_pull_policies ([IfNotPresent])" in job.text
        )
        assert h.kube_requests["create", "pods"] == 0


@pytest.mark.only_on("embedded")
async def test_a_job_that_is_canceled_between_two_pods_leaves_nothing(cluster: Cluster) -> None:
    """The pod that failed is on its way out when the job ends."""
    kubelet = ScriptedKubelet(scale=0.01)
    kubelet.queue(Fate.image_pull_failure())
    async with cluster.harness(kubelet=kubelet, kubernetes=TWICE, keep_alive_interval=0.05) as h:
        assert h.cluster is not None
        job = h.queue(script=["true"], variables=NO_SOURCES)
        await h.cluster.faults.wait_seen("DELETE", "/pods/")
        job.cancel()
        await job.wait_finished(timeout=30)
        await h.wait_until_empty()
