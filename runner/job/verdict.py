"""The verdict over one attempt of a stage: evidence in, outcome out.

Pure and total: every combination of evidence has exactly one ruling, and nothing here raises. Success needs positive
proof. A closed stream, a missing pod, phase Succeeded and a container that ended with 0 prove nothing.

The rows are read from the top; the first that fits decides.

| # | evidence | ruling |
|---|---|---|
| 1 | canceled or aborted | `job_canceled` |
| 2 | deadline | `job_execution_timeout` |
| 3 | interrupted | `runner_interrupted` |
| 4 | a record, but the pod was doomed before it was written | rows 10 to 20: the pod's end may have made it |
| 5 | record of another attempt | as if there were none: rows 10 to 22 |
| 6 | record with code N other than 0 | `script_failure` N; a warning when its log is not whole |
| 7 | record `lost` | rows 10 to 20 unless known to come later; else `script_failure` 137 |
| 8 | record with code 0, log drained | **success**, whatever happened to the pod since |
| 9 | record with code 0, log not drained, pod and connection well | `script_failure` 100: the job took its log away |
| 10 | pod evicted for going beyond its own limits | `script_failure` 137 |
| 11 | pod's own deadline | `job_execution_timeout` |
| 12 | pod disrupted (eviction, preemption, drain, node gone) | `runner_system_failure` |
| 13 | pod failed with a reason (node pressure, shutdown, admission) | `runner_system_failure` |
| 14 | build out of memory, its main process killed | `script_failure` 137 |
| 15 | pod being deleted | `runner_system_failure` |
| 16 | pod not found | `runner_system_failure` |
| 17 | build ended in a way that only the node knows | `runner_system_failure` |
| 18 | helper ended | `runner_system_failure` |
| 19 | build ended | `script_failure` with its code |
| 20 | pod failed or succeeded without more | `runner_system_failure` |
| 21 | connection lost for good | `runner_system_failure` |
| 22 | nothing | `runner_system_failure`: no proof of anything |

Why in this order:

- Rows 1 to 3 stand for what this process itself had decided *before* the record was drained. A script that is told to
  stop can trap TERM and exit 0, so no record is worth anything then.
- Rows 4 and 8 tell a pod deleted before the script ended from one deleted after it. The record's time and the moment of
  the deletion are compared; only a doom known to come first counts against a record, and in the same second it counts.
  A drained record stands against everything that came later: the script had ended, its log is here, and what follows is
  the next stage's trouble.
- Row 14 comes after 12 and 13, because a node out of memory kills containers before it evicts the pod, and before 15,
  because a deletion never makes `OOMKilled`.
- Row 18 comes before 19: no job can end the helper, so when both ended the cause came from outside.

What a job can do alone (exit, be killed, use up its memory or disk, end its container, remove its log) is never
`runner_system_failure`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

from runner.job.outcome import (
    FailureReason,
    JobCanceledError,
    JobTimeoutError,
    Outcome,
    RunnerInterruptedError,
    ScriptError,
)

KILLED_EXIT_CODE = 137
"""What a shell reports for a process that was killed, told when nobody was left to report."""
LOG_LOST_EXIT_CODE = 100
"""GitLab Runner's code for a log that vanished under the running job."""


class EndedContainer(NamedTuple):
    """A container that is no longer running, as its kubelet reported it."""

    name: str
    exit_code: int
    reason: str = ""
    signal: int = 0

    @property
    def sentence(self) -> str:
        """The words that GitLab Runner's users know."""
        return f"Error in container {self.name}: exit code: {self.exit_code}, reason: '{self.reason}'"


