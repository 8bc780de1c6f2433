"""The pending doctor: a fixture for each phrase, as schedulers, kubelets and API servers write them."""

from typing import Any

import pytest

from runner.podspec.pending import pending_sentence, progress_line, rejection_sentence
from runner.podspec.status import read_pod

SCHEDULED = {"type": "PodScheduled", "status": "True"}


def pod(
    build: dict[str, Any] | None = None, *, conditions: Any = (SCHEDULED,), node: str = "node-a", **spec: Any
) -> Any:
    """The view of a pod whose build container is in this state."""
    creating = {"waiting": {"reason": "ContainerCreating"}}
    containers = [
        {"name": "build", "image": "ruby:3", "resources": {"requests": {"cpu": "8"}}},
        {"name": "helper", "image": "helper:1", "resources": {"requests": {"cpu": "100m"}}},
    ]
    return read_pod(
        {
            "metadata": {"name": "runner-1", "namespace": "ci", "uid": "9f"},
            "spec": {"nodeName": node, "containers": containers, **spec},
            "status": {
                "phase": "Pending",
                "conditions": list(conditions),
                "containerStatuses": [
                    {"name": "build", "state": build or creating},
                    {"name": "helper", "state": creating},
                ],
                "initContainerStatuses": [{"name": "setup", "state": {"running": {}}}],
            },
        }
    )


def unscheduled(message: str, reason: str = "Unschedulable") -> Any:
    """The view of a pod that the scheduler could not place."""
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return pod({}, conditions=[condition], node="")


def event(reason: str, message: str, *, at: int = 0, container: str = "", **more: Any) -> dict[str, Any]:
    """An event about the pod."""
    return {
        "type": "Warning" if reason.startswith("Failed") else "Normal",
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-21T00:00:{at:02}Z",
        "involvedObject": {"uid": "9f", "fieldPath": f"spec.containers{{{container}}}" if container else None},
        **more,
    }


PREEMPTION = "preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        pytest.param(
            f"0/6 nodes are available: 4 Insufficient cpu, 2 Insufficient memory. {PREEMPTION}",
            "0 of 6 nodes fit: 4 without enough cpu (the pod asks for 8100m), 2 without enough memory",
            id="cpu and memory",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: x.",
            "0 of 1 nodes fit: 1 without enough nvidia.com/gpu",
            id="gpu, wording of 1.34",
        ),
        pytest.param(
            "0/3 nodes are available: 1 Too many pods, 1 node(s) were unschedulable, "
            "1 node(s) had untolerated taint {gpu: true}.",
            "0 of 3 nodes fit: 1 without room for another pod, 1 cordoned, "
            "1 with the taint gpu=true, which the pod does not tolerate",
            id="room, cordon, taint",
        ),
        pytest.param(
            "0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, "
            "1 node(s) had taint {a: b}, that the pod didn't tolerate.",
            "0 of 2 nodes fit: 1 with the taint node.kubernetes.io/unreachable, which the pod does not tolerate, "
            "1 with the taint a=b, which the pod does not tolerate",
            id="taint without a value, older wording",
        ),
        pytest.param(
            f"0/1 nodes are available: 1 node(s) had untolerated taint(s). {PREEMPTION}",
            "0 of 1 nodes fit: 1 with taints that the pod does not tolerate",
            id="taints without names",
        ),
        pytest.param(
            f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {PREEMPTION}",
            "0 of 1 nodes fit: 1 not matching the node selector or affinity",
            id="selector",
        ),
        pytest.param(
            "0/1 nodes are available: 1 node(s) didn't match node selector.",
            "0 of 1 nodes fit: 1 not matching the node selector",
            id="selector, older wording",
        ),
        pytest.param(
            "0/2 nodes are available: 1 node(s) didn't match pod affinity rules, "
            "1 node(s) didn't match pod anti-affinity rules.",
            "0 of 2 nodes fit: 1 without the pods that this one must be near, "
            "1 with pods that this one must keep away from",
            id="affinity",
        ),
        pytest.param(
            "0/5 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) exceed max volume count, "
            "1 node(s) didn't find available persistent volumes to bind, "
            "1 node(s) didn't have free ports for the requested pod ports, "
            "1 node(s) didn't match pod topology spread constraints.",
            "0 of 5 nodes fit: 1 out of reach of a volume of the pod, 1 with as many volumes as they can hold, "
            "1 without a free volume for a claim, 1 with the pod's ports in use, 1 against the topology spread",
            id="volumes, ports, spread",
        ),
        pytest.param(
            "0/1 nodes are available: 1 node(s) had a bad hair day. preemption: x.",
            "0 of 1 nodes fit: 1 node(s) had a bad hair day",
            id="unknown part",
        ),
        pytest.param(
            '0/1 nodes are available: persistentvolumeclaim "nope" not found. not found',
            'the volume claim "nope" does not exist',
            id="no claim",
        ),
        pytest.param(
            '0/1 nodes are available: persistentvolumeclaim "old" is being deleted.',
            'the volume claim "old" is being deleted',
            id="claim goes",
        ),
        pytest.param(
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: x",
            "a volume claim of the pod is not bound to a volume yet",
            id="claim unbound",
        ),
        pytest.param("no nodes available to schedule pods", "the cluster has no node", id="no node"),
        pytest.param(
            "Scheduling is blocked due to non-empty scheduling gates",
            "a scheduling gate holds the pod back",
            id="gate",
        ),
        pytest.param("the moon is in the wrong place", "the moon is in the wrong place", id="unknown text"),
        pytest.param("", "Unschedulable", id="no text"),
    ],
)
def test_pending_sentence_when_unschedulable(message: str, sentence: str) -> None:
    """The scheduler's words become a sentence; what is unknown stays as it is."""
    assert pending_sentence(unscheduled(message)) == f"cannot be scheduled: {sentence}"


