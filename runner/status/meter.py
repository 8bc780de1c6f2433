"""Who counts what a manager does.

Law: being told costs a job microseconds, so whatever can be read when somebody asks is not told here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.job.outcome import Outcome
    from runner.job.payload import Job
    from runner.status.labels import RunnerLabels


class Meter:
    """Is told what happens, and forgets it: for a process whose metrics nobody reads. `Metrics` counts."""

    def configured(self, runners: Sequence[RunnerLabels], *, slots: int) -> None:
        """These runners are served from now on, with so many jobs at once."""

    def config_loaded(self, *, ok: bool) -> None:
        """config.toml was read, or could not be."""

    def config_saved(self, *, ok: bool) -> None:
        """This process wrote config.toml, or could not."""

    def asked(self, runner: RunnerLabels) -> None:
        """GitLab is asked for a job of a runner."""

    def passed_over(self, runner: RunnerLabels) -> None:
        """A runner whose turn it was is not asked for: its place has no room."""

    def refused(self, runner: RunnerLabels) -> None:
        """GitLab refuses a runner that it has refused too often before."""

    def job_taken(self, runner: RunnerLabels, job: Job) -> None:
        """GitLab gave a job."""

    def waited_too_long(self, runner: RunnerLabels) -> None:
        """A job had waited at GitLab for longer than its runner's operator accepts."""

    def phase_ended(self, runner: RunnerLabels, phase: str, seconds: float, *, detailed: bool) -> None:
        """A job has left a phase; `detailed` is its FF_EXPORT_HIGH_CARDINALITY_METRICS."""

    def stage_retried(self, stage: str) -> None:
        """A job's stage is tried once more."""

    def job_ended(self, runner: RunnerLabels, outcome: Outcome, state: str, seconds: float) -> None:
        """A job's outcome stands."""

    def job_given_up(self, runner: RunnerLabels) -> None:
        """A job ended by a fault of this program, without an outcome."""

    def final_state_lost(self) -> None:
        """GitLab has not taken the final state of a job within its bound."""

    def removal_given_up(self) -> None:
        """Objects of a job may be left."""

    def log_moved(self, *, received: int = 0, sent: int = 0) -> None:
        """Bytes of a job's log came from its place, or were taken by GitLab."""

    def gitlab_answered(self, runner: RunnerLabels, method: str, route: str, status: int, seconds: float) -> None:
        """A request to GitLab was answered, or failed: its status is below zero then."""

    def kubernetes_answered(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """A request to an API server was answered, or failed: its status is 0 then."""

    def kubernetes_retried(self, verb: str, resource: str) -> None:
        """A request to an API server is sent once more."""

    def watch_changed(self, event: str) -> None:
        """A watch of pods has `listed` all of them, or was `interrupted`."""

    def lagged(self, seconds: float) -> None:
        """The event loop came so much later than it was due."""

    def logged(self, level: str) -> None:
        """A line of this level was logged."""
