"""Which jobs of a pipeline may start now, and how each ended: a pure machine over the jobs' states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runner.pipeline.model import LocalJob, Pipeline


class JobState(StrEnum):
    """Where a job stands."""

    CREATED = "created"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    WARNING = "warning"
    """Failed, and allowed to."""
    SKIPPED = "skipped"
    MANUAL = "manual"
    """Waits for somebody who asks for it by name."""


_GOOD = {JobState.SUCCESS, JobState.WARNING}
_OVER = {JobState.SUCCESS, JobState.WARNING, JobState.FAILED, JobState.SKIPPED, JobState.MANUAL}


@dataclass(slots=True)
class _Entry:
    job: LocalJob
    state: JobState = JobState.CREATED
    tries: int = 0


class Order:
    """The run of a pipeline. Jobs that are not wanted count as if they were not there."""

    def __init__(self, pipeline: Pipeline, wanted: Iterable[LocalJob], *, named: bool) -> None:
        """Begin;

        `named` says that the jobs were asked for one by one, so that manual ones run and nothing waits for others.
        """
        self._stages = pipeline.stages
        self._named = named
        self._entries = {job.name: _Entry(job) for job in wanted}

    @property
    def states(self) -> dict[str, JobState]:
        """How every job stands."""
        return {name: entry.state for name, entry in self._entries.items()}

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing can start any more."""
        return all(entry.state in _OVER for entry in self._entries.values())

    @property
    def failed(self) -> bool:
        """Whether a job failed that was not allowed to."""
        return any(entry.state is JobState.FAILED for entry in self._entries.values())

    def next_jobs(self) -> tuple[LocalJob, ...]:
        """Settle what is decided without running, and give the jobs that may start now; they count as running."""
        starting: list[LocalJob] = []
        changed = True
        while changed:
            changed = False
            for entry in self._entries.values():
                if entry.state is not JobState.CREATED:
                    continue
                decided = self._decide(entry.job)
                if decided is None:
                    continue
                entry.state = decided
                changed = True
                if decided is JobState.RUNNING:
                    entry.tries += 1
                    starting.append(entry.job)
        return tuple(starting)

    def finished(self, name: str, *, success: bool, reason: str = "", exit_code: int = 0) -> bool:
        """Book a job's end; true when it is to be tried again."""
        entry = self._entries[name]
        job = entry.job
        if success:
            entry.state = JobState.SUCCESS
            return False
        if entry.tries <= job.retries and _retried(job, reason):
            entry.state = JobState.CREATED
            return True
        allowed = job.allow_failure and (not job.allowed_exit_codes or exit_code in job.allowed_exit_codes)
        entry.state = JobState.WARNING if allowed else JobState.FAILED
        return False

    def _decide(self, job: LocalJob) -> JobState | None:
        if self._named:
            return JobState.RUNNING
        before = self._before(job)
        if any(entry.state not in _OVER for entry in before):
            return None
        if job.when == "manual":
            return JobState.MANUAL
        blocking = [entry for entry in before if entry.state is not JobState.MANUAL or not entry.job.allow_failure]
        good = all(entry.state in _GOOD for entry in blocking)
        failed = any(entry.state is JobState.FAILED for entry in blocking)
        starts = {"on_success": good, "delayed": good, "on_failure": failed, "always": True}[job.when]
        return JobState.RUNNING if starts else JobState.SKIPPED

    def _before(self, job: LocalJob) -> list[_Entry]:
        """The jobs that have to be over first: what it needs, or everything in earlier stages."""
        if job.needs is None:
            mine = self._stages.index(job.stage)
            return [entry for entry in self._entries.values() if self._stages.index(entry.job.stage) < mine]
        names = [need.job for need in job.needs]
        return [
            entry
            for name, entry in self._entries.items()
            if any(name == need or name.startswith((f"{need} ", f"{need}: ")) for need in names)
            and entry.job is not job
        ]


def _retried(job: LocalJob, reason: str) -> bool:
    return "always" in job.retry_when or reason in job.retry_when
