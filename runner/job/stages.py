"""The stages of a job: their names, where they run, and which comes next.

`Plan` is a pure machine. It is asked with the results so far and answers with the next run, or None when nothing is
left to do. Whoever drives it runs what it says, skips what has no script, and adds a `StageResult` for each. Nothing
here waits: a run carries the seconds to wait before it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from runner.job.outcome import JobCanceledError, JobError, JobTimeoutError, Outcome, RunnerInterruptedError
from runner.job.payload import Job
from runner.job.settings import JobSettings


class Stage(StrEnum):
    """GitLab Runner's names of stages, which are the names of log sections and script files too."""

    RESOLVE_SECRETS = "resolve_secrets"
    """A section only: no script belongs to it."""
    PREPARE_EXECUTOR = "prepare_executor"
    """A section only: no script belongs to it."""
    HEALTH_CHECK = "health_check"
    """Within the preparation, for services that name a port to wait for."""
    PREPARE_SCRIPT = "prepare_script"
    GET_SOURCES = "get_sources"
    CLEAR_WORKTREE = "clear_worktree"
    RESTORE_CACHE = "restore_cache"
    DOWNLOAD_ARTIFACTS = "download_artifacts"
    STEP_SCRIPT = "step_script"
    STEP_RELEASE = "step_release"
    AFTER_SCRIPT = "after_script"
    ARCHIVE_CACHE = "archive_cache"
    ARCHIVE_CACHE_ON_FAILURE = "archive_cache_on_failure"
    UPLOAD_ARTIFACTS_ON_SUCCESS = "upload_artifacts_on_success"
    UPLOAD_ARTIFACTS_ON_FAILURE = "upload_artifacts_on_failure"
    CLEANUP_FILE_VARIABLES = "cleanup_file_variables"


_TITLES: Mapping[str, str] = MappingProxyType(
    {
        Stage.RESOLVE_SECRETS: "Resolving secrets",
        Stage.PREPARE_EXECUTOR: 'Preparing the "kubernetes" executor',
        Stage.HEALTH_CHECK: "Waiting for services",
        Stage.PREPARE_SCRIPT: "Preparing environment",
        Stage.GET_SOURCES: "Getting source from Git repository",
        Stage.CLEAR_WORKTREE: "Deleting all tracked and untracked files due to source fetch failure",
        Stage.RESTORE_CACHE: "Restoring cache",
        Stage.DOWNLOAD_ARTIFACTS: "Downloading artifacts",
        Stage.AFTER_SCRIPT: "Running after_script",
        Stage.ARCHIVE_CACHE: "Saving cache for successful job",
        Stage.ARCHIVE_CACHE_ON_FAILURE: "Saving cache for failed job",
        Stage.UPLOAD_ARTIFACTS_ON_SUCCESS: "Uploading artifacts for successful job",
        Stage.UPLOAD_ARTIFACTS_ON_FAILURE: "Uploading artifacts for failed job",
        Stage.CLEANUP_FILE_VARIABLES: "Cleaning up project directory and file based variables",
    }
)


def step_stage(step_name: str) -> str:
    """The stage of a step of the payload: `step_` and the name in lower case.

    What may not stand in an attempt's name becomes `_`; GitLab's own names (`script`, `release`) have nothing of it.
    """
    return "step_" + re.sub(r"[^a-z0-9_]", "_", step_name.lower())


def title(stage: str) -> str:
    """The headline of a stage in the job log."""
    return _TITLES.get(stage, f'Executing "{stage}" stage of the job script')


def container(stage: str) -> str:
    """The container a stage runs in: the user's commands in `build`, everything else in `helper`."""
    return "build" if stage.startswith("step_") or stage == Stage.AFTER_SCRIPT else "helper"


def attempt(stage: str, n: int) -> str:
    """Name the n-th attempt (from 1) at a stage, such as `get_sources-1`."""
    return f"{stage}-{n}"


