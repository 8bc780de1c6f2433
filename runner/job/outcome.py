"""How a job can end, and what GitLab is told about it.

    JobError                        ends one job; carries exactly one reason
    ├── ScriptError                 script_failure                      a script of the job ended with a code
    ├── JobTimeoutError             job_execution_timeout               a limit on time was reached
    ├── ImagePullError              image_pull_failure                  an image could not be had
    ├── JobConfigurationError       runner_configuration_error          the job or the runner asks for what cannot be
    ├── ExternalDependencyError     runner_external_dependency_failure  a registry or another server is away
    ├── RunnerInterruptedError      runner_interrupted                  this process was told to stop
    ├── JobCanceledError            job_canceled (internal)             GitLab cancelled it
    └── RunnerSystemError           runner_system_failure               our side: pod lost, API away

What a job can provoke is never `runner_system_failure`: a user who reads "system failure" looks for the fault at
the operator's, and retry rules repeat the job for nothing. An exception that is no `JobError` is our own fault.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Literal

from runner.job.durations import format_duration


class FailureReason(StrEnum):
    """GitLab's words for why a job failed."""

    SCRIPT_FAILURE = "script_failure"
    RUNNER_SYSTEM_FAILURE = "runner_system_failure"
    JOB_EXECUTION_TIMEOUT = "job_execution_timeout"
    IMAGE_PULL_FAILURE = "image_pull_failure"
    UNKNOWN_FAILURE = "unknown_failure"
    RUNNER_CONFIGURATION_ERROR = "runner_configuration_error"
    RUNNER_EXTERNAL_DEPENDENCY_FAILURE = "runner_external_dependency_failure"
    RUNNER_INTERRUPTED = "runner_interrupted"
    JOB_CANCELED = "job_canceled"
    """Ours alone; no GitLab lists it, so `supported_reason` turns it into `unknown_failure`."""


