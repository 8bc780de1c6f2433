"""The real kubectl works against the embedded Kubernetes."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import anyio
import orjson
import pytest

from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer

KUBECTL = shutil.which("kubectl")
Kubectl = Callable[..., Awaitable[CompletedProcess[bytes]]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on this machine"),
]


@pytest.fixture
def kubelet() -> ProcessKubelet:
    """Real processes, so that there is something to look at."""
    return ProcessKubelet()


@pytest.fixture
def kubectl(cluster: KubernetesServer, tmp_path: Path) -> Kubectl:
    """Run kubectl with a home of its own: it caches what a server serves by the server's address."""
    written = cluster.kubeconfig(tmp_path / "kubeconfig")

    async def run(*words: str, stdin: bytes = b"", code: int = 0) -> CompletedProcess[bytes]:
        environment = {"HOME": str(tmp_path), "KUBECONFIG": str(written), "PATH": "/usr/bin:/bin"}
        with anyio.fail_after(30):
            done = await anyio.run_process([str(KUBECTL), *words], input=stdin, env=environment, check=False)
        assert done.returncode == code, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done

    return run


@pytest.fixture
def manifest(make_pod: Callable[..., dict[str, Any]]) -> bytes:
    """A pod that echoes its input, and its helper that only idles."""
    pod = make_pod()
    pod["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", "echo ready; while read line; do echo got $line; done"]
    return orjson.dumps(pod)


async def test_pod_is_created_waited_for_shown_and_deleted(kubectl: Kubectl, manifest: bytes) -> None:
    """create, wait, get as a table, describe with events, label, delete that waits."""
    await kubectl("create", "-f", "-", stdin=manifest)
    await kubectl("wait", "--for=condition=Ready", "pod/job-1", "--timeout=10s")
    shown = (await kubectl("get", "pods", "--no-headers")).stdout.split()
    assert shown[:4] == [b"job-1", b"2/2", b"Running", b"0"]
    described = (await kubectl("describe", "pod", "job-1")).stdout
    assert b"Started container build" in described
    assert b"Successfully assigned default/job-1" in (await kubectl("get", "events")).stdout
    await kubectl("label", "pod", "job-1", "team=a")
    assert (await kubectl("get", "pods", "-l", "team=a", "-o", "name")).stdout == b"pod/job-1\n"
    await kubectl("delete", "pod", "job-1", "--grace-period=1")
    assert b"NotFound" in (await kubectl("get", "pod", "job-1", code=1)).stderr


async def test_manifest_is_applied_twice_and_validated(kubectl: Kubectl, manifest: bytes) -> None:
    """apply creates, then configures; a misspelled field is refused by the server."""
    assert b"created" in (await kubectl("apply", "-f", "-", stdin=manifest)).stdout
    changed = orjson.loads(manifest)
    changed["metadata"]["labels"] = {"team": "b"}
    assert b"configured" in (await kubectl("apply", "-f", "-", stdin=orjson.dumps(changed))).stdout
    changed["metadata"]["name"] = "job-2"
    changed["spec"]["colour"] = "red"
    refused = await kubectl("create", "-f", "-", stdin=orjson.dumps(changed), code=1)
    assert b'unknown field "spec.colour"' in refused.stderr


async def test_logs_exec_and_attach_carry_bytes_and_codes(kubectl: Kubectl, manifest: bytes) -> None:
    """Ten megabytes through exec, its exit code, and input by attach that shows in the log."""
    await kubectl("create", "-f", "-", stdin=manifest)
    await kubectl("wait", "--for=condition=Ready", "pod/job-1", "--timeout=10s")
    assert (await kubectl("logs", "job-1", "-c", "build")).stdout == b"ready\n"
    data = bytes(range(256)) * 40_000
    assert (await kubectl("exec", "-i", "job-1", "-c", "helper", "--", "cat", stdin=data)).stdout == data
    failed = await kubectl("exec", "job-1", "-c", "build", "--", "sh", "-c", "echo out; exit 3", code=3)
    assert failed.stdout == b"out\n"
    async with anyio.create_task_group() as group:
        group.start_soon(_attach_until_deleted, kubectl)
        followed = await kubectl("logs", "-f", "job-1", "-c", "build", "--limit-bytes=16")
        assert followed.stdout == b"ready\ngot hello\n"
        await kubectl("delete", "pod", "job-1", "--grace-period=1")