def stage_of(attempt: str) -> str:
    """The stage of an attempt's name."""
    return attempt.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class StageRun:
    """What to do next: an attempt at a stage.

    `retry` asks for the warning that announces another attempt, `delay` is how many seconds to wait before it.
    """

    stage: str
    n: int = 1
    retry: bool = False
    delay: float = 0.0

    @property
    def attempt(self) -> str:
        """The attempt's name, unique in its job."""
        return attempt(self.stage, self.n)


@dataclass(frozen=True, slots=True)
class StageResult:
    """How one attempt at a stage went. A stage that was skipped for want of a script has no error.

    `final` ends the job at once: its time is over, it was aborted, the pod is gone, or `get_sources_timeout` passed.
    No stage follows then, not even the cleanup, because there is nothing left to run one in or no time for it.
    """

    stage: str
    error: JobError | None = None
    final: bool = False


_SOURCES = (Stage.GET_SOURCES, Stage.RESTORE_CACHE, Stage.DOWNLOAD_ARTIFACTS)


@dataclass(frozen=True, slots=True)
class Plan:
    """The order of one job's stages and which of them still run after a failure.

    GitLab Runner's rules: preparation, sources, cache, artifacts (each up to its attempts); then the steps, until one
    fails; then after_script, whatever the steps did; then cache and artifacts of a good or a failed job; then cleanup.
    When the preparation fails nothing follows; when the sources fail neither steps nor after_script do.
    """

    steps: tuple[str, ...] = (Stage.STEP_SCRIPT,)
    """Stages of the user's steps in order, each once."""
    after_script: bool = False
    attempts: Mapping[str, int] = field(default_factory=dict)
    """How often a stage may be tried; once if it is not named."""
    ignore_after_script: bool = True
    """A failed after_script does not fail the job."""
    exponential_backoff: bool = True

    @classmethod
    def of(cls, job: Job, settings: JobSettings, *, exponential_backoff: bool = True) -> "Plan":
        """Plan a job; `exponential_backoff` is `FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY`."""
        after_script = job.step(Stage.AFTER_SCRIPT)
        names = (step.name for step in job.steps if step.name != Stage.AFTER_SCRIPT)
        return cls(
            steps=tuple(dict.fromkeys(step_stage(name) for name in names)),
            after_script=after_script is not None and bool(after_script.script),
            attempts=MappingProxyType(
                {
                    Stage.GET_SOURCES: settings.get_sources_attempts,
                    Stage.RESTORE_CACHE: settings.restore_cache_attempts,
                    Stage.DOWNLOAD_ARTIFACTS: settings.artifact_download_attempts,
                }
            ),
            ignore_after_script=settings.after_script_ignore_errors,
            exponential_backoff=exponential_backoff,
        )

    def next_stage(self, results: Sequence[StageResult]) -> StageRun | None:
        """Say what runs next after these results, None when the job is through."""
        if any(result.final for result in results):
            return None
        book = _Book(results)
        if Stage.PREPARE_SCRIPT not in book:
            return StageRun(Stage.PREPARE_SCRIPT)
        if book.failed(Stage.PREPARE_SCRIPT):
            return None
        return self._next_source(book) or self._next_script(book) or self._next_ending(book)

    def job_status(self, results: Sequence[StageResult]) -> str:
        """`CI_JOB_STATUS` for after_script and later: how preparation and steps went, after_script left aside."""
        error = _Book(results).first_error((Stage.PREPARE_SCRIPT, *_SOURCES, *self.steps))
        if isinstance(error, JobCanceledError):
            return "canceled"
        if isinstance(error, JobTimeoutError):
            return "timedout"
        return "failed" if error else "success"

    def error(self, results: Sequence[StageResult]) -> JobError | None:
        """The error the job ends with: the script's before after_script's, that before the cache's and artifacts'.

        A stage that ended the job at once decides alone, unless the script had failed before. A failed preparation is
        explained in GitLab Runner's words.
        """
        book = _Book(results)
        endings = (
            Stage.ARCHIVE_CACHE,
            Stage.ARCHIVE_CACHE_ON_FAILURE,
            Stage.UPLOAD_ARTIFACTS_ON_SUCCESS,
            Stage.UPLOAD_ARTIFACTS_ON_FAILURE,
        )
        final = next((result.error for result in results if result.final and result.error), None)
        return self._work_error(book) or final or book.first_error(endings)

    def _work_error(self, book: "_Book") -> JobError | None:
        """What went wrong before cache and artifacts are saved."""
        if unprepared := book.first_error((Stage.PREPARE_SCRIPT,)):
            return _explained(unprepared)
        work = (*_SOURCES, *self.steps)
        return book.first_error(work if self.ignore_after_script else (*work, Stage.AFTER_SCRIPT))

    def _next_source(self, book: "_Book") -> StageRun | None:
        """The next attempt at sources, cache or artifacts, unless one of them has failed for good."""
        for stage in _SOURCES:
            tried = book.count(stage)
            if tried and not book.failed(stage):
                continue
            if tried >= self.attempts.get(stage, 1):
                return None
            return self._attempt(stage, tried, book)
        return None

    def _attempt(self, stage: Stage, tried: int, book: "_Book") -> StageRun:
        if not tried:
            return StageRun(stage)
        if stage is Stage.GET_SOURCES and tried == 1:
            if Stage.CLEAR_WORKTREE not in book:
                return StageRun(Stage.CLEAR_WORKTREE, retry=True, delay=self._delay(tried))
            return StageRun(stage, tried + 1)
        return StageRun(stage, tried + 1, retry=True, delay=self._delay(tried))

    def _delay(self, tried: int) -> float:
        """Seconds before another attempt: 5 s doubling up to 5 min, or 1 s doubling up to 5 s."""
        if self.exponential_backoff:
            return min(5.0 * 2.0 ** (tried - 1), 300.0)
        return min(2.0 ** (tried - 1), 5.0)

    def _next_script(self, book: "_Book") -> StageRun | None:
        """The next of the user's scripts, if everything before them went well."""
        if book.first_error(_SOURCES):
            return None
        for stage in self.steps:
            if stage not in book:
                return StageRun(stage)
            if book.failed(stage):
                break
        return StageRun(Stage.AFTER_SCRIPT) if self.after_script and Stage.AFTER_SCRIPT not in book else None

    def _next_ending(self, book: "_Book") -> StageRun | None:
        """Cache, artifacts and cleanup. A cache that could not be saved does not make a good job a failed one here."""
        failed = self._work_error(book) is not None
        endings = (
            Stage.ARCHIVE_CACHE_ON_FAILURE if failed else Stage.ARCHIVE_CACHE,
            Stage.UPLOAD_ARTIFACTS_ON_FAILURE if failed else Stage.UPLOAD_ARTIFACTS_ON_SUCCESS,
            Stage.CLEANUP_FILE_VARIABLES,
        )
        return next((StageRun(stage) for stage in endings if stage not in book), None)


