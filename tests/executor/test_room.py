"""Whether a further job is asked for, and the jobs that wait for a full quota."""

from __future__ import annotations

from typing import Any

import anyio
import orjson
import pytest
from structlog.testing import capture_logs

from runner.executor import room as rooms
from runner.executor.cluster import Cluster
from runner.executor.launching import PodLaunch
from runner.executor.room import Room, default_pod
from runner.kube.client import KubeClient
from runner.kube.errors import ForbiddenError
from runner.kube.informer import PodInformer
from runner.podspec.pod import own_containers
from runner.podspec.pull import pull_policies
from runner.podspec.secret import JobRecord
from runner.testing.faults import FaultRule, Reply
from runner.testing.kubernetes import KubernetesServer
from tests.executor.parts import Sink, request_for_pod

FULL = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
LARGE = 'pods "x" is forbidden: exceeded quota: q, requested: cpu=9, used: cpu=0, limited: cpu=5'


def refusal(message: str) -> Reply:
    """The API server's no."""
    status = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": message}
    return Reply(403, headers={"Content-Type": "application/json"}, body=orjson.dumps(status))


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "PARK_INTERVAL", 0.02)


@pytest.fixture
def cluster(client: KubeClient) -> Cluster:
    """A cluster that somebody else serves."""

    async def connect() -> KubeClient:
        return client

    def make_informer(client: KubeClient, namespace: str, selector: str, poll_interval: float) -> PodInformer:
        return PodInformer(client, namespace, selector=selector, poll_interval=poll_interval)

    return Cluster(connect, make_informer, home="default")


def room_of(cluster: Cluster, **kubernetes: Any) -> Room:
    """The room of a runner with these keys."""
    config = request_for_pod(**{"capacity_aware": True, "image": "alpine", **kubernetes}).config
    return Room(config, cluster, default_pod=lambda: default_pod(config, system_id="s", default_helper_image="helper"))


def set_quota(server: KubernetesServer, used: int, hard: int = 5) -> None:
    """Let the namespace have a quota of pods."""
    amounts = {"hard": {"pods": str(hard)}, "used": {"pods": str(used)}}
    if server.objects("resourcequotas"):
        server.delete("resourcequotas", "q")
    server.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": amounts["hard"]}, "status": amounts})


def looks(server: KubernetesServer) -> int:
    """How often the quotas were listed."""
    return len(server.faults.seen("GET", "/resourcequotas"))


async def test_has_room_when_it_is_not_asked_for(server: KubernetesServer, cluster: Cluster) -> None:
    """Without the key, and with a namespace for each job, nothing is looked at."""
    set_quota(server, 5)
    assert await room_of(cluster, capacity_aware=False).has_room(0)
    assert await room_of(cluster, namespace_per_job=True).has_room(0)
    assert looks(server) == 0


@pytest.mark.parametrize(
    ("used", "beside", "expected"),
    [
        pytest.param(3, 1, True, id="two more fit"),
        pytest.param(4, 0, True, id="the last one"),
        pytest.param(4, 1, False, id="another question may bring the last one"),
        pytest.param(5, 0, False, id="full"),
    ],
)
async def test_has_room_by_the_quota(
    server: KubernetesServer, cluster: Cluster, used: int, beside: int, expected: bool
) -> None:
    """What other questions may bring counts as if it were there."""
    set_quota(server, used)
    assert await room_of(cluster).has_room(beside) is expected


async def test_has_room_when_a_job_is_on_its_way(server: KubernetesServer, cluster: Cluster) -> None:
    """A job whose pod is not there yet has its place; once it is there the quota says so itself."""
    set_quota(server, 4)
    room = room_of(cluster)
    with room.expected(7):
        assert not await room.has_room(0)
        coming = room.expect(7)
        assert not await room.has_room(0)
    assert not await room.has_room(0)
    coming.arrived()
    coming.arrived()
    assert await room.has_room(0)


async def test_has_room_counts_a_job_once(server: KubernetesServer, cluster: Cluster) -> None:
    """From the moment it comes until its pod is there."""
    set_quota(server, 3)
    room = room_of(cluster)
    with room.expected(7):
        assert await room.has_room(0)
        room.expect(7)
        assert await room.has_room(0)
        assert not await room.has_room(1)


async def test_has_room_when_a_job_came_in_vain(server: KubernetesServer, cluster: Cluster) -> None:
    """One that is refused before its pod gives its place back."""
    set_quota(server, 4)
    room = room_of(cluster)
    with room.expected(7):
        assert not await room.has_room(0)
    assert await room.has_room(0)


async def test_has_room_looks_seldom(server: KubernetesServer, cluster: Cluster) -> None:
    """A look counts for some seconds, and until a pod of ours has gone."""
    set_quota(server, 5)
    room = room_of(cluster)
    with capture_logs() as logs:
        for _ in range(3):
            assert not await room.has_room(0)
        assert looks(server) == 1
        set_quota(server, 4)
        room.pod_gone()
        assert await room.has_room(0)
        assert await room.has_room(0)
    assert looks(server) == 2
    assert [entry["event"] for entry in logs] == [
        "no job is asked for: it could not start",
        "jobs are asked for again",
    ]


