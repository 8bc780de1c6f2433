"""What happens to a scripted pod: how it waits, what its stages print and how they end, what strikes it.

Law: data only. A time here is a wish that the kubelet's `scale` shortens; where a test needs certainty it gives an
event instead, and nothing then happens until the test says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import anyio

from runner.testing.cluster.problems import Manifest

JOB_ID = "job.runner.gitlab.com/id"
"""The annotation that names a pod's job."""


class Mishap(StrEnum):
    """What can strike a pod."""

    OOM_KILLED = "oom_killed"
    """The kernel kills the whole build container for its memory: terminated with 137, reason OOMKilled."""
    BUILD_DIED = "build_died"
    """The build container's first process dies of a KILL: terminated with 137, reason Error."""
    HELPER_DIED = "helper_died"
    """The same for the helper: its agent is gone, and with it the log and every answer."""
    EVICTED = "evicted"
    """The node is short of memory: phase Failed, reason Evicted, condition DisruptionTarget."""
    DRAINED = "drained"
    """Somebody evicts the pod by the API: condition DisruptionTarget, then deletion with the pod's grace."""
    DELETED = "deleted"
    """Somebody deletes the pod, with the pod's own grace."""
    DELETED_BY_FORCE = "deleted_by_force"
    """Somebody deletes the pod with no grace: the object is gone at once."""
    NODE_LOST = "node_lost"
    """The node is silent: streams hang, new ones are refused, the phase stays Running, a deletion never ends."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A state that a pod is in before it runs: a waiting reason of one container, or `Unschedulable`."""

    reason: str
    message: str = ""
    container: str = "build"
    seconds: float = 0.0
    """How long; `math.inf` for ever."""
    until: anyio.Event | None = None
    """Given: wait for it, after the seconds."""
    last_exit_code: int | None = None
    """How the container ended before, for CrashLoopBackOff."""


@dataclass(frozen=True, slots=True)
class Script:
    """What one stage, or one exec'ed command, does."""

    output: Sequence[tuple[float, bytes]] = ()
    """Seconds to wait, then bytes to print, in turn."""
    exit_code: int = 0
    oom_kills: int = 0
    """Processes that were killed for memory meanwhile."""
    until: anyio.Event | None = None
    """Given: after the output, wait for it before ending. An event that nobody sets is a stage that hangs."""
    mishap: Mishap | None = None
    """Given: this strikes in place of an end."""
    lost: bool = False
    """The wrapper dies and leaves no exit record: a `lost` entry."""
    ignores_term: bool = False
    """Whether a `stop` must come to its KILL."""


@dataclass(frozen=True, slots=True)
class Fate:
    """The whole story of a pod."""

    stages: Mapping[str, Script] = field(default_factory=dict)
    """By attempt (`get_sources-2`) or by stage (`step_script`); what is not named succeeds at once."""
    before: tuple[Waiting, ...] = ()
    """States in turn before it runs."""
    at_start: Mishap | None = None
    """Strikes as soon as the containers run."""
    executed: Callable[[str, tuple[str, ...]], Script] | None = None
    """What an exec of a command in a container does; None: succeeds at once."""

    def script(self, attempt: str) -> Script:
        """Return what an attempt does."""
        stage = attempt.rpartition("-")[0]
        return self.stages.get(attempt) or self.stages.get(stage) or Script()

    @classmethod
    def never_runs(cls) -> Fate:
        """A pod whose containers are being created for ever."""
        return cls(before=(Waiting("ContainerCreating", seconds=math.inf),))

    @classmethod
    def unschedulable(cls, message: str = "0/1 nodes are available: 1 Insufficient cpu.") -> Fate:
        """A pod that no node takes."""
        return cls(before=(Waiting("Unschedulable", message, seconds=math.inf),))

    @classmethod
    def image_pull_failure(cls, message: str = "", *, container: str = "build") -> Fate:
        """A pod one of whose images cannot be pulled: ErrImagePull with the message, then ImagePullBackOff for ever."""
        text = message or "failed to pull and unpack image: not found"
        return cls(
            before=(
                Waiting("ErrImagePull", text, container),
                Waiting("ImagePullBackOff", f"Back-off pulling image: ErrImagePull: {text}", container, math.inf),
            )
        )

    @classmethod
    def invalid_image(cls, *, container: str = "build") -> Fate:
        """A pod one of whose images has a name that is none."""
        text = 'Failed to apply default image tag "": couldn\'t parse image name "": invalid reference format'
        return cls(before=(Waiting("InvalidImageName", text, container, math.inf),))

    @classmethod
    def crash_loop(cls, *, container: str = "build", exit_code: int = 1) -> Fate:
        """A pod one of whose containers ends again and again."""
        text = f"back-off 10s restarting failed container={container}"
        return cls(before=(Waiting("CrashLoopBackOff", text, container, math.inf, last_exit_code=exit_code),))

    @classmethod
    def configuration_error(cls, message: str = 'secret "missing" not found', *, container: str = "build") -> Fate:
        """A pod one of whose containers cannot be put together."""
        return cls(before=(Waiting("CreateContainerConfigError", message, container, math.inf),))


@dataclass(frozen=True, slots=True)
class Rule:
    """Which pods a fate is for: all that is given must match."""

    fate: Fate
    job_id: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Manifest], bool] | None = None
    times: int | None = None
    """How many pods it is for; None for all."""

    def matches(self, pod: Manifest) -> bool:
        """Tell whether the rule is about this pod."""
        metadata = pod["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        if self.job_id is not None and annotations.get(JOB_ID) != str(self.job_id):
            return False
        if any(labels.get(key) != value for key, value in self.labels.items()):
            return False
        if any(annotations.get(key) != value for key, value in self.annotations.items()):
            return False
        return self.when is None or self.when(pod)
