"""What trouble with the API server means for a job: its reason, and a sentence that names the way out.

The one place where a KubeError becomes a JobError. What the job itself asked for is never the system's fault, also
where it asked by a variable that overwrites the configuration: then the sentence names the variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.job.outcome import JobConfigurationError, JobError, RunnerSystemError
from runner.kube.errors import (
    BadRequestError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
)
from runner.podspec.pending import rejection_sentence
from runner.podspec.quoting import shown

if TYPE_CHECKING:
    from runner.podspec.request import PodRequest

_PLACE = ("namespace", "service_account", "bearer_token")
"""Keys that decide where and as whom the API server is asked."""

_MOST_NAMED = 5


def refusal(error: KubeError, pod: PodRequest) -> JobError:
    """Say why the API server did not take a pod. What the job or the configuration asks for is not the system's fault;
    a quota that others have used up is, and may have room the next time.
    """
    sentence = rejection_sentence(error.message)
    if isinstance(error, ForbiddenError) and error.quota:
        return RunnerSystemError(f"the API server refuses the pod: {sentence}")
    by_admission = isinstance(error, ForbiddenError) and sentence != error.message
    if by_admission or isinstance(error, BadRequestError | InvalidError | NotFoundError):
        return JobConfigurationError(f"the API server refuses the pod: {sentence}{_whence(error, pod)}")
    return job_error(error, pod)


def job_error(error: KubeError, pod: PodRequest) -> JobError:
    """Say what any other trouble with the API server means."""
    if isinstance(error, ForbiddenError | UnauthorizedError) and any((key,) in pod.origins for key in _PLACE):
        return JobConfigurationError(f"the API server refuses: {error.message}{_whence(error, pod)}")
    if isinstance(error, ForbiddenError):
        return RunnerSystemError(f"{error.message} (`[runners.kubernetes]` needs a service account with this right)")
    return RunnerSystemError(str(error))


def _whence(error: KubeError, pod: PodRequest) -> str:
    """Name what may be at fault: the variables with which the job chose it, or the key that the operator set."""
    chosen = {path: variable for path, variable in pod.origins.items() if _concerns(path[0], error)}
    if chosen:
        named = [f"{'.'.join(map(shown, path))} by {shown(name)}" for path, name in list(chosen.items())[:_MOST_NAMED]]
        more = ", ..." if len(chosen) > _MOST_NAMED else ""
        return f" (the job's variables overwrite {', '.join(named)}{more})"
    if isinstance(error, NotFoundError):
        return f' (`namespace` in [runners.kubernetes] is "{pod.pod_namespace}")'
    return ""


def _concerns(key: str, error: KubeError) -> bool:
    if isinstance(error, NotFoundError):
        return key == "namespace"
    return (key in _PLACE) == isinstance(error, ForbiddenError | UnauthorizedError)
