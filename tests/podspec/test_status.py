"""Reading pods: statuses as a real kubelet wrote them, and statuses with holes."""

from typing import Any

import pytest

from runner.job.quantity import parse_quantity
from runner.job.verdict import EndedContainer, PodFate
from runner.podspec.manifest import read_moment
from runner.podspec.status import Condition, ContainerView, PodView, is_running, pod_fate, read_pod

RUNNING = {"running": {"startedAt": "2026-11-21T00:39:00Z"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "2026-11-21T00:38:09Z"}}


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A pod of two containers with this status."""
    return {
        "metadata": {"name": "runner-1", "namespace": "ci", "uid": "9f", **metadata},
        "spec": {
            "nodeName": "node-a",
            "containers": [
                {"name": "build", "image": "ruby:3", "resources": {"requests": {"cpu": "8", "memory": "1Gi"}}},
                {"name": "helper", "image": "helper:1", "resources": {"requests": {"cpu": "100m"}}},
            ],
        },
        "status": status,
    }


def states(build: dict[str, Any], helper: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The statuses of the two containers."""
    return [{"name": "build", "state": build, **more}, {"name": "helper", "state": helper, **more}]


def test_read_pod_when_it_runs() -> None:
    """All that is asked later stands in the view."""
    view = read_pod(
        pod(
            {
                "phase": "Running",
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "False",
                        "reason": "ContainersNotReady",
                        "message": "containers with unready status: [build]",
                        "lastTransitionTime": "1970-01-01T00:01:40Z",
                        "lastProbeTime": None,
                    }
                ],
                "containerStatuses": [
                    {
                        "name": "helper",
                        "ready": True,
                        "started": True,
                        "state": RUNNING,
                        "lastState": {"terminated": {"exitCode": 1, "message": "no home"}},
                    },
                    {
                        "name": "build",
                        "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
                        "lastState": {},
                    },
                ],
            }
        )
    )

    assert view == PodView(
        name="runner-1",
        namespace="ci",
        uid="9f",
        node="node-a",
        phase="Running",
        conditions=(
            Condition(
                type="Ready",
                status="False",
                reason="ContainersNotReady",
                message="containers with unready status: [build]",
                since=100.0,
            ),
        ),
        containers=(
            ContainerView(name="build", image="ruby:3", waiting_reason="ErrImagePull", waiting_message="not found"),
            ContainerView(name="helper", image="helper:1", ready=True, running=True, last_message="no home"),
        ),
        requests=(("cpu", parse_quantity("8100m")), ("memory", parse_quantity("1Gi"))),
    )
    assert view.path == "ci/runner-1"


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {}, "status": {"conditions": None, "containerStatuses": None}},
        {
            "spec": {"containers": [{"name": "build"}]},
            "status": {"containerStatuses": [{"name": "build", "state": {}}]},
        },
        {"spec": {"containers": [{"name": "build", "resources": {"requests": {"cpu": "rubbish"}}}]}},
    ],
    ids=["nothing", "nulls", "empty lists", "empty state", "unreadable request"],
)
def test_read_pod_has_defaults_when_fields_are_missing(manifest: dict[str, Any]) -> None:
    """A pod that was just created has hardly a status."""
    view = read_pod(manifest)

    assert (view.name, view.phase, view.requests, view.deleted, is_running(view)) == ("", "Pending", (), False, False)
    assert pod_fate(view) == PodFate(name="/", phase="Pending")