class JobError(Exception):
    """Ends one job.

    The message is what the user reads after `Job failed: `; `reason` is what GitLab counts; `exit_code` goes into
    the final update unless it is 0. Raise one of the subclasses, which fix the reason.
    """

    default_reason: ClassVar[FailureReason] = FailureReason.UNKNOWN_FAILURE

    def __init__(self, message: str, *, exit_code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.default_reason
        self.exit_code = exit_code

    @classmethod
    def of(cls, outcome: "Outcome") -> "JobError | None":
        """The error that ends a job in this way, of the class that its reason names; None for a success.

        The way back is `outcome_of`. A failure without a reason is the script's, as GitLab takes it.
        """
        if outcome.state == "success":
            return None
        kind = _ERRORS.get(outcome.reason or FailureReason.SCRIPT_FAILURE, JobError)
        error = kind.__new__(kind)
        # Not the class's own constructor: some make their message, here it is given.
        JobError.__init__(error, outcome.message, exit_code=outcome.exit_code)
        return error


class ScriptError(JobError):
    """A script of the job ended with a code other than 0; the code is reported as a signed 32-bit number."""

    default_reason = FailureReason.SCRIPT_FAILURE

    def __init__(self, exit_code: int) -> None:
        signed = (exit_code + 2**31) % 2**32 - 2**31
        super().__init__(f"command terminated with exit code {signed}", exit_code=signed)


class JobTimeoutError(JobError):
    """A limit on time was reached: the job's own, the script's, `prepare_timeout` or `get_sources_timeout`."""

    default_reason = FailureReason.JOB_EXECUTION_TIMEOUT

    @classmethod
    def after(cls, timeout: float) -> "JobTimeoutError":
        """The job's own time is over; the odd word "seconds" is what users' log parsers know."""
        return cls(f"execution took longer than {format_duration(timeout)} seconds")


class ImagePullError(JobError):
    """An image could not be pulled and nothing says whose fault it is."""

    default_reason = FailureReason.IMAGE_PULL_FAILURE


class JobConfigurationError(JobError):
    """The job, or the runner's configuration, asks for something that is not allowed or cannot be."""

    default_reason = FailureReason.RUNNER_CONFIGURATION_ERROR


class ExternalDependencyError(JobError):
    """A server that is neither GitLab nor the cluster did not answer: a registry, a store, a secrets provider."""

    default_reason = FailureReason.RUNNER_EXTERNAL_DEPENDENCY_FAILURE


class RunnerInterruptedError(JobError):
    """This process was told to stop while the job ran; `signal` is Go's word for it, such as `terminated`."""

    default_reason = FailureReason.RUNNER_INTERRUPTED

    def __init__(self, signal: str = "terminated") -> None:
        super().__init__(f"aborted: {signal}")


class JobCanceledError(JobError):
    """GitLab cancelled the job."""

    default_reason = FailureReason.JOB_CANCELED

    def __init__(self, message: str = "canceled") -> None:
        super().__init__(message)


class RunnerSystemError(JobError):
    """Something on our side failed: the pod was lost, it never started, the API server is away."""

    default_reason = FailureReason.RUNNER_SYSTEM_FAILURE


_ERRORS: Mapping[FailureReason, type[JobError]] = MappingProxyType(
    {kind.default_reason: kind for kind in JobError.__subclasses__()}
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: what the last lines of its log and the final update say."""

    state: Literal["success", "failed"]
    reason: FailureReason | None
    exit_code: int = 0
    message: str = ""

    @classmethod
    def success(cls) -> "Outcome":
        """The one good end."""
        return cls(state="success", reason=None)

    @classmethod
    def failure(cls, error: JobError) -> "Outcome":
        """The end that this error brings."""
        return cls(state="failed", reason=error.reason, exit_code=error.exit_code, message=error.message)


_RANK: tuple[type[BaseException], ...] = (
    JobCanceledError,
    JobTimeoutError,
    RunnerInterruptedError,
    JobError,
    BaseException,
)
"""Who wins when several errors end a job at once.

A cancelled job that also hit a broken pipe was cancelled; a job out of time whose teardown failed was out of time."""


def outcome_of(exc: BaseException | None) -> Outcome:
    """Tell how a job ended from what its run raised; None is success.

    Exception groups are flattened (a task group raises one even for a single error) and the first error of the best
    rank is taken. An exception that is no `JobError` is a fault of this program: its text may hold anything, so only
    its class is told, and the traceback belongs in the manager's log.
    """
    if exc is None:
        return Outcome.success()
    errors = tuple(leaf_errors(exc))
    first = next(error for kind in _RANK for error in errors if isinstance(error, kind))
    if isinstance(first, JobError):
        return Outcome.failure(first)
    return Outcome(
        state="failed",
        reason=FailureReason.RUNNER_SYSTEM_FAILURE,
        message=f"internal error: {type(first).__name__} (the runner's own log has the details)",
    )


def leaf_errors(exc: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a tree of exception groups, in the order in which they were raised.

    Walks with a stack of its own: a group may nest deeper than Python recurses.
    """
    waiting = [exc]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))
        else:
            yield error


_ALWAYS_SUPPORTED = frozenset(
    {FailureReason.SCRIPT_FAILURE, FailureReason.RUNNER_SYSTEM_FAILURE, FailureReason.JOB_EXECUTION_TIMEOUT}
)
_OLDER_WORD: Mapping[str, str] = MappingProxyType(
    {
        FailureReason.IMAGE_PULL_FAILURE: FailureReason.RUNNER_SYSTEM_FAILURE,
        FailureReason.RUNNER_CONFIGURATION_ERROR: FailureReason.SCRIPT_FAILURE,
        FailureReason.RUNNER_EXTERNAL_DEPENDENCY_FAILURE: FailureReason.RUNNER_SYSTEM_FAILURE,
    }
)
"""What a GitLab that does not know a reason is told instead. Every value is always supported, so one step is enough."""


def supported_reason(reason: FailureReason | str | None, supported: Iterable[str]) -> str:
    """Say a reason in the words this GitLab knows: `features.failure_reasons` of the job.

    GitLab refuses the final update when it does not know the reason, and the job would hang until its own time-out.
    """
    if not reason:
        return FailureReason.SCRIPT_FAILURE.value
    if reason in _ALWAYS_SUPPORTED or reason in frozenset(supported):
        return str(reason)
    return str(_OLDER_WORD.get(reason, FailureReason.UNKNOWN_FAILURE))


def trailer(outcome: Outcome) -> tuple[Literal["green", "error"], str]:
    """The last line of the job log: its kind of line and its text, without colour and prefix."""
    if outcome.state == "success":
        return "green", "Job succeeded"
    fault = " (system failure)" if outcome.reason == FailureReason.RUNNER_SYSTEM_FAILURE else ""
    return "error", f"Job failed{fault}: {outcome.message}"
