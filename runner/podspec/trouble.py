"""Why a pod will not run its job, and what GitLab is told about it.

Asked while the pod starts; once stages run the verdict decides. What a job can cause (an image that is not there, a
user that may not write, a memory limit of a few bytes) is never `runner_system_failure`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from runner.job.outcome import FailureReason, JobError, Outcome
from runner.job.verdict import Ruling, pod_ruling
from runner.podspec.manifest import Manifest
from runner.podspec.pending import pending_sentence
from runner.podspec.status import ContainerView, PodView, pod_fate


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod will not run its job."""

    cause: str
    """A stable code for metrics and documentation, such as `pull.denied`."""
    reason: FailureReason
    message: str
    container: str = ""
    """The container at fault, where it is one."""
    image: str = ""
    transient: bool = False
    """Nobody refused: the same pull may work a moment later."""
    exit_code: int = 0

    @property
    def is_pull(self) -> bool:
        """True if another pull policy may help."""
        return self.cause.startswith("pull.") and self.cause != "pull.invalid_name"

    def error(self) -> JobError:
        """The error that ends the job with this reason and message."""
        where = f'pulling image "{self.image}" for container {self.container}: ' if self.is_pull else ""
        outcome = Outcome("failed", self.reason, exit_code=self.exit_code, message=f"{where}{self.message}")
        error = JobError.of(outcome)
        assert error is not None  # only a success has none
        return error


def trouble(view: PodView, events: Sequence[Manifest] = ()) -> Trouble | None:
    """Say what keeps a starting pod from ever running its job; None while there is hope.

    The first sight of a failed pull is final, as in GitLab Runner: another try is what pull policies are for. A reason
    that is not known here is waited out until `poll_timeout`.
    """
    ruling = pod_ruling(pod_fate(view))
    if ruling is not None:
        return _ended_early(view, ruling)
    waiting = (found for container in view.containers if (found := _waiting(container)) is not None)
    return next(waiting, None) or _no_user_namespaces(events)


def start_timeout(view: PodView, events: Sequence[Manifest] = ()) -> Trouble:
    """Say that the pod took longer than `poll_timeout`, with the reason that stood in the way last.

    The cluster's fault, as in GitLab Runner, unless a container could not be made: that is the image's or the job's.
    """
    message = f"timed out waiting for pod to start (last phase: {view.phase})"
    if sentence := pending_sentence(view, events):
        message = f"{message}: {sentence}"
    stuck = next((each for each in view.containers if each.waiting_reason in _UNMADE), None)
    if stuck is None:
        return Trouble("start.timeout", FailureReason.RUNNER_SYSTEM_FAILURE, message)
    return Trouble(
        "start.container",
        FailureReason.RUNNER_CONFIGURATION_ERROR,
        message,
        container=stuck.name,
        image=stuck.image,
    )


def _ended_early(view: PodView, ruling: Ruling) -> Trouble:
    """Turn a ruling over an ended pod into one over a pod that never began."""
    reason = ruling.outcome.reason or FailureReason.RUNNER_SYSTEM_FAILURE
    plain = Trouble(ruling.cause, reason, ruling.outcome.message, exit_code=ruling.outcome.exit_code)
    if ruling.cause not in _ENDED_CONTAINERS:
        return plain
    unstartable = next((each for each in view.containers if _never_started(each)), None)
    if unstartable is not None:
        return _cannot_start(unstartable)
    if view.phase == "Succeeded":
        return replace(
            plain, cause="pod.ended", message=f'pod "{view.path}" already succeeded before it begins running'
        )
    build = view.container("build")
    return _cannot_start(build) if ruling.cause == "run.container_ended" and build else plain


_ENDED_CONTAINERS = frozenset({"run.container_ended", "helper.died", "pod.failed"})
_UNMADE = frozenset({"CreateContainerError", "RunContainerError"})
_START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})


def _never_started(container: ContainerView) -> bool:
    """An init container that failed keeps all others from starting."""
    ended = container.ended
    return ended is not None and (ended.reason in _START_ERRORS or (container.init and ended.exit_code != 0))


