"""The pending doctor: one sentence for why a pod is not running yet.

Kubernetes says it in conditions, in waiting reasons and in events, each in its own dialect. Here they become a
sentence that a user of GitLab can act on. What is not known is told in Kubernetes' own words: a raw message beats none.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from runner.podspec.manifest import Manifest, read_moment
from runner.podspec.status import ContainerView, PodView


def pending_sentence(view: PodView, events: Sequence[Manifest] = ()) -> str:
    """Say why the pod is not running yet; empty when nothing keeps it.

    Print it when it changes. `events` are those about the pod in any order; those about an earlier pod of the same
    name are passed over.
    """
    own = _own_events(view, events)
    return (
        _scheduling_sentence(view, own)
        or _waiting_sentence(view)
        or _event_sentence(view, own)
        or _progress_sentence(view)
    )


def progress_line(view: PodView) -> str:
    """The line that GitLab Runner prints at each look at a starting pod."""
    return f"Waiting for pod {view.path} to be running on the node {view.node or '<unknown>'}, status is {view.phase}"


def rejection_sentence(message: str) -> str:
    """Say why the API server did not take a pod: quota, limits, admission. Unknown texts are given as they are."""
    return _translated(message, _REJECTIONS) or message


@dataclass(frozen=True, slots=True)
class _Event:
    reason: str
    message: str
    at: float
    container: str
    warning: bool


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A text of Kubernetes and how we say it; the groups of the pattern fill the words."""

    pattern: re.Pattern[str]
    words: str


def _phrases(table: Mapping[str, str]) -> tuple[_Phrase, ...]:
    return tuple(_Phrase(re.compile(pattern), words) for pattern, words in table.items())


_NODE_PHRASES = _phrases(
    {
        r"Insufficient (\S+)": "{n} without enough {0}",
        r"Too many pods": "{n} without room for another pod",
        r"node\(s\) had (?:untolerated )?taint \{([^:}]+): ?\}": (
            "{n} with the taint {0}, which the pod does not tolerate"
        ),
        r"node\(s\) had (?:untolerated )?taint \{([^:}]+): ?([^}]+)\}": (
            "{n} with the taint {0}={1}, which the pod does not tolerate"
        ),
        r"node\(s\) had untolerated taint\(s\)": "{n} with taints that the pod does not tolerate",
        r"node\(s\) didn't match Pod's node affinity": "{n} not matching the node selector or affinity",
        r"node\(s\) didn't match node selector": "{n} not matching the node selector",
        r"node\(s\) didn't (?:match|satisfy) .*anti-affinity": "{n} with pods that this one must keep away from",
        r"node\(s\) didn't (?:match|satisfy) .*affinity": "{n} without the pods that this one must be near",
        r"node\(s\) didn't match pod topology spread constraints": "{n} against the topology spread",
        r"node\(s\) were unschedulable": "{n} cordoned",
        r"node\(s\) had volume node affinity conflict": "{n} out of reach of a volume of the pod",
        r"node\(s\) exceed max volume count": "{n} with as many volumes as they can hold",
        r"node\(s\) didn't find available persistent volumes to bind": "{n} without a free volume for a claim",
        r"node\(s\) didn't have free ports for the requested pod ports": "{n} with the pod's ports in use",
    }
)

_CLUSTER_PHRASES = _phrases(
    {
        r'persistentvolumeclaim "([^"]+)" not found': 'the volume claim "{0}" does not exist',
        r'persistentvolumeclaim "([^"]+)" is being deleted': 'the volume claim "{0}" is being deleted',
        r"pod has unbound immediate PersistentVolumeClaims": "a volume claim of the pod is not bound to a volume yet",
        r"no nodes available to schedule pods": "the cluster has no node",
        r"Scheduling is blocked due to non-empty scheduling gates": "a scheduling gate holds the pod back",
    }
)

