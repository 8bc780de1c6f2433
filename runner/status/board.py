"""The board: what a manager does at this moment, and did lately.

Law: bookkeeping and nothing else. What enters are names, numbers and moments; a payload passes by and leaves only its
id, its project and how long it waited. Moments are those of a monotonic clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from runner.status.card import JobCard
from runner.status.labels import RunnerLabels
from runner.status.meter import Meter
from runner.status.queuing import waited_too_long

if TYPE_CHECKING:
    from runner.config.model import Config, RunnerConfig
    from runner.job.payload import Job

RECENT_JOBS = 100
"""Ended jobs that are kept to be shown."""


class ProcessState(StrEnum):
    """The original's words for the process."""

    STARTING = "starting"
    RUNNING = "running"
    GRACEFUL_SHUTDOWN = "graceful-shutdown"
    FORCEFUL_SHUTDOWN = "forceful-shutdown"


class Watch(Protocol):
    """A watch of pods, as far as it is shown."""

    @property
    def running(self) -> bool:
        """Whether somebody keeps it up to date."""

    @property
    def watching(self) -> bool:
        """Whether it stands at this moment."""

    @property
    def age(self) -> float:
        """Seconds since the server last said anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRow:
    """One runner as it is shown."""

    labels: RunnerLabels
    limit: int
    request_concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """A runner's requests for jobs at this moment."""

    labels: RunnerLabels
    under_way: int
    hard_limit: int
    adaptive_limit: int


@dataclass(frozen=True, slots=True)
class Check:
    """What a probe of readiness found."""

    name: str
    trouble: str = ""
    """A sentence; empty when all is well."""


class StatusBoard:
    """What is shown of one manager. Its methods are told things, and never fail for them."""

    def __init__(
        self,
        *,
        system_id: str = "",
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.meter = meter or Meter()
        self.system_id = system_id
        self.clock = clock
        self.started_at = clock()
        self.state = ProcessState.STARTING
        self.concurrent = 0
        self.config_ok: bool | None = None
        """Whether config.toml was fine when it was last read; None before."""
        self.config_loaded_at = 0.0
        """Seconds since the epoch when the configuration in force was read."""
        self.runners: tuple[RunnerRow, ...] = ()
        self.jobs: list[JobCard] = []
        self.recent: deque[JobCard] = deque(maxlen=RECENT_JOBS)
        self.questions: Callable[[], Iterable[Questions]] = tuple
        """Gives the requests for jobs that are under way; set by who knows."""
        self.clusters: Callable[[], Awaitable[Sequence[Check]]] | None = None
        """Looks whether the clusters of the runners can be reached; set by who knows."""
        self._watches: list[Watch] = []
        self._heard_at: dict[RunnerLabels, float] = {}
        self._renewed: dict[RunnerLabels, RunnerLabels] = {}

    # The process -------------------------------------------------------------------------------------------------

    def enter(self, state: ProcessState) -> None:
        """The process is in a state; it never goes back to one before."""
        order = tuple(ProcessState)
        if order.index(state) > order.index(self.state):
            self.state = state

    def configured(self, config: Config) -> None:
        """A configuration is in force from now on."""
        self.config_ok = True
        self.config_loaded_at = time.time()
        self.concurrent = config.concurrent
        self.runners = tuple(
            RunnerRow(
                labels=self.labels(runner), limit=runner.limit, request_concurrency=max(1, runner.request_concurrency)
            )
            for runner in config.runners
        )
        known = {row.labels for row in self.runners}
        now = self.clock()
        self._heard_at = {labels: self._heard_at.get(labels, now) for labels in known}
        self.meter.config_loaded(ok=True)
        self.meter.configured([row.labels for row in self.runners], slots=config.concurrent)

    def config_refused(self) -> None:
        """config.toml changed and cannot be used: the configuration before stays in force."""
        self.config_ok = False
        self.meter.config_loaded(ok=False)

    def labels(self, runner: RunnerConfig) -> RunnerLabels:
        """Call a runner by its configuration."""
        return RunnerLabels.of(runner, system_id=self.system_id)

    # Jobs --------------------------------------------------------------------------------------------------------

    def job(self, runner: RunnerConfig, job: Job) -> JobCard:
        """GitLab gave a job: the card to note its life on."""
        labels = self.labels(runner)
        card = JobCard(job, labels, clock=self.clock, meter=self.meter, closed=self._close)
        self.jobs.append(card)
        self.meter.job_taken(labels, job)
        info = job.job_info
        if runner.monitoring and waited_too_long(
            runner.monitoring,
            seconds=info.time_in_queue_seconds,
            running=info.project_jobs_running_on_instance_runners_count,
            now=datetime.now(UTC),
        ):
            self.meter.waited_too_long(labels)
        return card

    def _close(self, card: JobCard) -> None:
        self.jobs.remove(card)
        self.recent.append(card)

    # GitLab and clusters -----------------------------------------------------------------------------------------

    def renewed(self, before: RunnerConfig, after: RunnerConfig) -> None:
        """A runner has a new token, and is called by it from now on: by those too that knew it before."""
        old, new = self.labels(before), self.labels(after)
        if old != new:
            self._renewed[old] = new
            self._renewed.pop(new, None)

    def _present(self, labels: RunnerLabels) -> RunnerLabels:
        while labels in self._renewed:
            labels = self._renewed[labels]
        return labels

    def gitlab_observer(self, runner: RunnerConfig) -> Callable[[str, str, int, float], None]:
        """Give who hears of a runner's requests to GitLab, also when it has another token by then."""
        first, meter = self.labels(runner), self.meter

        def observe(method: str, route: str, status: int, seconds: float) -> None:
            labels = self._present(first)
            if status > 0 and labels in self._heard_at:
                self._heard_at[labels] = self.clock()
            meter.gitlab_answered(labels, method, route, status, seconds)

        return observe

    def gitlab_silence(self) -> dict[RunnerLabels, float]:
        """Seconds since GitLab last answered each runner, or since it was first served."""
        now = self.clock()
        return {labels: now - heard_at for labels, heard_at in self._heard_at.items()}

    def follow(self, watch: Watch) -> None:
        """Show a watch of pods for as long as it runs."""
        self._watches = [each for each in self._watches if each.running]
        self._watches.append(watch)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """The watches that run."""
        return tuple(watch for watch in self._watches if watch.running)

    async def readiness(self) -> tuple[Check, ...]:
        """Look whether the process can do its work: configuration loaded, clusters reachable. Asks GitLab nothing."""
        loaded = "" if self.config_ok is not None else "no configuration has been read yet"
        clusters = await self.clusters() if self.clusters else ()
        return (Check("configuration", loaded), *clusters)
