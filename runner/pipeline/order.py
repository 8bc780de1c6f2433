"""Which jobs of a pipeline may start now, and how each ended: a pure machine over the jobs' states.

The rules are GitLab's: a job waits for all jobs of earlier stages, or for those that it needs, and what became of them
together says whether it starts. Skipped jobs do not hold up later stages, but they skip what needs them.
"""

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
    CANCELED = "canceled"


_OVER = {
    JobState.SUCCESS, JobState.WARNING, JobState.FAILED, JobState.SKIPPED, JobState.MANUAL, JobState.CANCELED,
}  # fmt: skip
_GOOD = {JobState.SUCCESS, JobState.WARNING}


class _Before(StrEnum):
    """What became of the jobs before one, together."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    """By a manual job that is not allowed to fail."""


_STARTS = {
    "on_success": {_Before.SUCCESS, _Before.SKIPPED},
    "manual": {_Before.SUCCESS, _Before.SKIPPED},
    "delayed": {_Before.SUCCESS, _Before.SKIPPED},
    "on_failure": {_Before.FAILED},
    "always": {_Before.SUCCESS, _Before.SKIPPED, _Before.FAILED},
}
"""When -> what the jobs of earlier stages have to have come to."""

_STARTS_WHEN_NEEDED = {
    when: found if when == "always" else found - {_Before.SKIPPED} for when, found in _STARTS.items()
}
"""The same for jobs that it needs: one that did not run is missed."""

_NAMED_WHEN = {"manual": "on_success", "delayed": "on_success", "on_failure": "always"}
"""What a job's `when` becomes when it was asked for by name."""


@dataclass(slots=True)
class _Entry:
    job: LocalJob
    when: str
    state: JobState = JobState.CREATED
    tries: int = 0
    note: str = ""


class Order:
    """The run of a pipeline. Jobs that are not wanted count as if they were not there."""

    def __init__(self, pipeline: Pipeline, wanted: Iterable[LocalJob], *, named: bool) -> None:
        """Begin; `named` says that the jobs were asked for one by one, so that those that wait for a hand or for a
        failure run too."""
        self._stages = {stage: index for index, stage in enumerate(pipeline.stages)}
        self._entries = {
            job.name: _Entry(job, _NAMED_WHEN.get(job.when, job.when) if named else job.when) for job in wanted
        }
        self._stopped = False

    @property
    def states(self) -> dict[str, JobState]:
        """How every job stands."""
        return {name: entry.state for name, entry in self._entries.items()}

    @property
    def notes(self) -> dict[str, str]:
        """Why a job did not run, for those where there is more to say than the state."""
        return {name: entry.note for name, entry in self._entries.items() if entry.note}

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
        changed = not self._stopped
        while changed:
            changed = False
            for entry in self._entries.values():
                decided = self._decide(entry) if entry.state is JobState.CREATED else None
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
        if self._stopped:
            return False
        if entry.tries <= job.retry.most and _retried(job, reason, exit_code):
            entry.state = JobState.CREATED
            return True
        allowed = job.allow_failure and (not job.allowed_exit_codes or exit_code in job.allowed_exit_codes)
        entry.state = JobState.WARNING if allowed else JobState.FAILED
        return False

    def stop(self) -> None:
        """Start nothing more; what runs or waits counts as canceled."""
        self._stopped = True
        for entry in self._entries.values():
            if entry.state in (JobState.CREATED, JobState.RUNNING):
                entry.state = JobState.CANCELED

    def _decide(self, entry: _Entry) -> JobState | None:
        """What becomes of a job that has not started; None: that cannot be said yet."""
        before = self._before(entry.job)
        if any(other.state not in _OVER for other in before):
            return None
        needed = entry.job.needs is not None
        together = _together(before, needed=needed)
        enough = _STARTS_WHEN_NEEDED if needed else _STARTS
        if together not in enough[entry.when]:
            entry.note = _why_skipped(together, before)
            return JobState.SKIPPED
        if entry.when == "manual":
            return JobState.MANUAL
        return None if self._occupied(entry.job.resource_group) else JobState.RUNNING

    def _before(self, job: LocalJob) -> list[_Entry]:
        """The jobs that have to be over first: what it needs, or everything in earlier stages."""
        if job.needs is None:
            mine = self._stages[job.stage]
            return [entry for entry in self._entries.values() if self._stages[entry.job.stage] < mine]
        return [self._entries[name] for name in job.needs if name in self._entries]

    def _occupied(self, group: str) -> bool:
        return bool(group) and any(
            entry.state is JobState.RUNNING and entry.job.resource_group == group for entry in self._entries.values()
        )


def _together(before: list[_Entry], *, needed: bool) -> _Before:
    """What became of several jobs that are over, as GitLab composes states."""
    states = {entry.state for entry in before}
    blocked = any(entry.state is JobState.MANUAL and not entry.job.allow_failure for entry in before)
    if needed and (JobState.SKIPPED in states or (JobState.MANUAL in states and not blocked)):
        return _Before.SKIPPED
    if blocked:
        return _Before.BLOCKED
    if JobState.FAILED in states:
        return _Before.FAILED
    return _Before.SUCCESS if not states or states & _GOOD else _Before.SKIPPED


def _why_skipped(together: _Before, before: list[_Entry]) -> str:
    """Say in few words which jobs keep one from running."""

    def names(*states: JobState) -> str:
        return ", ".join(entry.job.name for entry in before if entry.state in states)

    match together:
        case _Before.BLOCKED:
            return f"waits for {names(JobState.MANUAL)}"
        case _Before.FAILED:
            return f"{names(JobState.FAILED)} failed"
        case _Before.SKIPPED:
            return f"{names(JobState.SKIPPED, JobState.MANUAL)} did not run"
        case _Before.SUCCESS:
            return "nothing failed"


def _retried(job: LocalJob, reason: str, exit_code: int) -> bool:
    when = job.retry.when
    return "always" in when or reason in when or exit_code in job.retry.exit_codes