def _cannot_start(container: ContainerView) -> Trouble:
    """The image, its user or its entrypoint cannot run what a job needs: a shell, for one."""
    sentence = container.ended.sentence if container.ended else ""
    return Trouble(
        "start.entrypoint",
        FailureReason.RUNNER_CONFIGURATION_ERROR,
        f"{sentence}: {container.ended_message}" if container.ended_message else sentence,
        container=container.name,
        image=container.image,
    )


def _waiting(container: ContainerView) -> Trouble | None:
    reason = container.waiting_reason
    message = without_credentials(container.waiting_message) or reason
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        return _pull_failure(container, message)
    known = _WAITING.get(reason)
    if known is None:
        return None
    text = message if reason != "CrashLoopBackOff" else container.last_message or message
    return Trouble(known.cause, known.reason, f"{known.words}: {text}", container=container.name, image=container.image)


@dataclass(frozen=True, slots=True)
class _Fatal:
    cause: str
    reason: FailureReason
    words: str


_WAITING: Mapping[str, _Fatal] = MappingProxyType(
    {
        "InvalidImageName": _Fatal("pull.invalid_name", FailureReason.RUNNER_CONFIGURATION_ERROR, "image pull failed"),
        # GitLab Runner waits here until poll_timeout, for an image that cannot come.
        "ErrImageNeverPull": _Fatal("pull.never", FailureReason.IMAGE_PULL_FAILURE, "image pull failed"),
        "CrashLoopBackOff": _Fatal(
            "start.crashloop", FailureReason.RUNNER_CONFIGURATION_ERROR, "container crashes again and again"
        ),
        "CreateContainerConfigError": _Fatal(
            "start.config", FailureReason.RUNNER_CONFIGURATION_ERROR, "container configuration error"
        ),
    }
)

_UNREACHABLE = (
    "dial tcp",
    "connection refused",
    "no such host",
    "i/o timeout",
    "tls handshake",
    "client.timeout exceeded",
    "request canceled",
    "connection reset",
)
_REFUSED = (
    "not found",
    "manifest unknown",
    "pull access denied",
    "access to the resource is denied",
    "no basic auth credentials",
    "repository does not exist or may require",
    "unauthorized",
    "authentication required",
)
_BUSY = re.compile(r"too ?many ?requests|\b429\b|\b50[0234]\b|service unavailable|bad gateway|gateway time-?out", re.I)


def _pull_failure(container: ContainerView, message: str) -> Trouble:
    cause, reason = _pull_class(message)
    return Trouble(
        cause,
        reason,
        f"image pull failed: {message}",
        container=container.name,
        image=container.image,
        transient=cause == "pull.unreachable" or _BUSY.search(message) is not None,
    )


def _pull_class(message: str) -> tuple[str, FailureReason]:
    """Classify kubelet's text: GitLab Runner's words in its order. Kubernetes gives no code for why a pull failed."""
    text = message.lower()
    if any(word in text for word in _UNREACHABLE):
        return "pull.unreachable", FailureReason.RUNNER_EXTERNAL_DEPENDENCY_FAILURE
    if any(word in text for word in _REFUSED):
        return "pull.refused", FailureReason.RUNNER_CONFIGURATION_ERROR
    return "pull.failed", FailureReason.IMAGE_PULL_FAILURE


def without_credentials(text: str) -> str:
    """Blot out user and password in the addresses of a text from the cluster."""
    return re.sub(r"//[^/@\s]+@", "//[MASKED]@", text)


def _no_user_namespaces(events: Sequence[Manifest]) -> Trouble | None:
    """A pod that asks for its own user namespace on a node without them waits for ever; only the event tells."""
    for event in events:
        message = str(event.get("message") or "")
        if event.get("reason") == "FailedCreatePodSandBox" and re.search(r"user.?namespaces?", message, re.I):
            return Trouble("start.user_namespace", FailureReason.RUNNER_CONFIGURATION_ERROR, message)
    return None
