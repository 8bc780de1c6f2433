"""The jobs of a process: each one that comes lives its life beside the others, or is refused before anything is made.

Law: whatever becomes of one job, the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from runner.job.outcome import JobError, Outcome, outcome_of, supported_reason, trailer
from runner.manager.deadlines import Deadlines
from runner.manager.desks import CoordinatorDesk
from runner.manager.job_run import JobRun
from runner.manager.logging import job_fields, tell_fault
from runner.manager.material import Identity, JobMaterial
from runner.manager.places import Places
from runner.manager.tracing import Trace
from runner.trace.masking import Masker, token_prefixes
from runner.trace.rendering import Renderer

if TYPE_CHECKING:
    from runner.gitlab.coordinator import Coordinator
    from runner.job.payload import Job
    from runner.manager.runners import ServedRunner
    from runner.manager.sessions import Sessions
    from runner.status.board import StatusBoard
    from runner.status.card import JobCard
    from runner.terminal.session import Session
    from runner.trace.patching import Signal

log = structlog.get_logger()


class Jobs:
    """What the jobs of all runners share, and those that run now."""

    def __init__(
        self,
        identity: Identity,
        sessions: Sessions,
        board: StatusBoard,
        *,
        final_update_timeout: float,
        keep_alive_interval: float,
        shutdown_timeout: float,
    ) -> None:
        self._identity = identity
        self._sessions = sessions
        self._board = board
        self._final_update_timeout = final_update_timeout
        self._keep_alive_interval = keep_alive_interval
        self.shutdown_timeout = shutdown_timeout
        """Seconds that jobs get which `abort` ends, to clean up and to report."""
        self._places = Places()
        self._running: set[JobRun] = set()
        self._refusals: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()
        self._aborted = ""
        self._left_behind = 0

    @property
    def running(self) -> int:
        """Jobs that run now."""
        return len(self._running)

    @property
    def left_behind(self) -> int:
        """Jobs that `abort` ended and that could not remove their objects, or tell GitLab, in time."""
        return self._left_behind

    async def wait_until_idle(self) -> None:
        """Wait until no job runs."""
        while self._running:
            await self._idle.wait()

    def abort(self, signal: str) -> None:
        """End the running jobs, and those that are still on their way; they get `shutdown_timeout`."""
        self._aborted = signal
        for job_run in tuple(self._running):
            self._end(job_run)
        for refusal in self._refusals:
            refusal.deadline = min(refusal.deadline, anyio.current_time() + self.shutdown_timeout)

    def _end(self, job_run: JobRun) -> None:
        job_run.interrupt(self._aborted)
        job_run.hurry(self.shutdown_timeout)

    async def run(self, served: ServedRunner, job: Job, place_gone: Callable[[], None]) -> None:
        """Run a job that GitLab has handed out; `place_gone` is called once nothing of it is left in its place."""
        runner = served.config
        card = self._board.job(runner, job)
        held = ExitStack()

        def let_go() -> None:
            held.close()
            place_gone()

        with (
            closing(card),
            served.job(),
            held,
            structlog.contextvars.bound_contextvars(**job_fields(job, runner)),
        ):
            log.info("job received")
            place = held.enter_context(self._places.place(served.identity, job.job_info.project_id))
            held.enter_context(served.executor.expected(job))
            session = self._sessions.take(job)
            try:
                material = JobMaterial.of(
                    job,
                    runner,
                    identity=self._identity_for(served.coordinator),
                    place=place,
                    shared=served.executor.shares_builds_dir,
                )
                job_run = self._job_run(served, material, let_go, card, session)
            except Exception as error:  # noqa: BLE001 -- whatever a job's payload does here, GitLab must hear of its end
                if not isinstance(error, JobError):
                    tell_fault(log, "a fault of this program ended the job", error, secrets=_secrets_of(job))
                let_go()
                if session is not None:
                    await session.aclose()
                await self._refuse(served, job, outcome_of(error), card)
                return
            await self._live(job_run)

    async def _live(self, job_run: JobRun) -> None:
        """Let a job live its life; whatever becomes of it, the others go on."""
        self._running.add(job_run)
        if self._aborted:
            self._end(job_run)  # it was on its way when the process was told to end
        try:
            await job_run.run()
        except Exception as error:  # noqa: BLE001 -- it must not end the other jobs; GitLab's time-out ends this one
            tell_fault(log, "a job was given up", error, secrets=job_run.secrets)
        finally:
            self._running.discard(job_run)
            self._left_behind += bool(self._aborted) and job_run.left_something
            if not self._running:
                self._idle.set()
                self._idle = anyio.Event()

    def _job_run(
        self,
        served: ServedRunner,
        material: JobMaterial,
        place_gone: Callable[[], None],
        card: JobCard,
        session: Session | None,
    ) -> JobRun:
        # GitLab shows the log of such a job to those alone who may see its variables.
        shown = material.settings.debug_trace or material.settings.debug_services
        desk = CoordinatorDesk(served.coordinator, material.job, debug_trace=shown)
        return JobRun(
            material,
            served.executor,
            desk,
            caches=served.caches,
            open_trace=partial(self._open_trace, material, desk, card),
            deadlines=Deadlines(
                final_update_timeout=self._final_update_timeout,
                cleanup_timeout=material.runner.kubernetes.cleanup_resources_timeout,
                shutdown_timeout=self.shutdown_timeout,
            ),
            place_gone=place_gone,
            card=card,
            session=session,
        )

    def _open_trace(
        self, material: JobMaterial, desk: CoordinatorDesk, card: JobCard, on_signal: Callable[[Signal], None]
    ) -> Trace:
        features = material.job.features
        masker = Masker(
            material.secrets,
            token_prefixes(
                (prefix.encode() for prefix in features.token_mask_prefixes),
                all_defaults=material.flags["FF_MASK_ALL_DEFAULT_TOKENS"],
            ),
        )
        renderer = Renderer(masker, timestamps=material.flags["FF_TIMESTAMPS"], sections=features.trace_sections)
        return Trace(
            desk,
            renderer,
            limit_bytes=material.runner.output_limit * 1024,
            final_retry_limit=material.runner.job_status_final_update_retry_limit,
            on_signal=on_signal,
            keep_alive_interval=self._keep_alive_interval,
            dynamic_keep_alive=material.flags["FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL"],
            moved=card.log_moved,
        )

    async def _refuse(self, served: ServedRunner, job: Job, outcome: Outcome, card: JobCard) -> None:
        """End a job that asks for what cannot be, before anything is created."""
        card.ended(outcome)
        runner, desk = served.config, CoordinatorDesk(served.coordinator, job)
        renderer = Renderer(Masker((job.token.encode(),), ()), timestamps=True, sections=False)
        trace = Trace(
            desk,
            renderer,
            limit_bytes=runner.output_limit * 1024,
            on_signal=lambda _: None,
            final_retry_limit=runner.job_status_final_update_retry_limit,
        )
        timeout = min(self._final_update_timeout, self.shutdown_timeout if self._aborted else math.inf)
        refusal = anyio.CancelScope(deadline=anyio.current_time() + timeout)
        self._refusals.add(refusal)
        try:
            trace.final_note(*trailer(outcome))
            reason = supported_reason(outcome.reason, job.features.failure_reasons)
            with card.finish(), refusal:
                await desk.update_job(state="running")  # GitLab wants to hear this of every job first
                await trace.finish(outcome, reason)
        finally:
            self._refusals.discard(refusal)
            trace.close()

    def _identity_for(self, coordinator: Coordinator) -> Identity:
        return replace(self._identity, tls_ca=coordinator.tls_ca, tls_client=coordinator.tls_client)


def _secrets_of(job: Job) -> tuple[bytes, ...]:
    """What must not be told of a job of which there is nothing but its payload."""
    values = (job.token, *(variable.value for variable in job.variables if variable.masked))
    return tuple(value.encode() for value in values if value)
