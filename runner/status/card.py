"""One job's life as it is shown: its phases with their times, its state, where it runs.

accept, then one phase for each stage, from prepare_executor on, and at the end finish and removal side by side
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.job.outcome import FailureReason
from runner.job.stages import Stage
from runner.status.labels import RunnerLabels
from runner.status.meter import Meter

if TYPE_CHECKING:
    from runner.job.outcome import Outcome
    from runner.job.payload import Job

ACCEPT = "accept"
FINISH = "finish"
"""Sending the rest of the log and the final state."""
REMOVAL = "removal"
TERMINAL = "terminal"
"""Nothing runs any more, but somebody has a terminal open."""
OTHER_STEP = "step_other"
"""A step whose name is not one of GitLab's own: names of pipelines are no labels."""

PHASES = (
    ACCEPT,
    *(stage.value for stage in Stage if stage is not Stage.RESOLVE_SECRETS),
    OTHER_STEP,
    TERMINAL,
    FINISH,
    REMOVAL,
)

_STATES: Mapping[str, str] = {
    FailureReason.JOB_CANCELED: "canceled",
    FailureReason.RUNNER_INTERRUPTED: "terminated",
    FailureReason.JOB_EXECUTION_TIMEOUT: "timedout",
}
_EXECUTOR_STAGES: Mapping[str, str] = {
    "": "created",
    ACCEPT: "created",
    Stage.PREPARE_EXECUTOR: "prepare",
    Stage.HEALTH_CHECK: "prepare",
    FINISH: "finish",
    REMOVAL: "cleanup",
}


@dataclass(slots=True)
class PhaseTime:
    """One phase of one job, by the board's clock."""

    name: str
    began_at: float
    ended_at: float | None = None


class JobCard:
    """What is shown of one job. `JobRun` notes on it what it does."""

    def __init__(
        self,
        job: Job,
        labels: RunnerLabels,
        *,
        clock: Callable[[], float],
        meter: Meter,
        closed: Callable[[JobCard], None],
    ) -> None:
        self.id = job.id
        self.url = job_url(job)
        self.name = job.job_info.name
        self.project = job.job_info.project_full_path or job.job_info.project_name
        self.labels = labels
        self.state = "pending"
        """One of the original's: pending, running, success, failed, canceled, terminated, timedout."""
        self.reason = ""
        self.place = ""
        """Where it runs: the name of its pod."""
        self.began_at = clock()
        self.ended_at: float | None = None
        self.phases: list[PhaseTime] = []
        self.finishing = False
        self.removing = False
        self.detailed = False
        """FF_EXPORT_HIGH_CARDINALITY_METRICS."""
        self._clock = clock
        self._meter = meter
        self._closed = closed
        self._current: PhaseTime | None = None
        self._received = 0

    @property
    def stage(self) -> str:
        """What the job is doing, in the original's words; a step of the pipeline's own naming is one of many."""
        if self._current:
            return self._current.name
        if self.finishing or not self.phases:
            return FINISH if self.finishing else ""
        return self.phases[-1].name

    @property
    def executor_stage(self) -> str:
        """What its executor is doing."""
        return _EXECUTOR_STAGES.get(self.stage, "run")

    @property
    def duration(self) -> float:
        """Seconds since GitLab gave the job, or until its outcome stood."""
        return (self._clock() if self.ended_at is None else self.ended_at) - self.began_at

    def enter(self, phase: str) -> None:
        """The job leaves the phase before and begins another."""
        self._leave()
        if phase != ACCEPT and self.state == "pending":
            self.state = "running"
        self._current = self._began(phase)

    @contextmanager
    def finish(self) -> Iterator[None]:
        """The job's last words go to GitLab meanwhile."""
        self.finishing = True
        with self._beside(FINISH):
            try:
                yield
            finally:
                self.finishing = False

    @contextmanager
    def removal(self) -> Iterator[None]:
        """The job's place is removed meanwhile."""
        self.removing = True
        with self._beside(REMOVAL):
            try:
                yield
            finally:
                self.removing = False

    def retried(self, stage: str) -> None:
        """A stage is tried once more."""
        # Sources are announced anew with the clearing that comes before them.
        again = Stage.GET_SOURCES if stage == Stage.CLEAR_WORKTREE else stage
        self._meter.stage_retried(phase_named(again))

    def log_moved(self, received: int, sent: int) -> None:
        """`received` bytes of output have come in all, and GitLab has taken `sent` more of the log."""
        self._meter.log_moved(received=received - self._received, sent=sent)
        self._received = received

    def ended(self, outcome: Outcome) -> None:
        """The outcome stands."""
        self._leave()
        self.ended_at = self._clock()
        self.state = state_of(outcome)
        self.reason = outcome.reason or ""
        self._meter.job_ended(self.labels, outcome, self.state, self.duration)

    def final_state_lost(self) -> None:
        """GitLab has not taken the final state."""
        self._meter.final_state_lost()

    def removal_given_up(self) -> None:
        """Something of the job may be left in the cluster."""
        self._meter.removal_given_up()

    def close(self) -> None:
        """Nothing of the job is left; once."""
        self._leave()
        if self.ended_at is None:
            self.ended_at, self.state = self._clock(), "failed"
            self._meter.job_given_up(self.labels)
        self._closed(self)

    def _began(self, phase: str) -> PhaseTime:
        began = PhaseTime(phase_named(phase), self._clock())
        self.phases.append(began)
        return began

    def _leave(self) -> None:
        left, self._current = self._current, None
        if left:
            self._note_end(left)

    @contextmanager
    def _beside(self, phase: str) -> Iterator[None]:
        began = self._began(phase)
        try:
            yield
        finally:
            self._note_end(began)

    def _note_end(self, phase: PhaseTime) -> None:
        phase.ended_at = self._clock()
        self._meter.phase_ended(self.labels, phase.name, phase.ended_at - phase.began_at, detailed=self.detailed)


def blank_card(job: Job) -> JobCard:
    """A card that no board shows, for a job that is run alone."""
    return JobCard(job, RunnerLabels("", "", ""), clock=time.monotonic, meter=Meter(), closed=lambda card: None)


def state_of(outcome: Outcome) -> str:
    """Name an outcome as the original's metrics do."""
    return "success" if outcome.state == "success" else _STATES.get(outcome.reason or "", "failed")


def phase_named(stage: str) -> str:
    """The phase of a stage; steps that a pipeline named itself share one."""
    return stage if stage in _KNOWN else OTHER_STEP


def job_url(job: Job) -> str:
    """The job's page at GitLab, made from the repository's address without its credentials."""
    try:
        parts = urlsplit(job.git_info.repo_url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return f"/-/jobs/{job.id}"
    return f"{parts.scheme}://{host}{parts.path.removesuffix('.git')}/-/jobs/{job.id}"


_KNOWN = frozenset(PHASES)