@dataclass(frozen=True, slots=True)
class PodFate:
    """What became of the pod, in words of this floor. The default is a pod that is well."""

    name: str = ""
    phase: str = "Running"
    reason: str = ""
    """Why the phase is what it is: `Evicted`, `DeadlineExceeded`, ... Often empty."""
    message: str = ""
    deleted: bool = False
    """Somebody asked for its deletion; it may still run for its grace period."""
    gone: bool = False
    """The API server confirmed that there is no such pod."""
    disruption: str = ""
    """The reason of the condition DisruptionTarget, when it is true."""
    own_limit: bool = False
    """Evicted for using more disk than its own limits allow."""
    doomed_at: float | None = None
    """When deletion was asked for or the disruption began, in whole seconds since the epoch; None: unknown."""
    ended: tuple[EndedContainer, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one attempt when its end has to be told."""

    attempt: str
    exit_code: int | None = None
    """The code in the exit record; None when there is no such record."""
    lost: bool = False
    """The record says that the wrapper died without one."""
    oom_kills: int = 0
    """Processes killed for memory in the container meanwhile, as the record tells."""
    drained: bool = False
    """The log was read up to the size that the record names."""
    pod: PodFate | None = None
    """None: nothing is known against the pod."""
    deadline: bool = False
    """A time limit made us stop the attempt before its record was drained; the same holds for the next three."""
    canceled: bool = False
    aborted: bool = False
    interrupted: bool = False
    connection_lost: bool = False
    """The pod could not be reached any more, and trying was given up."""
    recorded: str | None = None
    """The attempt that the record names; None when the caller matched it already."""
    recorded_at: float | None = None
    """When the record was written, seconds since the epoch; None: unknown."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict with its grounds."""

    cause: str
    """A stable code for metrics and documentation, such as `run.oom` or `node.evicted`."""
    outcome: Outcome
    warning: str = ""
    """A fact beside the outcome that the job log should tell, such as a killed child of a script that went on."""


def verdict(evidence: Evidence) -> Outcome:
    """Say how the attempt ended. Never raises; success only for a drained record with code 0 (the table above)."""
    return ruling(evidence).outcome


def ruling(evidence: Evidence) -> Ruling:
    """Say how the attempt ended, why, and what else the user should hear."""
    found = _stopped(evidence) or _recorded(evidence)
    if found is None:
        found = _with_known_end(_unrecorded(evidence), evidence)
    return replace(found, warning="; ".join(part for part in (found.warning, _memory_warning(evidence)) if part))


def pod_ruling(fate: PodFate | None) -> Ruling | None:
    """Say how a job ends whose pod met this fate and left no record; None when the pod is well. Rows 10 to 20."""
    if fate is None:
        return None
    return next((found for rule in _POD_RULES if (found := rule(fate)) is not None), None)


def _stopped(evidence: Evidence) -> Ruling | None:
    if evidence.canceled or evidence.aborted:
        return Ruling("run.canceled", Outcome.failure(JobCanceledError()))
    if evidence.deadline:
        return Ruling("run.timeout", Outcome.failure(JobTimeoutError("the time limit was reached")))
    if evidence.interrupted:
        return Ruling("run.interrupted", Outcome.failure(RunnerInterruptedError()))
    return None


def _recorded(evidence: Evidence) -> Ruling | None:
    if not _record_counts(evidence):
        return None
    if evidence.exit_code:
        return _exited(evidence, evidence.exit_code)
    if evidence.lost:
        come_to_harm = pod_ruling(evidence.pod) is not None and _doom(evidence) != "later"
        return None if come_to_harm else _killed(evidence)
    return _ended_well(evidence) if evidence.exit_code == 0 else None


def _record_counts(evidence: Evidence) -> bool:
    if not _is_of_attempt(evidence):
        return False
    return _doom(evidence) != "first" or pod_ruling(evidence.pod) is None


def _is_of_attempt(evidence: Evidence) -> bool:
    return evidence.recorded in (None, evidence.attempt)


def _doom(evidence: Evidence) -> Literal["first", "later", "unknown"]:
    """Whether the pod's doom came before the record. The same second counts as before: never green on a guess."""
    doomed_at = evidence.pod.doomed_at if evidence.pod else None
    if doomed_at is None or evidence.recorded_at is None:
        return "unknown"
    return "first" if doomed_at <= evidence.recorded_at else "later"


def _ended_well(evidence: Evidence) -> Ruling | None:
    if evidence.drained:
        return Ruling("run.success", Outcome.success())
    explained = evidence.connection_lost or pod_ruling(evidence.pod) is not None
    return None if explained else _log_removed()


def _exited(evidence: Evidence, exit_code: int) -> Ruling:
    outcome = Outcome.failure(ScriptError(exit_code))
    out_of_memory = evidence.oom_kills > 0 or _build_out_of_memory(evidence.pod) is not None
    if out_of_memory:
        outcome = replace(outcome, message=f"{outcome.message} ({_memory_text(evidence.oom_kills)})")
    return Ruling(
        "run.oom" if out_of_memory else "run.script",
        outcome,
        warning="" if evidence.drained else "the end of the job log could not be read",
    )


def _killed(evidence: Evidence) -> Ruling:
    message = "killed: the script ended without leaving an exit code"
    if evidence.oom_kills > 0:
        return _script_failure("run.oom", f"{message} ({_memory_text(evidence.oom_kills)})")
    return _script_failure("run.killed", message)


def _log_removed() -> Ruling:
    message = (
        "the end of the job log cannot be read although the pod is well: was the log directory changed by the job? "
        f"({ScriptError(LOG_LOST_EXIT_CODE).message})"
    )
    return _script_failure("run.log_lost", message, exit_code=LOG_LOST_EXIT_CODE)


def _unrecorded(evidence: Evidence) -> Ruling:
    found = pod_ruling(evidence.pod)
    if found is not None:
        return found
    if evidence.connection_lost:
        return _system_failure("kube.connection_lost", "the connection to the pod was lost and could not be made again")
    return _system_failure("run.unknown", f"nothing proves how {evidence.attempt} ended")


def _with_known_end(found: Ruling, evidence: Evidence) -> Ruling:
    """Add what the record says although it decides nothing: the user will look for it."""
    if evidence.exit_code != 0 or not _is_of_attempt(evidence):
        return found
    return replace(found, warning="the script ended with exit code 0, but this does not prove its success")


def _memory_warning(evidence: Evidence) -> str:
    """Reason and code are two facts: a child may be killed for memory and the script go on to a good end."""
    if evidence.exit_code != 0:
        return ""
    if evidence.oom_kills > 0 or _build_out_of_memory(evidence.pod) is not None:
        return f"{_memory_text(evidence.oom_kills)}, and the script went on"
    return ""


def _memory_text(kills: int) -> str:
    killed = f"{kills} processes were" if kills > 1 else "a process was"
    return f"out of memory: {killed} killed at the container's memory limit"


def _build_out_of_memory(fate: PodFate | None) -> EndedContainer | None:
    ended = fate.ended if fate else ()
    return next((each for each in ended if each.name == "build" and each.reason == "OOMKilled"), None)


def _ended(fate: PodFate, name: str) -> EndedContainer | None:
    return next((each for each in fate.ended if each.name == name), None)


def _beyond_own_limits(fate: PodFate) -> Ruling | None:
    if not fate.own_limit:
        return None
    return _script_failure("run.disk", f"evicted for using too much disk: {fate.message.strip()}")


def _own_deadline(fate: PodFate) -> Ruling | None:
    if fate.reason != "DeadlineExceeded":
        return None
    message = f"{_pod(fate)} ran longer than its activeDeadlineSeconds"
    return Ruling("run.timeout", Outcome.failure(JobTimeoutError(message)))


def _disrupted(fate: PodFate) -> Ruling | None:
    if not fate.disruption:
        return None
    cause = _DISRUPTIONS.get(fate.disruption, "node.evicted")
    return _system_failure(cause, f'{_pod(fate)} is disrupted: reason "{fate.disruption}", message "{fate.message}"')


def _failed_with_reason(fate: PodFate) -> Ruling | None:
    if not fate.reason:
        return None
    cause = _POD_REASONS.get(fate.reason, "pod.failed")
    return _system_failure(cause, f"{_pod(fate)} failed: {fate.reason}: {fate.message.strip()}".rstrip(": "))


def _killed_for_memory(fate: PodFate) -> Ruling | None:
    ended = _build_out_of_memory(fate)
    # With code 0 a child was killed and the main process lived on, so memory is not what ended the container.
    if ended is None or ended.exit_code == 0:
        return None
    return _script_failure("run.oom", ended.sentence, exit_code=ended.exit_code)


def _deleted(fate: PodFate) -> Ruling | None:
    return _system_failure("pod.deleted", f"{_pod(fate)} is being deleted") if fate.deleted else None


def _gone(fate: PodFate) -> Ruling | None:
    return _system_failure("pod.gone", f'pods "{fate.name.rpartition("/")[2]}" not found') if fate.gone else None


def _unknown_to_the_node(fate: PodFate) -> Ruling | None:
    ended = _ended(fate, "build")
    if ended is None or ended.reason != "ContainerStatusUnknown":
        return None
    return _system_failure("node.lost", f"{ended.sentence}: the node lost sight of the container")


def _helper_ended(fate: PodFate) -> Ruling | None:
    ended = _ended(fate, "helper")
    if ended is None:
        return None
    return _system_failure("helper.oom" if ended.reason == "OOMKilled" else "helper.died", ended.sentence)


def _build_ended(fate: PodFate) -> Ruling | None:
    ended = _ended(fate, "build")
    return _script_failure("run.container_ended", ended.sentence, exit_code=ended.exit_code) if ended else None


def _phase_over(fate: PodFate) -> Ruling | None:
    if fate.phase not in ("Failed", "Succeeded", "Unknown"):
        return None
    cause = "node.lost" if fate.phase == "Unknown" else "pod.failed"
    return _system_failure(cause, f"{_pod(fate)} is in phase {fate.phase}: {fate.message.strip()}".rstrip(": "))


_POD_RULES: tuple[Callable[[PodFate], Ruling | None], ...] = (
    _beyond_own_limits,
    _own_deadline,
    _disrupted,
    _failed_with_reason,
    _killed_for_memory,
    _deleted,
    _gone,
    _unknown_to_the_node,
    _helper_ended,
    _build_ended,
    _phase_over,
)

_DISRUPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "EvictionByEvictionAPI": "node.evicted",
        "PreemptionByScheduler": "node.preempted",
        "DeletionByTaintManager": "node.evicted",
        "DeletionByPodGC": "node.lost",
        "TerminationByKubelet": "node.evicted",
    }
)
_POD_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "Evicted": "node.evicted",
        "Preempting": "node.preempted",
        "NodeLost": "node.lost",
        "NodeShutdown": "node.shutdown",
        "Shutdown": "node.shutdown",
        "Terminated": "node.shutdown",
    }
)


def _pod(fate: PodFate) -> str:
    return f'pod "{fate.name}"'


def _script_failure(cause: str, message: str, *, exit_code: int = KILLED_EXIT_CODE) -> Ruling:
    code = ScriptError(exit_code).exit_code
    return Ruling(cause, Outcome("failed", FailureReason.SCRIPT_FAILURE, exit_code=code, message=message))


def _system_failure(cause: str, message: str) -> Ruling:
    return Ruling(cause, Outcome("failed", FailureReason.RUNNER_SYSTEM_FAILURE, message=message))