async def _attach_until_deleted(kubectl: Kubectl) -> None:
    """Attach, say hello, and stay until the container has ended."""
    done = await kubectl("attach", "-i", "job-1", "-c", "build", stdin=b"hello\n")
    assert done.stdout == b"got hello\n"


async def test_drain_of_a_protected_pod_is_refused(kubectl: Kubectl, manifest: bytes) -> None:
    """The policy group is discovered, and its object is listed."""
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"a": "b"}}},
    }
    await kubectl("create", "-f", "-", stdin=orjson.dumps(budget))
    assert (await kubectl("get", "pdb", "-o", "name")).stdout == b"poddisruptionbudget.policy/b\n"
    shown = (await kubectl("get", "pdb", "--no-headers")).stdout.split()
    assert shown[:4] == [b"b", b"N/A", b"0", b"0"]
    raw = await kubectl(
        "create", "--raw", "/api/v1/namespaces/default/pods/none/eviction", "-f", "-", stdin=b"{}", code=1
    )
    assert b"not found" in raw.stderr


async def test_namespace_and_what_is_in_it_come_and_go(kubectl: Kubectl) -> None:
    """create, get as tables, and a delete that waits until all of it is gone."""

    async def create(kind: str, name: str, *, code: int = 0, **fields: Any) -> bytes:
        version = "policy/v1" if kind == "PodDisruptionBudget" else "v1"
        metadata = {"name": name} if kind == "Namespace" else {"name": name, "namespace": "ci-job-1"}
        manifest = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
        return (await kubectl("create", "-f", "-", stdin=orjson.dumps(manifest), code=code)).stderr

    service = {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 8080}]}
    await create("Namespace", "ci-job-1")
    assert (await kubectl("get", "namespace", "ci-job-1", "--no-headers")).stdout.split()[1] == b"Active"
    assert b"default" in (await kubectl("get", "serviceaccounts", "-n", "ci-job-1")).stdout
    await create("Service", "web", spec=service)
    shown = (await kubectl("get", "services", "-n", "ci-job-1")).stdout.splitlines()
    assert shown[0].split() == [b"NAME", b"TYPE", b"CLUSTER-IP", b"EXTERNAL-IP", b"PORT(S)", b"AGE"]
    assert shown[1].startswith(b"web")
    assert b"80/TCP" in shown[1]
    await create("PodDisruptionBudget", "b", spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}})
    assert (await kubectl("get", "pdb", "-n", "ci-job-1", "--no-headers")).stdout.split()[:3] == [b"b", b"1", b"N/A"]
    assert b"Min available:  1" in (await kubectl("describe", "pdb", "b", "-n", "ci-job-1")).stdout
    await kubectl("delete", "namespace", "ci-job-1")
    assert b"NotFound" in (await kubectl("get", "namespace", "ci-job-1", code=1)).stderr
    assert b'namespaces "ci-job-1" not found' in await create("Service", "web", spec=service, code=1)


async def test_a_disruption_budget_of_two_minds_is_refused(kubectl: Kubectl) -> None:
    """With the real server's words."""
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"maxUnavailable": 0, "minAvailable": -1, "selector": {"matchLabels": {"a": "b"}}},
    }
    refused = (await kubectl("create", "-f", "-", stdin=orjson.dumps(budget), code=1)).stderr
    assert b"minAvailable and maxUnavailable cannot be both set" in refused
    assert b"spec.minAvailable: Invalid value: -1: must be greater than or equal to 0" in refused