async def test_has_room_when_another_job_waits_for_it(server: KubernetesServer, cluster: Cluster) -> None:
    """Who waits comes first; the quotas are not even looked at."""
    room = room_of(cluster)
    with room.parked():
        assert not await room.has_room(0)
    assert await room.has_room(0)
    assert looks(server) == 1


async def test_has_room_without_the_right_to_look(server: KubernetesServer, cluster: Cluster) -> None:
    """Jobs are taken as ever; the log says it once."""
    server.forbid("list", "resourcequotas")
    room = room_of(cluster)
    with capture_logs() as logs:
        assert await room.has_room(0)
        assert await room.has_room(0)
    [told] = logs
    assert (told["event"], told["runner"], told["runner_name"]) == ("capacity_aware has no effect", "12345678x", "r")


async def test_has_room_when_the_api_server_is_away(server: KubernetesServer, cluster: Cluster) -> None:
    """No job could start."""
    server.faults.add(FaultRule("GET", "/resourcequotas", Reply(503), times=None))
    assert not await room_of(cluster).has_room(0)


async def test_has_room_when_a_quota_is_like_none(
    cluster: Cluster, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we cannot read costs no job."""

    async def odd(resource: str, namespace: str) -> list[Any]:
        return [None]

    monkeypatch.setattr(client, "list", odd)
    with capture_logs() as logs:
        assert await room_of(cluster).has_room(0)
    assert [line["fault"] for line in logs] == ["AttributeError"]


async def test_default_pod_when_the_configuration_makes_none(cluster: Cluster) -> None:
    """Nothing but the pod itself is counted then."""
    config = request_for_pod(image="alpine").config
    kubernetes = config.kubernetes.model_copy(update={"helper_image": "registry/helper:$[", "cpu_request": "?"})
    made = default_pod(
        config.model_copy(update={"kubernetes": kubernetes}), system_id="s", default_helper_image="helper"
    )
    assert "spec" in made


# Jobs that are here already ------------------------------------------------------------------------------------------


async def launch(cluster: Cluster, sink: Sink, room: Room | None = None, **keys: Any) -> None:
    """Start a job's pod, and remove it."""
    pod = request_for_pod(**keys)
    launched = PodLaunch(
        cluster,
        sink,
        pod,
        policies=pull_policies(pod, own_containers(pod)),
        selector="",
        record=JobRecord(payload=b"payload", plan=b"plan"),
        home="",
        room=room or room_of(cluster),
    )
    trouble: ForbiddenError | None = None
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            await group.start(cluster.serve)
            try:
                await launched.until_running(group)
            except ForbiddenError as error:
                trouble = error
            await launched.remove()
            group.cancel_scope.cancel()
    if trouble:
        raise trouble


async def test_a_job_waits_while_the_quota_is_full(server: KubernetesServer, cluster: Cluster, sink: Sink) -> None:
    """Its log says so once, and it runs when there is room."""
    server.faults.add(FaultRule("POST", "/pods$", refusal(FULL), times=3))
    await launch(cluster, sink)
    assert [text for kind, text in sink.notes if kind == "warning"] == [
        'the quota "q" of the namespace is used up: asked for pods=1, used pods=5 of pods=5; '
        "the job waits for room, for at most 180 s"
    ]
    assert len(server.faults.seen("POST", "/pods$")) == 4


async def test_a_job_is_woken_when_a_pod_of_ours_has_gone(
    server: KubernetesServer, cluster: Cluster, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for its next look."""
    monkeypatch.setattr(rooms, "PARK_INTERVAL", 60.0)
    server.faults.add(FaultRule("POST", "/pods$", refusal(FULL), times=1))
    room = room_of(cluster)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(launch, cluster, sink, room)
            while not any(kind == "warning" for kind, _ in sink.notes):
                await anyio.lowlevel.checkpoint()
            assert not await room.has_room(0)
            room.pod_gone()


async def test_a_job_waits_no_longer_than_poll_timeout(server: KubernetesServer, cluster: Cluster, sink: Sink) -> None:
    """Then the refusal is the job's end."""
    server.faults.add(FaultRule("POST", "/pods$", refusal(FULL), times=None))
    room = room_of(cluster)
    with pytest.raises(ForbiddenError, match="exceeded quota"):
        await launch(cluster, sink, room, poll_timeout=1)


async def test_a_job_larger_than_the_quota_does_not_wait(
    server: KubernetesServer, cluster: Cluster, sink: Sink
) -> None:
    """No end of another job makes room for it."""
    server.faults.add(FaultRule("POST", "/pods$", refusal(LARGE), times=None))
    with pytest.raises(ForbiddenError, match="exceeded quota"):
        await launch(cluster, sink)
    assert sink.notes == []
