"""Ends of a job."""

import pytest

from runner.job.outcome import (
    ExternalDependencyError,
    FailureReason,
    ImagePullError,
    JobCanceledError,
    JobConfigurationError,
    JobError,
    JobTimeoutError,
    Outcome,
    RunnerInterruptedError,
    RunnerSystemError,
    ScriptError,
    leaf_errors,
    outcome_of,
    supported_reason,
    trailer,
)

INTERNAL = Outcome(
    "failed", FailureReason.RUNNER_SYSTEM_FAILURE, 0, "internal error: KeyError (the runner's own log has the details)"
)


@pytest.mark.parametrize(
    ("error", "reason", "exit_code", "line"),
    [
        (ScriptError(3), "script_failure", 3, "Job failed: command terminated with exit code 3"),
        (ScriptError(4294967295), "script_failure", -1, "Job failed: command terminated with exit code -1"),
        (
            JobTimeoutError.after(3600.0),
            "job_execution_timeout",
            0,
            "Job failed: execution took longer than 1h0m0s seconds",
        ),
        (ImagePullError("no image"), "image_pull_failure", 0, "Job failed: no image"),
        (JobConfigurationError("no", exit_code=3), "runner_configuration_error", 3, "Job failed: no"),
        (ExternalDependencyError("away"), "runner_external_dependency_failure", 0, "Job failed: away"),
        (RunnerInterruptedError("quit"), "runner_interrupted", 0, "Job failed: aborted: quit"),
        (RunnerInterruptedError(), "runner_interrupted", 0, "Job failed: aborted: terminated"),
        (JobCanceledError(), "job_canceled", 0, "Job failed: canceled"),
        (RunnerSystemError("pod lost"), "runner_system_failure", 0, "Job failed (system failure): pod lost"),
        (JobError("odd"), "unknown_failure", 0, "Job failed: odd"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, JobError) else "",
)
def test_error_becomes_the_outcome_and_last_line_that_users_know(
    error: JobError, reason: str, exit_code: int, line: str
) -> None:
    """Each class has its one reason, and its message stands in the log's last line."""
    outcome = outcome_of(error)
    assert outcome == Outcome("failed", FailureReason(reason), exit_code, str(error))
    assert trailer(outcome) == ("error", line)


def test_job_without_an_error_is_a_success() -> None:
    """None is the one thing that means success."""
    assert outcome_of(None) == Outcome.success() == Outcome("success", None, 0, "")
    assert trailer(Outcome.success()) == ("green", "Job succeeded")


def test_exception_that_is_no_job_error_is_ours_and_its_text_is_not_told() -> None:
    """A fault of this program is a system failure; what its message holds stays out of the job log."""
    assert outcome_of(KeyError("glpat-secret")) == INTERNAL


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([KeyError(), ScriptError(1), JobTimeoutError("t"), JobCanceledError()], "job_canceled"),
        ([KeyError(), RunnerInterruptedError(), ScriptError(1), JobTimeoutError("t")], "job_execution_timeout"),
        ([KeyError(), ScriptError(1), RunnerInterruptedError()], "runner_interrupted"),
        ([KeyError(), ImagePullError("i"), ScriptError(1)], "image_pull_failure"),
        ([KeyError(), ValueError()], "runner_system_failure"),
    ],
    ids=["canceled", "timeout", "interrupted", "first job error", "rest"],
)
def test_one_of_several_errors_is_told_in_the_written_order(errors: list[Exception], expected: str) -> None:
    """Canceled, timeout, interrupted, another job error, the rest: whatever the order in which they were raised."""
    for group in (ExceptionGroup("", errors), ExceptionGroup("", [ExceptionGroup("", errors[:2]), *errors[2:]])):
        assert outcome_of(group).reason == expected


def test_leaf_errors_come_in_the_order_of_raising() -> None:
    """Groups are walked from left to right."""
    first, second, third = KeyError(), ValueError(), TypeError()
    group = ExceptionGroup("", [ExceptionGroup("", [first, second]), third])
    assert list(leaf_errors(group)) == [first, second, third]


def test_leaf_errors_bear_groups_deeper_than_the_stack() -> None:
    """A thousand nested task groups are no fault of their own."""
    error: Exception = KeyError()
    for _ in range(2000):
        error = ExceptionGroup("", [error])
    assert outcome_of(error) == INTERNAL


def test_base_exceptions_are_rest() -> None:
    """An interrupt that comes this far is no success."""
    assert outcome_of(KeyboardInterrupt()).reason == FailureReason.RUNNER_SYSTEM_FAILURE


@pytest.mark.parametrize("reason", list(FailureReason))
def test_error_of_an_outcome_leads_back_to_it(reason: FailureReason) -> None:
    """An outcome turned into an error and back is the same, so either may travel."""
    outcome = Outcome("failed", reason, 7, "why")
    error = JobError.of(outcome)
    assert error is not None
    assert outcome_of(error) == outcome
    assert str(error) == "why"


def test_error_of_an_outcome_has_the_class_of_its_reason() -> None:
    """Whoever asks with isinstance whether a job was canceled gets the right answer."""
    assert isinstance(JobError.of(Outcome("failed", FailureReason.JOB_CANCELED)), JobCanceledError)
    assert isinstance(JobError.of(Outcome("failed", None)), ScriptError)


def test_error_of_a_success_is_none() -> None:
    """A success has no error."""
    assert JobError.of(Outcome.success()) is None


@pytest.mark.parametrize(
    ("reason", "supported", "said"),
    [
        (None, (), "script_failure"),
        ("", (), "script_failure"),
        ("script_failure", (), "script_failure"),
        ("runner_system_failure", (), "runner_system_failure"),
        ("job_execution_timeout", (), "job_execution_timeout"),
        ("image_pull_failure", (), "runner_system_failure"),
        ("image_pull_failure", ("image_pull_failure",), "image_pull_failure"),
        ("runner_configuration_error", (), "script_failure"),
        ("runner_configuration_error", ("runner_configuration_error",), "runner_configuration_error"),
        ("runner_external_dependency_failure", (), "runner_system_failure"),
        ("runner_interrupted", (), "unknown_failure"),
        ("runner_interrupted", ("runner_interrupted",), "runner_interrupted"),
        ("job_canceled", ("unknown_failure",), "unknown_failure"),
        ("unknown_failure", (), "unknown_failure"),
    ],
)
def test_reason_is_said_in_words_that_gitlab_knows(reason: str | None, supported: tuple[str, ...], said: str) -> None:
    """An older GitLab gets an older word; no GitLab gets one that it would refuse."""
    assert supported_reason(reason, supported) == said
    assert type(supported_reason(reason, supported)) is str
