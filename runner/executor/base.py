"""The protocols between the story of a job and the place where it runs.

The manager knows only these names: `manager/job_run.py` works the same for a Kubernetes pod and for any other
environment. What an environment cannot do it says with a `JobError`; what it saw of a stage it says with `Evidence`,
and `verdict` makes the outcome of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import anyio
    from anyio.abc import TaskGroup, TaskStatus

    from runner.config.model import RunnerConfig
    from runner.job.payload import Job
    from runner.job.variables import Variables
    from runner.job.verdict import Evidence
    from runner.kube.exec import Terminal
    from runner.kube.service_proxy import ServicePort
    from runner.shell.context import Script
    from runner.shell.directories import Directories
    from runner.trace.journal import Entry, ExitEntry, LostEntry, NoteEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job as an executor needs it: what to run, for whom, and under which names."""

    job: Job
    runner: RunnerConfig
    variables: Variables
    feature_flags: Mapping[str, bool]
    directories: Directories
    system_id: str
    concurrent_project_id: int = 0


class LogSink(Protocol):
    """The job's log as an executor writes it: raw bytes and journal entries in any order, each exactly once."""

    @property
    def offset(self) -> int:
        """Raw bytes taken: where a new connection goes on."""

    @property
    def lines(self) -> int:
        """Journal entries taken: the next line's number."""

    def data(self, raw: bytes) -> None:
        """Take the next raw bytes of the job's output."""

    def entry(self, entry: Entry) -> None:
        """Take the next entry of the journal."""

    def result(self, attempt: str) -> ExitEntry | LostEntry | None:
        """Say how an attempt ended, once all of its output has been taken."""

    def note(self, kind: str, text: str) -> None:
        """Write a line of the manager's own."""

    def attach(self, relay: Callable[[NoteEntry], None]) -> tuple[NoteEntry, ...]:
        """Let further notes go through the environment's journal; return those written before."""

    def detach(self) -> None:
        """Write notes directly again, first those the environment never confirmed."""


class Environment(Protocol):
    """The place where one job's stages run. Used by one task; `remove` may be called at any time and more than once."""

    @property
    def name(self) -> str:
        """What people find the place by; it may change while `prepare` makes another one."""

    async def prepare(self, group: TaskGroup) -> None:
        """Make the place ready; what runs in the background belongs to the job's `group`. Raises JobError."""

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Run one attempt of a stage, drain its output and say what was seen.

        Setting `stop` ends the stage with TERM, a grace period and KILL. Raises JobError for what is no stage's doing.
        """

    def terminal(self) -> AbstractAsyncContextManager[Terminal]:
        """Open a shell of a person's own where the scripts run, once `prepare` has returned. Raises KubeError."""

    async def service_port(self, name: str, port: str) -> ServicePort | None:
        """Give the way to a port that the job's images name, by its number or its own name; None for no such port.

        Raises KubeError when it cannot be reached now.
        """

    async def remove(self) -> None:
        """Remove everything that `prepare` made. Never raises for what is already gone; logs what it had to leave."""


class Executor(Protocol):
    """A kind of place to run jobs in, one for each `[[runners]]` entry."""

    @property
    def shares_builds_dir(self) -> bool:
        """Whether jobs that run at the same time see each other's builds directory, so that each needs a path of its
        own there.
        """

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Hold connections and shared watches until cancelled."""

    async def out_of_reach(self) -> str:
        """Say in a few words why no job can run here now; empty when one can, as far as that is known. Never raises."""

    async def has_room(self, beside: int) -> bool:
        """Say whether a further job could start, beside as many that may be on their way. Never raises."""

    def expected(self, job: Job) -> AbstractContextManager[None]:
        """While a job has come whose `environment` may follow: it takes room that nothing else shows yet."""

    def environment(self, request: JobRequest, log: LogSink) -> Environment:
        """Give the place for a job; nothing is created before `prepare`."""
