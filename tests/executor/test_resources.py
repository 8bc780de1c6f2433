"""What a job made is removed, whatever became of the answers; what is another's stays."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from runner.executor import patience, resources
from runner.executor.resources import Resources
from runner.kube.client import KubeClient
from runner.kube.errors import ConflictError, ForbiddenError, UnavailableError
from runner.testing.faults import CommitThenDrop, FaultRule, Hold, Reply
from runner.testing.kubernetes import KubernetesServer


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.01,))
    monkeypatch.setattr(resources, "LATE_PAUSES", (0.01, 0.05))


@pytest.fixture
def made(client: KubeClient) -> Resources:
    """The objects of one job."""
    return Resources(client, "default", nonce_key="nonce", timeout=5.0)


async def test_delete_all_when_objects_were_made(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """Pod and Secret go; deleting again does no harm."""
    await made.create("pods", manifest, timeout=1)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    await made.create("secrets", secret, timeout=1)
    await made.delete_all(grace_seconds=0)
    await server.wait_until_gone()
    await made.delete_all(grace_seconds=0)


async def test_create_when_the_answer_was_lost(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """The object is recognized by its nonce: one pod, and no error."""
    server.faults.add(FaultRule("POST", "/pods$", CommitThenDrop()))
    await made.create("pods", manifest, timeout=5)
    assert server.objects() == ("pods/default/job-pod",)


async def test_delete_all_when_the_create_was_cancelled(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """An object whose create was given up after it took effect is removed by its name."""
    held = Hold(after_effect=True)
    server.faults.add(FaultRule("POST", "/pods$", held))
    async with anyio.create_task_group() as group:

        async def create() -> None:
            await made.create("pods", manifest, timeout=5)

        group.start_soon(create)
        await held.reached()
        group.cancel_scope.cancel()
    assert server.objects("pods") != ()
    await made.delete_all(grace_seconds=0)
    await server.wait_until_gone()


async def test_delete_all_when_a_cancelled_create_takes_effect_late(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """The API server may carry out a create after the delete that was meant to undo it: it is looked for again."""
    held = Hold()
    server.faults.add(FaultRule("POST", "/pods$", held))
    async with anyio.create_task_group() as group:

        async def create() -> None:
            await made.create("pods", manifest, timeout=5)

        group.start_soon(create)
        await held.reached()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: made.delete_all(grace_seconds=0))
        await server.faults.wait_seen("DELETE", "/pods/job-pod")
        server.create("pods", manifest)
    await server.wait_until_gone()


async def test_create_when_the_name_is_anothers(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """A stranger's object of the same name is neither taken for ours nor deleted."""
    stranger = {**manifest, "metadata": {"name": "job-pod", "labels": {"nonce": "another"}}}
    server.create("pods", stranger)
    with pytest.raises(ConflictError):
        await made.create("pods", manifest, timeout=1)
    await made.delete_all(grace_seconds=0)
    assert server.objects("pods") == ("pods/default/job-pod",)


async def test_create_when_it_is_refused(server: KubernetesServer, made: Resources, manifest: dict[str, Any]) -> None:
    """What was never made is not asked to be deleted."""
    server.forbid("create", "pods")
    with pytest.raises(ForbiddenError):
        await made.create("pods", manifest, timeout=1)
    await made.delete_all(grace_seconds=0)
    assert server.faults.seen("DELETE", "/pods/") == ()


async def test_create_when_the_server_stays_away(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """After its time the last trouble is raised."""
    server.faults.add(FaultRule("POST", "/pods$", Reply(503), times=None))
    with pytest.raises(UnavailableError):
        await made.create("pods", manifest, timeout=0)


async def test_delete_all_when_one_cannot_be_deleted(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """The others go all the same."""
    await made.create("pods", manifest, timeout=1)
    await made.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}, timeout=1)
    server.forbid("delete", "secrets")
    await made.delete_all(grace_seconds=0)
    await server.wait_until_gone("pods")
    assert server.objects() == ("secrets/default/s",)


async def test_delete_all_when_another_has_the_name_by_now(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """Only the very object that was made is deleted."""
    await made.create("pods", manifest, timeout=1)
    server.delete("pods", "job-pod", grace_seconds=0)
    await server.wait_until_gone("pods")
    server.create("pods", manifest)
    await made.delete_all(grace_seconds=0)
    assert server.objects("pods") == ("pods/default/job-pod",)


async def test_give_owner_when_the_pod_is_there(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """An object with an owner goes with it."""
    await made.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}, timeout=1)
    pod = await made.create("pods", manifest, timeout=1)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "job-pod", "uid": pod["metadata"]["uid"]}
    await made.give_owner("secrets", "s", owner)
    await made.delete_all(grace_seconds=0)
    await server.wait_until_gone()
    assert len(server.faults.seen("DELETE", "/")) == 1


async def test_create_all_when_one_fails(server: KubernetesServer, made: Resources) -> None:
    """The others are made, and the error comes plain, not in a group."""
    server.forbid("create", "services")
    wanted = [
        ("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}),
        ("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}),
    ]
    with pytest.raises(ForbiddenError):
        await made.create_all(wanted, timeout=1)
    assert server.objects() == ("secrets/default/s",)
    await made.delete_all(grace_seconds=0)
    await server.wait_until_gone()


async def test_delete_all_leaves_what_has_an_owner_to_it(
    server: KubernetesServer, made: Resources, manifest: dict[str, Any]
) -> None:
    """The pod takes its objects along, also when there is no right to delete them."""
    pod = await made.create("pods", manifest, timeout=1)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "job-pod", "uid": pod["metadata"]["uid"]}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "ownerReferences": [owner]},
    }
    await made.create("poddisruptionbudgets", budget, timeout=1)
    server.forbid("delete", "poddisruptionbudgets")
    await made.delete_all(grace_seconds=0)
    await server.wait_until_gone()


async def test_a_namespace_of_the_jobs_own(server: KubernetesServer, made: Resources) -> None:
    """An object outside of any namespace is made and removed."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ci-job-1", "labels": {"nonce": "1"}}}
    server.faults.add(FaultRule("POST", "/namespaces$", CommitThenDrop()))
    await made.create("namespaces", namespace, timeout=5)
    assert server.objects() == ("namespaces/ci-job-1",)
    await made.delete_all(grace_seconds=None)
    await server.wait_until_gone()