@pytest.mark.parametrize(
    ("events", "tail"),
    [
        ([event("TriggeredScaleUp", "pod triggered scale-up: [{a 1->2}]")], "; a new node is on its way"),
        ([event("Nominated", "Pod should schedule on: nodeclaim/x")], "; a new node is on its way"),
        (
            [
                event("TriggeredScaleUp", "x", at=1),
                event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", at=2),
            ],
            "; the autoscaler cannot help: 1 max node group size reached",
        ),
        (
            [event("NotTriggerScaleUp", "pod didn't trigger scale-up (it wouldn't fit if a new node is added): ")],
            "; the autoscaler cannot help",
        ),
        ([event("TriggeredScaleUp", "x", involvedObject={"uid": "another"})], ""),
    ],
    ids=["scale-up", "karpenter", "last word counts", "older wording", "about an earlier pod"],
)
def test_pending_sentence_tells_of_the_autoscaler_when_it_spoke(events: list[dict[str, Any]], tail: str) -> None:
    """Whether waiting is worth it depends on it."""
    view = unscheduled("0/1 nodes are available: 1 Insufficient memory.")

    assert pending_sentence(view, events) == f"cannot be scheduled: 0 of 1 nodes fit: 1 without enough memory{tail}"


@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        (
            "ErrImagePull",
            'rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/ruby:3": '
            'failed to resolve reference "docker.io/library/ruby:3": docker.io/library/ruby:3: not found',
            'the image "ruby:3" of container build cannot be pulled: docker.io/library/ruby:3: not found',
        ),
        (
            "ImagePullBackOff",
            'Back-off pulling image "r.invalid/x:1": ErrImagePull: failed to pull and unpack image "r.invalid/x:1": '
            'failed to resolve reference "r.invalid/x:1": failed to do request: '
            'Head "https://r.invalid/v2/x/manifests/1": dial tcp: lookup r.invalid: no such host',
            'the image "ruby:3" of container build cannot be pulled, the node tries again: '
            'Head "https://r.invalid/v2/x/manifests/1": dial tcp: lookup r.invalid: no such host',
        ),
        ("InvalidImageName", "bad", '"ruby:3" of container build is no name of an image: bad'),
        (
            "ErrImageNeverPull",
            "x",
            'the image "ruby:3" of container build is not on the node, and its pull policy is never',
        ),
        ("RegistryUnavailable", "x", 'the registry of image "ruby:3" of container build is away: x'),
        (
            "CreateContainerConfigError",
            'secret "nope" not found',
            'container build is configured with something that is not there: secret "nope" not found',
        ),
        ("CreateContainerError", "x", "container build cannot be created: x"),
        ("RunContainerError", "x", "container build cannot be started: x"),
        ("CrashLoopBackOff", "x", "container build crashes again and again: x"),
        ("SomethingNew", "raw words", "container build waits: raw words"),
        ("SomethingNew", "", "container build waits: SomethingNew"),
    ],
)
def test_pending_sentence_when_a_container_waits(reason: str, message: str, sentence: str) -> None:
    """A waiting reason names container and image; new reasons are told raw."""
    view = pod({"waiting": {"reason": reason, "message": message}})
    if reason == "SomethingNew":
        view = pod({"waiting": {"reason": reason, "message": message}}, containers=[{"name": "build"}])

    assert pending_sentence(view) == sentence


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        pytest.param(
            [event("FailedMount", 'MountVolume.SetUp failed for volume "x" : configmap "nope" not found')],
            'the volume "x" cannot be mounted: configmap "nope" not found',
            id="mount",
        ),
        pytest.param(
            [event("FailedMount", "Unable to attach or mount volumes: unmounted volumes=[cache], timed out")],
            "volumes are not mounted yet: cache",
            id="mount waits",
        ),
        pytest.param(
            [
                event(
                    "FailedAttachVolume",
                    'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) runner-0',
                )
            ],
            'the volume "pvc-1" is held elsewhere: Volume is already used by pod(s) runner-0',
            id="held elsewhere",
        ),
        pytest.param(
            [event("FailedAttachVolume", 'AttachVolume.Attach failed for volume "pvc-1" : rpc error')],
            'the volume "pvc-1" cannot be attached: rpc error',
            id="attach",
        ),
        pytest.param(
            [event("FailedCreatePodSandBox", "Failed to create pod sandbox: no IP addresses available")],
            "the node cannot set up the pod: no IP addresses available",
            id="sandbox",
        ),
        pytest.param([event("FailedMount", "odd words")], "FailedMount: odd words", id="unknown text"),
        pytest.param(
            [
                event("Pulling", 'Pulling image "helper:1"', container="helper", at=1),
                event("Pulled", "done", container="helper", at=2),
                event("Pulling", 'Pulling image "ruby:3"', container="build", at=2),
            ],
            'pulling the image "ruby:3" of container build',
            id="pulling one",
        ),
        pytest.param(
            [
                event("Pulling", "x", container="helper", at=1),
                event("Pulling", "x", container="build", at=1),
            ],
            'pulling the image "ruby:3" of container build and the image "helper:1" of container helper',
            id="pulling both",
        ),
        pytest.param(
            [event("FailedMount", "x", at=1), event("Pulling", "x", container="build", at=9)],
            'pulling the image "ruby:3" of container build',
            id="mounted in the end",
        ),
        pytest.param(
            [event("Pulling", "x", container="build", at=1), event("FailedMount", "odd", at=1)],
            "FailedMount: odd",
            id="same second",
        ),
        pytest.param(
            [event("FailedMount", "odd", involvedObject={"uid": "another"})],
            "containers are being created on node node-a",
            id="about an earlier pod",
        ),
        pytest.param(
            [
                event("FailedMount", "new", lastTimestamp=None, eventTime="2026-11-21T00:00:09.5Z"),
                event("FailedMount", "old", at=5),
                event("FailedMount", "x", lastTimestamp=None, series={"lastObservedTime": "2026-11-21T00:00:07Z"}),
            ],
            "FailedMount: new",
            id="events of the new kind",
        ),
        pytest.param([event("Scheduled", "x")], "containers are being created on node node-a", id="nothing to tell"),
        pytest.param([{}], "containers are being created on node node-a", id="empty event"),
    ],
)
def test_pending_sentence_when_events_tell(events: list[dict[str, Any]], sentence: str) -> None:
    """The latest word counts, whatever the order in which events come."""
    assert pending_sentence(pod(), events) == sentence
    assert pending_sentence(pod(), events[::-1]) == sentence


