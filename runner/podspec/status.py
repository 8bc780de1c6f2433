"""What a pod's manifest says about it, as data.

No field is taken for granted: a status has several writers, any part of it may be missing or null, and a container's
state may be known before the phase or after it. What it means for the job is said elsewhere: by `trouble.py`,
`pending.py` and the verdict.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runner.job.quantity import Quantity, QuantityError, parse_quantity
from runner.job.verdict import EndedContainer, PodFate
from runner.podspec.containers import BUILD, HELPER
from runner.podspec.manifest import Manifest, read_moment

_OWN_LIMIT = re.compile(r"exceeds the limit|exceeds the total limit|exceeded its local ephemeral storage limit")
"""Kubelet's words for a pod that used more disk than it may. No field tells this from a node that ran out of disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """One container of a pod, as its kubelet last reported it."""

    name: str
    image: str = ""
    init: bool = False
    running: bool = False
    ready: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    ended: EndedContainer | None = None
    ended_message: str = ""
    last_message: str = ""
    """What an earlier run of the container left behind, where it was started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: float | None = None
    """When it became so, seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod as its job sees it."""

    name: str
    namespace: str = ""
    uid: str = ""
    node: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    deleted: bool = False
    """Somebody asked for its deletion."""
    deleted_at: float | None = None
    """When that was, seconds since the epoch."""
    conditions: tuple[Condition, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    """Those of the pod's life in the manifest's order, then init containers."""
    requests: tuple[tuple[str, Quantity], ...] = ()
    """What all containers together ask the scheduler for."""

    @property
    def path(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def disruption(self) -> Condition | None:
        """The condition that announces an eviction, a preemption or the like, while it is true."""
        found = self.condition("DisruptionTarget")
        return found if found and found.status == "True" else None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((each for each in self.conditions if each.type == kind), None)

    def container(self, name: str) -> ContainerView | None:
        """The container of that name."""
        return next((each for each in self.containers if each.name == name), None)


def read_pod(manifest: Manifest) -> PodView:
    """Read a pod. Never raises for a pod that an API server sent; what is missing has its default."""
    metadata, spec, status = (_table(manifest, key) for key in ("metadata", "spec", "status"))
    return PodView(
        name=_text(metadata, "name"),
        namespace=_text(metadata, "namespace"),
        uid=_text(metadata, "uid"),
        node=_text(spec, "nodeName"),
        phase=_text(status, "phase") or "Pending",
        reason=_text(status, "reason"),
        message=_text(status, "message"),
        deleted=bool(metadata.get("deletionTimestamp")),
        deleted_at=_deletion_asked(metadata),
        conditions=tuple(_condition(each) for each in _list(status, "conditions")),
        containers=tuple(_containers(spec, status)),
        requests=tuple(_requests(spec).items()),
    )


def is_running(view: PodView) -> bool:
    """True when stages can be run: the pod is up to stay, and `build` and `helper` run."""
    agents = (view.container(BUILD), view.container(HELPER))
    return view.phase == "Running" and not view.deleted and all(agent and agent.running for agent in agents)


def is_ready(view: PodView) -> bool:
    """True when the pod runs and each of its containers is ready to be asked."""
    return view.phase == "Running" and all(container.ready for container in view.containers if not container.init)


def pod_fate(view: PodView, *, gone: bool = False) -> PodFate:
    """Tell the verdict what became of the pod; `gone` says that a GET confirmed its absence since."""
    disruption = view.disruption
    moments = (view.deleted_at, disruption.since if disruption else None)
    return PodFate(
        name=view.path,
        phase=view.phase,
        reason=view.reason,
        message=view.message or (disruption.message if disruption else ""),
        deleted=view.deleted,
        gone=gone,
        disruption=(disruption.reason or disruption.type) if disruption else "",
        own_limit=view.reason == "Evicted" and _OWN_LIMIT.search(view.message) is not None,
        doomed_at=min((moment for moment in moments if moment is not None), default=None),
        ended=tuple(each.ended for each in view.containers if each.ended and not each.init),
    )


def _deletion_asked(metadata: Manifest) -> float | None:
    """`deletionTimestamp` is when the grace period ends, so the request came that much earlier."""
    ends = read_moment(metadata.get("deletionTimestamp"))
    return None if ends is None else ends - float(metadata.get("deletionGracePeriodSeconds") or 0)


def _condition(entry: Manifest) -> Condition:
    return Condition(
        type=_text(entry, "type"),
        status=_text(entry, "status"),
        reason=_text(entry, "reason"),
        message=_text(entry, "message"),
        since=read_moment(entry.get("lastTransitionTime")),
    )


def _containers(spec: Manifest, status: Manifest) -> Iterator[ContainerView]:
    for kind, init in (("containers", False), ("initContainers", True)):
        reported = {_text(each, "name"): each for each in _list(status, f"{kind[:-1]}Statuses")}
        for container in _list(spec, kind):
            name = _text(container, "name")
            yield _container(name, _text(container, "image"), reported.get(name, {}), init=init)


def _container(name: str, image: str, entry: Manifest, *, init: bool) -> ContainerView:
    state = _table(entry, "state")
    waiting, ended = _table(state, "waiting"), _table(state, "terminated")
    return ContainerView(
        name=name,
        image=image,
        init=init,
        # With a startup probe a container runs before it has started; without one the field follows the state.
        running=state.get("running") is not None and entry.get("started") is not False,
        ready=bool(entry.get("ready")),
        waiting_reason=_text(waiting, "reason"),
        waiting_message=_text(waiting, "message"),
        ended=_ended(name, ended) if ended else None,
        ended_message=_text(ended, "message"),
        last_message=_text(_table(_table(entry, "lastState"), "terminated"), "message"),
    )


def _ended(name: str, entry: Manifest) -> EndedContainer:
    return EndedContainer(
        name=name,
        exit_code=int(entry.get("exitCode") or 0),
        reason=_text(entry, "reason"),
        signal=int(entry.get("signal") or 0),
    )


def _requests(spec: Manifest) -> Mapping[str, Quantity]:
    """Add up what the containers ask for; an amount for the whole pod stands before their sum."""
    total: dict[str, Quantity] = {}
    for container in _list(spec, "containers"):
        for resource, amount in _amounts(_table(container, "resources")):
            total[resource] = total[resource] + amount if resource in total else amount
    return {**total, **dict(_amounts(_table(spec, "resources")))}


def _amounts(resources: Manifest) -> Iterator[tuple[str, Quantity]]:
    for resource, text in _table(resources, "requests").items():
        try:
            yield resource, parse_quantity(str(text))
        except QuantityError:
            continue


def _table(entry: Manifest, key: str) -> Manifest:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _list(entry: Manifest, key: str) -> Iterable[Manifest]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _text(entry: Manifest, key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
