"""A pod's status from the states of its containers, as the kubelet computes it.

Law: pure but for the moments written into it. The phase follows from the states; nobody sets it but for a pod that
failed as a whole (evicted, past its deadline).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.testing.cluster.moments import moment
from runner.testing.cluster.problems import Manifest

_CREATING = "ContainerCreating"
_INITIALIZING = "PodInitializing"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What one container is doing: it waits with a reason, it runs, or it has ended with a code."""

    kind: str = "waiting"
    """`waiting`, `running` or `terminated`."""
    reason: str = _CREATING
    message: str = ""
    exit_code: int = 0
    signal: int = 0
    started_at: str = ""
    finished_at: str = ""
    last_exit_code: int | None = None
    """How the container ended before, when it was started more than once."""

    @classmethod
    def waiting(
        cls, reason: str = _CREATING, message: str = "", *, last_exit_code: int | None = None
    ) -> ContainerState:
        """Return a container that does not run yet."""
        return cls("waiting", reason, message, last_exit_code=last_exit_code)

    @classmethod
    def running(cls) -> ContainerState:
        """Return a container that runs since now."""
        return cls("running", "", started_at=moment())

    def terminated(self, exit_code: int, *, reason: str = "", message: str = "", signal: int = 0) -> ContainerState:
        """Return this container after its end; the reason follows from the code unless it is given."""
        return ContainerState(
            "terminated",
            reason or ("Completed" if exit_code == 0 else "Error"),
            message,
            exit_code=exit_code,
            signal=signal,
            started_at=self.started_at or moment(),
            finished_at=moment(),
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a pod."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PodState:
    """Everything a status says."""

    containers: Mapping[str, ContainerState]
    init_containers: Mapping[str, ContainerState] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    """Beside, or in place of, those that follow from the containers."""
    phase: str = ""
    """Empty: what follows from the containers."""
    reason: str = ""
    message: str = ""
    started_at: str = ""
    address: str = ""


def pod_status(spec: Manifest, state: PodState) -> Manifest:
    """Return the status of a pod that has been put on a node."""
    phase = state.phase or _phase(state)
    initialized = all(_succeeded(one) for one in state.init_containers.values())
    unready = [name for name, one in state.containers.items() if one.kind != "running"]
    ready = initialized and not unready and phase == "Running"
    status: Manifest = {
        "phase": phase,
        "conditions": _conditions(state, initialized=initialized, ready=ready, unready=unready, phase=phase),
        "hostIP": "127.0.0.1",
        "startTime": state.started_at or moment(),
        "containerStatuses": _statuses(spec["containers"], state.containers),
    }
    if state.init_containers:
        status["initContainerStatuses"] = _statuses(spec.get("initContainers") or [], state.init_containers)
    if state.address:
        status["podIP"] = state.address
        status["podIPs"] = [{"ip": state.address}]
    for name, text in (("reason", state.reason), ("message", state.message)):
        if text:
            status[name] = text
    return status


def unscheduled_status(message: str) -> Manifest:
    """Return the status of a pod that no node takes."""
    condition = _condition(Condition("PodScheduled", status=False, reason="Unschedulable", message=message))
    return {"phase": "Pending", "conditions": [condition]}


def _phase(state: PodState) -> str:
    if any(one.kind == "terminated" and one.exit_code for one in state.init_containers.values()):
        return "Failed"
    if not all(_succeeded(one) for one in state.init_containers.values()):
        return "Pending"
    kinds = [one.kind for one in state.containers.values()]
    if "waiting" in kinds:
        return "Pending"
    if "running" in kinds:
        return "Running"
    return "Failed" if any(one.exit_code for one in state.containers.values()) else "Succeeded"


def _succeeded(state: ContainerState) -> bool:
    return state.kind == "terminated" and state.exit_code == 0


def _conditions(
    state: PodState, *, initialized: bool, ready: bool, unready: Sequence[str], phase: str
) -> list[Manifest]:
    unready_reason, unready_message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    if phase in ("Succeeded", "Failed"):
        unready_reason, unready_message = ("PodCompleted" if phase == "Succeeded" else "PodFailed"), ""
    not_ready = () if ready else (unready_reason, unready_message)
    derived = (
        Condition("PodScheduled", status=True),
        Condition("PodReadyToStartContainers", status=bool(state.address)),
        Condition("Initialized", initialized, *(() if initialized else ("ContainersNotInitialized",))),
        Condition("ContainersReady", ready, *not_ready),
        Condition("Ready", ready, *not_ready),
    )
    given = {condition.type for condition in state.conditions}
    return [_condition(one) for one in (*(one for one in derived if one.type not in given), *state.conditions)]


def _condition(condition: Condition) -> Manifest:
    shown: Manifest = {
        "type": condition.type,
        "status": "True" if condition.status else "False",
        "lastProbeTime": None,
        "lastTransitionTime": moment(),
    }
    if condition.reason:
        shown["reason"] = condition.reason
    if condition.message:
        shown["message"] = condition.message
    return shown


def _statuses(specs: Iterable[Manifest], states: Mapping[str, ContainerState]) -> list[Manifest]:
    return [_status(spec, states[spec["name"]]) for spec in specs]


def _status(spec: Manifest, state: ContainerState) -> Manifest:
    waits = state.kind == "waiting"
    status: Manifest = {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "" if waits else f"embedded://{spec['image']}",
        "ready": state.kind == "running",
        "started": state.kind == "running",
        "restartCount": 0 if state.last_exit_code is None else 1,
        "state": {state.kind: _shown(state)},
        "lastState": {},
    }
    if not waits:
        status["containerID"] = f"embedded://{spec['name']}"
    if state.last_exit_code is not None:
        before = ContainerState().terminated(state.last_exit_code)
        status["lastState"] = {"terminated": _shown(before)}
    return status


def _shown(state: ContainerState) -> Manifest:
    if state.kind == "running":
        return {"startedAt": state.started_at}
    shown: Manifest = {"reason": state.reason}
    if state.message:
        shown["message"] = state.message
    if state.kind == "terminated":
        shown |= {"exitCode": state.exit_code, "startedAt": state.started_at, "finishedAt": state.finished_at}
        if state.signal:
            shown["signal"] = state.signal
    return shown


def initial_states(spec: Manifest) -> tuple[dict[str, ContainerState], dict[str, ContainerState]]:
    """Return the states of containers and init containers before anything has been started."""
    inits = spec.get("initContainers") or []
    waiting = ContainerState.waiting(_INITIALIZING if inits else _CREATING)
    return (
        {container["name"]: waiting for container in spec["containers"]},
        {container["name"]: ContainerState.waiting(_INITIALIZING) for container in inits},
    )