_REJECTIONS = _phrases(
    {
        r"exceeded quota: ([^,]+), requested: (\S+), used: (\S+), limited: (\S+)": (
            'the quota "{0}" of the namespace is used up: asked for {1}, used {2} of {3}'
        ),
        r"((?:maximum|minimum) \S+ usage per \w+ is .+)": "the namespace limits what a pod may ask for: {0}",
        r'violates PodSecurity "([^"]+)": (.+)': "the namespace's pod security level {0} forbids it: {1}",
        r'admission webhook "([^"]+)" denied the request: (.+)': 'the admission webhook "{0}" refused it: {1}',
        r'serviceaccount "([^"]+)" not found': 'the service account "{0}" does not exist',
        r"no PriorityClass with name (\S+) was found": 'the priority class "{0}" does not exist',
        r'pod rejected: RuntimeClass "([^"]+)" not found': 'the runtime class "{0}" does not exist',
    }
)

_EVENT_PHRASES = _phrases(
    {
        r'MountVolume\.\w+ failed for volume "([^"]+)" : (.+)': 'the volume "{0}" cannot be mounted: {1}',
        r'Multi-Attach error for volume "([^"]+)" (.+)': 'the volume "{0}" is held elsewhere: {1}',
        r'AttachVolume\.Attach failed for volume "([^"]+)" : (.+)': 'the volume "{0}" cannot be attached: {1}',
        r"Unable to attach or mount volumes: unmounted volumes=\[([^\]]*)\].*": "volumes are not mounted yet: {0}",
        r"Failed to create pod sandbox: (.+)": "the node cannot set up the pod: {0}",
    }
)

_WAITING_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ErrImagePull": 'the image "{image}" of container {name} cannot be pulled: {message}',
        "ImagePullBackOff": 'the image "{image}" of container {name} cannot be pulled, the node tries again: {message}',
        "InvalidImageName": '"{image}" of container {name} is no name of an image: {message}',
        "ErrImageNeverPull": 'the image "{image}" of container {name} is not on the node, and its pull policy is never',
        "RegistryUnavailable": 'the registry of image "{image}" of container {name} is away: {message}',
        "CreateContainerConfigError": "container {name} is configured with something that is not there: {message}",
        "CreateContainerError": "container {name} cannot be created: {message}",
        "RunContainerError": "container {name} cannot be started: {message}",
        "CrashLoopBackOff": "container {name} crashes again and again: {message}",
    }
)

_PULL_PREFIXES = re.compile(
    r'^(?:Back-off pulling image "[^"]*": |ErrImagePull: |rpc error: code = \w+ desc = |failed to do request: '
    r'|failed to (?:pull and unpack image|resolve(?: image| reference)) "[^"]*": |Error response from daemon: )+'
)
"""What kubelet and the container engine wrap around the registry's answer, each naming the image once more."""
_NO_SCALE_UP = re.compile(r"^pod didn't trigger scale-up(?: \([^)]*\))?:? ?")
_TROUBLING_EVENTS = frozenset(
    {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "NetworkNotReady", "FailedPreStopHook", "Failed"}
)
_MOVING_EVENTS = frozenset({"Pulling", "Pulled", "Created", "Started"})


def _translated(message: str, phrases: Iterable[_Phrase], **words: object) -> str:
    for phrase in phrases:
        if found := phrase.pattern.search(message):
            return phrase.words.format(*found.groups(), **words)
    return ""


def _own_events(view: PodView, events: Sequence[Manifest]) -> tuple[_Event, ...]:
    """Read the events about this very pod, oldest first."""
    own = (_event(each) for each in events if _is_about(view, each))
    return tuple(sorted(own, key=lambda event: event.at))


def _is_about(view: PodView, event: Manifest) -> bool:
    uid = (event.get("involvedObject") or {}).get("uid")
    return not uid or not view.uid or uid == view.uid


def _event(entry: Manifest) -> _Event:
    moments = (
        entry.get("lastTimestamp"),
        (entry.get("series") or {}).get("lastObservedTime"),
        entry.get("eventTime"),
        entry.get("firstTimestamp"),
    )
    place = str((entry.get("involvedObject") or {}).get("fieldPath") or "")
    found = re.search(r"\{(.+)\}", place)
    return _Event(
        reason=str(entry.get("reason") or ""),
        message=str(entry.get("message") or ""),
        at=next((at for text in moments if (at := read_moment(text)) is not None), 0.0),
        container=found[1] if found else "",
        warning=entry.get("type") == "Warning",
    )


