"""The Role of docs/running.md: enough for every job, and no right that nobody asks for."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import yaml

from runner.testing.faults import CommitThenDrop, FaultRule, Reply
from runner.testing.kubelets import Fate, ScriptedKubelet
from runner.testing.payloads import image, variable
from tests.documents import ROOT, blocks

if TYPE_CHECKING:
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
LEGACY = {**NO_SOURCES, "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": "true"}
PRIVATE = [*(variable(key, value) for key, value in NO_SOURCES.items()), variable("PASSWORD", "s3cret-word")]
SERVICE_VARIABLES = [variable("POSTGRES_PASSWORD", "$PASSWORD")]
NEWER_KUBERNETES = {("create", "pods/attach"), ("create", "pods/exec")}
"""Asked by Kubernetes 1.35 of a request whose own verb is get."""


def role() -> dict[str, Any]:
    """The Role as the documentation has it."""
    documents = [each for block in blocks(ROOT / "docs/running.md", "yaml") for each in yaml.safe_load_all(block.text)]
    return next(each for each in documents if each["kind"] == "Role")


def granted() -> set[tuple[str, str]]:
    """The Role's rights as verb and resource."""
    return {(verb, name) for rule in role()["rules"] for name in rule["resources"] for verb in rule["verbs"]}


def asked(h: Harness) -> set[tuple[str, str]]:
    """The rights that the requests to the embedded API server needed."""
    assert h.cluster is not None
    found = set()
    for verb, path in h.cluster.requests:
        match = re.fullmatch(r"/api/v1/namespaces/[^/]+/([^/]+)(?:/[^/]+(?:/([^/]+))?)?", path)
        assert match is not None, path
        found.add((verb, f"{match[1]}/{match[2]}" if match[2] else match[1]))
    return found


async def waiting_pod(h: Harness) -> None:
    """A pod that no node takes: its events are asked for."""
    job = await h.run(variables=NO_SOURCES)
    assert "timed out waiting for pod to start" in job.text


async def lost_answers(h: Harness) -> None:
    """Creations that are answered into the void."""
    assert h.cluster is not None
    h.cluster.faults.add(*(FaultRule("POST", path, CommitThenDrop()) for path in ("/pods$", "/secrets$")))
    job = await h.run(variables=NO_SOURCES)
    assert job.state == "success", job.text


async def services(h: Harness) -> None:
    """A service with a private variable, first with a pod that is refused."""
    assert h.cluster is not None
    h.cluster.faults.add(FaultRule("POST", "/pods$", Reply(422, body=b'{"kind": "Status", "reason": "Invalid"}')))
    database = image("postgres", alias="db", variables=SERVICE_VARIABLES)
    for state in ("failed", "success"):
        job = await h.run(variables=PRIVATE, services=[database])
        assert job.state == state, job.text


async def legacy(h: Harness) -> None:
    """A job by exec."""
    job = await h.run(variables=LEGACY)
    assert job.state == "success", job.text


@pytest.mark.only_on("embedded")
async def test_every_right_is_asked_for_and_no_other(cluster: Cluster) -> None:
    """Over all ways that a job can go, the requests are those that the documented Role allows."""
    seen: set[tuple[str, str]] = set()
    for way, kubelet in (
        (waiting_pod, ScriptedKubelet(Fate.unschedulable())),
        (lost_answers, ScriptedKubelet()),
        (services, ScriptedKubelet()),
        (legacy, ScriptedKubelet()),
    ):
        async with cluster.harness(kubelet=kubelet, kubernetes={"poll_timeout": 5}) as h:
            await way(h)
            await h.wait_until_empty()
            seen |= asked(h)
    assert seen | NEWER_KUBERNETES == granted()


@pytest.fixture
def account(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Connection keys of a service account that has the documented Role and nothing else."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "runner"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runner"},
        "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": cluster.namespace}],
    }
    service_account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
    objects = tmp_path / "objects.yaml"
    objects.write_text(yaml.safe_dump_all([service_account, role(), binding]))
    cluster.kubectl("apply", f"--filename={objects}")
    config = yaml.safe_load(cluster.kubectl("config", "view", "--raw", "--minify"))
    server = config["clusters"][0]["cluster"]
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(base64.b64decode(server["certificate-authority-data"]))
    token = cluster.kubectl("create", "token", "runner").strip()
    yield {"host": server["server"], "ca_file": str(ca_file), "bearer_token": token}
    cluster.kubectl("delete", f"--filename={objects}")


@pytest.mark.only_on("real")
@pytest.mark.parametrize("variables", [NO_SOURCES, LEGACY], ids=["attach", "exec"])
async def test_the_role_is_enough_for_a_job(
    cluster: Cluster, account: dict[str, Any], variables: dict[str, str]
) -> None:
    """A manager that is this service account runs a job and removes its pod."""
    async with cluster.harness(kubernetes=account) as h:
        job = await h.run(script=["echo with few rights"], after_script=["echo after"], variables=variables)
        assert job.state == "success", job.text
        assert "\nwith few rights\n" in job.text
        await h.manager.wait_until_idle()
    cluster.kubectl("wait", "--for=delete", "pod", f"--selector=job.runner.gitlab.com/id={job.id}", "--timeout=30s")
    assert cluster.kubectl("get", "secrets", "--output=name") == ""


@pytest.mark.only_on("real")
async def test_the_role_is_enough_for_a_service_with_a_password(cluster: Cluster, account: dict[str, Any]) -> None:
    """The Secret of a service's variables is made, given to the pod, and goes with it."""
    command = ["sh", "-c", 'echo "password: $POSTGRES_PASSWORD"; sleep 600']
    service = image(cluster.busybox_image, alias="db", variables=SERVICE_VARIABLES, command=command)
    async with cluster.harness(kubernetes=account) as h:
        job = h.queue(script=["echo begun", "sleep 3"], variables=PRIVATE, services=[service])
        await job.wait(lambda record: "begun" in record.text.splitlines(), timeout=60)
        pod = f"--selector=job.runner.gitlab.com/id={job.id}"
        logs = await anyio.to_thread.run_sync(cluster.kubectl, "logs", pod, "--all-containers")
        assert "password: s3cret-word\n" in logs
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        assert h.kube_requests["patch", "secrets"] == 1


@pytest.mark.only_on("real")
async def test_a_right_that_is_missing_is_named_in_the_log(cluster: Cluster, account: dict[str, Any]) -> None:
    """The service account has no right in another namespace: the job's log says which one it lacks."""
    async with cluster.harness(kubernetes={**account, "namespace": "default"}) as h:
        job = await h.run(variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure")
        assert 'cannot create resource "pods"' in job.text
        assert "needs a service account with this right" in job.text