def test_pending_sentence_when_the_pod_is_new_or_starts_or_runs() -> None:
    """Without trouble it says how far the pod is."""
    running: dict[str, Any] = {"running": {}}

    assert pending_sentence(pod({}, conditions=(), node="")) == "waiting for the scheduler"
    assert pending_sentence(pod(initContainers=[{"name": "setup"}])) == "init container setup runs"
    assert pending_sentence(pod(running)) == "containers are being created on node node-a"
    assert pending_sentence(pod(running, containers=[{"name": "build"}])) == ""


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            'pods "runner-1" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5',
            'the quota "compute" of the namespace is used up: asked for pods=1, used pods=5 of pods=5',
        ),
        (
            'pods "runner-1" is forbidden: exceeded quota: c, requested: limits.cpu=2,pods=1, '
            "used: limits.cpu=3,pods=5, limited: limits.cpu=4,pods=5",
            'the quota "c" of the namespace is used up: asked for limits.cpu=2,pods=1, '
            "used limits.cpu=3,pods=5 of limits.cpu=4,pods=5",
        ),
        (
            'pods "runner-1" is forbidden: maximum cpu usage per Container is 2, but limit is 4',
            "the namespace limits what a pod may ask for: maximum cpu usage per Container is 2, but limit is 4",
        ),
        (
            'pods "runner-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "the namespace's pod security level restricted:latest forbids it: runAsNonRoot != true",
        ),
        (
            'admission webhook "policy.example.com" denied the request: no latest tags',
            'the admission webhook "policy.example.com" refused it: no latest tags',
        ),
        (
            'pods "x" is forbidden: error looking up service account ci/x: serviceaccount "x" not found',
            'the service account "x" does not exist',
        ),
        (
            'pods "x" is forbidden: no PriorityClass with name ci-low was found',
            'the priority class "ci-low" does not exist',
        ),
        (
            'pods "x" is forbidden: pod rejected: RuntimeClass "gvisor" not found',
            'the runtime class "gvisor" does not exist',
        ),
        ("something else", "something else"),
    ],
)
def test_rejection_sentence_when(message: str, sentence: str) -> None:
    """Why the API server took no pod at all."""
    assert rejection_sentence(message) == sentence


def test_progress_line_when_there_is_a_node_or_none() -> None:
    """The line that GitLab Runner's users know."""
    assert progress_line(pod()) == "Waiting for pod ci/runner-1 to be running on the node node-a, status is Pending"
    assert progress_line(pod(node="")) == (
        "Waiting for pod ci/runner-1 to be running on the node <unknown>, status is Pending"
    )