def test_init_containers_are_told_apart_when_there_are_some() -> None:
    """They end in good order; only the containers of the pod's life count as ended."""
    manifest = pod({"initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 0}}}]})
    manifest["spec"]["initContainers"] = [{"name": "init", "image": "i"}]
    view = read_pod(manifest)

    assert [(each.name, each.init) for each in view.containers] == [("build", False), ("helper", False), ("init", True)]
    assert pod_fate(view).ended == ()


@pytest.mark.parametrize(
    ("status", "metadata", "running"),
    [
        ({"phase": "Running", "containerStatuses": states(RUNNING, RUNNING)}, {}, True),
        ({"phase": "Running", "containerStatuses": states(RUNNING, RUNNING, started=True)}, {}, True),
        ({"phase": "Running", "containerStatuses": states(RUNNING, RUNNING, started=False)}, {}, False),
        ({"phase": "Running", "containerStatuses": states(RUNNING, KILLED)}, {}, False),
        ({"phase": "Running", "containerStatuses": states(RUNNING, {"waiting": {}})}, {}, False),
        ({"phase": "Pending", "containerStatuses": states(RUNNING, RUNNING)}, {}, False),
        ({"phase": "Running"}, {}, False),
        (
            {"phase": "Running", "containerStatuses": states(RUNNING, RUNNING)},
            {"deletionTimestamp": "2026-11-21T00:39:08Z"},
            False,
        ),
    ],
    ids=["both run", "probe passed", "probe not passed", "helper ended", "helper waits", "phase", "no news", "deleted"],
)
def test_is_running_when(status: dict[str, Any], metadata: dict[str, Any], running: bool) -> None:
    """Both agents run and nobody wants the pod away."""
    assert is_running(read_pod(pod(status, **metadata))) is running


def test_pod_fate_when_the_eviction_api_was_called() -> None:
    """The doom began when deletion was asked for, which is the grace period before its time stamp."""
    view = read_pod(
        pod(
            {
                "phase": "Running",
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting",
                        "lastTransitionTime": "2026-11-21T00:39:03Z",
                    }
                ],
                "containerStatuses": states(RUNNING, RUNNING),
            },
            deletionTimestamp="2026-11-21T00:39:08Z",
            deletionGracePeriodSeconds=5,
        )
    )

    assert pod_fate(view, gone=True) == PodFate(
        name="ci/runner-1",
        message="Eviction API: evicting",
        deleted=True,
        gone=True,
        disruption="EvictionByEvictionAPI",
        doomed_at=read_moment("2026-11-21T00:39:03Z"),
    )


def test_pod_fate_takes_the_earlier_moment_when_there_are_two() -> None:
    """A preemption marks the pod before it deletes it."""
    view = read_pod(
        pod(
            {
                "conditions": [
                    {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "1970-01-01T00:00:10Z"}
                ]
            },
            deletionTimestamp="1970-01-01T00:01:00Z",
            deletionGracePeriodSeconds=30,
        )
    )

    assert (pod_fate(view).doomed_at, pod_fate(view).disruption) == (10.0, "DisruptionTarget")


def test_pod_fate_is_well_when_the_disruption_is_over() -> None:
    """A condition that is not true says nothing."""
    status = {"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "False", "reason": "x"}]}

    assert pod_fate(read_pod(pod(status))) == PodFate(name="ci/runner-1")


@pytest.mark.parametrize(
    ("message", "own_limit"),
    [
        ('Usage of EmptyDir volume "repo" exceeds the limit "1Mi". ', True),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ", True),
        ('Container build exceeded its local ephemeral storage limit "1Gi". ', True),
        ("The node was low on resource: ephemeral-storage. Container build was using 5Gi, request is 0. ", False),
    ],
)
def test_pod_fate_tells_own_limits_when_evicted(message: str, own_limit: bool) -> None:
    """A job that fills its own volume is no fault of the node."""
    view = read_pod(
        pod(
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": message,
                "containerStatuses": states(KILLED, KILLED),
            }
        )
    )

    assert pod_fate(view) == PodFate(
        name="ci/runner-1",
        phase="Failed",
        reason="Evicted",
        message=message,
        own_limit=own_limit,
        ended=(EndedContainer("build", 137, "Error"), EndedContainer("helper", 137, "Error")),
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.500000Z", 1.5),
        ("1970-01-01T01:00:01+01:00", 1.0),
        ("1970-01-01T00:00:01", None),
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_read_moment_when(text: object, moment: float | None) -> None:
    """Only a full time stamp with a zone is one."""
    assert read_moment(text) == moment