def _scheduling_sentence(view: PodView, events: Sequence[_Event]) -> str:
    scheduled = view.condition("PodScheduled")
    if scheduled is None or scheduled.status == "True":
        return ""
    reason = _translated(scheduled.message, _CLUSTER_PHRASES) or _nodes_sentence(view, scheduled.message)
    return f"cannot be scheduled: {reason or scheduled.message or scheduled.reason}{_scaling(events)}"


def _nodes_sentence(view: PodView, message: str) -> str:
    """Read `0/6 nodes are available: 4 Insufficient cpu, 2 node(s) ...` part by part."""
    found = re.match(r"(\d+)/(\d+) nodes are available: (.+)", message, re.S)
    if found is None:
        return ""
    # What follows tells why throwing out other pods would not help either.
    reasons = re.split(r"\. (?:preemption:|no new claims)", found[3])[0].rstrip(". ")
    parts = [_nodes_part(view, part) for part in re.split(r", (?=\d+ )", reasons)]
    return f"{found[1]} of {found[2]} nodes fit: {', '.join(parts)}"


def _nodes_part(view: PodView, part: str) -> str:
    count, _, reason = part.partition(" ")
    text = _translated(reason, _NODE_PHRASES, n=count) if count.isdecimal() else ""
    asked = dict(view.requests).get(reason.removeprefix("Insufficient "))
    return f"{text} (the pod asks for {asked})" if text and asked else text or part


def _scaling(events: Sequence[_Event]) -> str:
    """What an autoscaler said last."""
    said = [event for event in events if event.reason in ("TriggeredScaleUp", "NotTriggerScaleUp", "Nominated")]
    if not said:
        return ""
    if said[-1].reason == "NotTriggerScaleUp":
        return f"; the autoscaler cannot help: {_NO_SCALE_UP.sub('', said[-1].message)}".rstrip(": ")
    return "; a new node is on its way"


def _waiting_sentence(view: PodView) -> str:
    for container in view.containers:
        words = _WAITING_WORDS.get(container.waiting_reason)
        if words:
            message = container.last_message or _PULL_PREFIXES.sub("", container.waiting_message)
            return words.format(image=container.image, name=container.name, message=message)
    return ""


def _event_sentence(view: PodView, events: Sequence[_Event]) -> str:
    told = [event for event in events if event.reason in _TROUBLING_EVENTS | _MOVING_EVENTS]
    if not told:
        return ""
    # Time stamps are whole seconds, so of the last second's events a warning is believed first.
    latest = [event for event in told if event.at >= told[-1].at]
    worst = next((event for event in latest if event.warning and event.reason in _TROUBLING_EVENTS), None)
    if worst is not None:
        return _translated(worst.message, (*_EVENT_PHRASES, *_REJECTIONS)) or f"{worst.reason}: {worst.message}"
    return _pulling_sentence(view, told)


def _pulling_sentence(view: PodView, events: Sequence[_Event]) -> str:
    last = {event.container: event for event in events if event.container}
    pulling = [
        f'the image "{container.image}" of container {container.name}'
        for container in view.containers
        if container.name in last and last[container.name].reason == "Pulling" and not container.running
    ]
    return f"pulling {' and '.join(pulling)}" if pulling else ""


def _progress_sentence(view: PodView) -> str:
    if view.condition("PodScheduled") is None and not view.node:
        return "waiting for the scheduler"
    init = _first(view, lambda each: each.init and each.running)
    if init is not None:
        return f"init container {init.name} runs"
    creating = _first(view, lambda each: each.waiting_reason in ("ContainerCreating", "PodInitializing"))
    if creating is not None:
        return f"containers are being created on node {view.node or '<unknown>'}"
    unknown = _first(view, lambda each: bool(each.waiting_reason))
    return f"container {unknown.name} waits: {unknown.waiting_message or unknown.waiting_reason}" if unknown else ""


def _first(view: PodView, fits: Callable[[ContainerView], bool]) -> ContainerView | None:
    return next((each for each in view.containers if fits(each)), None)