_PROFILE_ADVICE = "Check https://docs.gitlab.com/runner/shells/#shell-profile-loading for more information"


def _explained(error: JobError) -> JobError:
    """Say where the error of a preparation comes from; a job that was stopped needs no advice."""
    if isinstance(error, JobCanceledError | JobTimeoutError | RunnerInterruptedError):
        return error
    message = f"prepare environment: {error.message}. {_PROFILE_ADVICE}"
    return JobError.of(Outcome("failed", error.reason, error.exit_code, message)) or error


class _Book:
    """The results so far, by stage; the last attempt at a stage decides how it went."""

    def __init__(self, results: Iterable[StageResult]) -> None:
        self._by_stage: dict[str, list[StageResult]] = {}
        for result in results:
            self._by_stage.setdefault(result.stage, []).append(result)

    def __contains__(self, stage: str) -> bool:
        return stage in self._by_stage

    def count(self, stage: str) -> int:
        return len(self._by_stage.get(stage, ()))

    def failed(self, stage: str) -> bool:
        return self.first_error((stage,)) is not None

    def first_error(self, stages: Iterable[str]) -> JobError | None:
        """The error of the first of these stages that failed."""
        last = (self._by_stage[stage][-1].error for stage in stages if stage in self._by_stage)
        return next((error for error in last if error), None)
