"""The life of one job, from GitLab's hand-over to GitLab's last word.

    accept    tell GitLab that the job runs; a job that is already canceled is never started
    prepare   make the place where it runs
    stages    run what the plan says, one attempt after the other
    terminal  stay for somebody who has one open
    end       send the rest of the log and the final state, while the place is removed beside it

`abort` is the scope of prepare and stages: its deadline is the job's time-out, and GitLab's abort, a cancel before
the scripts and this process's end cut it. Inside of it a cancel during the scripts, and their own time-outs, only
stop the script, so that after_script and what follows still run. Nothing here knows what kind of place it is, nor
when a byte is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio.abc import TaskGroup

from runner.job.outcome import (
    FailureReason,
    JobCanceledError,
    JobError,
    JobTimeoutError,
    Outcome,
    RunnerInterruptedError,
    leaf_errors,
    outcome_of,
    supported_reason,
    trailer,
)
from runner.job.stages import Stage, StageResult, StageRun, title
from runner.job.verdict import Evidence, ruling
from runner.manager import job_log
from runner.manager.caches import CacheLinksError
from runner.manager.deadlines import ACKNOWLEDGE_TIMEOUT, FREE_FOLDER_TIMEOUT, SESSION_CLOSE_TIMEOUT
from runner.manager.limits import Limits
from runner.manager.logging import job_fields, tell_fault
from runner.manager.sessions import stay_connected
from runner.shell.scripts import script_for
from runner.status.card import ACCEPT, FINISH, TERMINAL, blank_card
from runner.trace.answers import Answer, answer_of
from runner.trace.masking import Masker
from runner.trace.patching import Signal

if TYPE_CHECKING:
    from runner.executor.base import Environment, Executor
    from runner.manager.caches import LinkMaker
    from runner.manager.deadlines import Deadlines
    from runner.manager.material import JobMaterial
    from runner.manager.tracing import JobDesk, Trace
    from runner.shell.cache_links import CacheLinks
    from runner.status.card import JobCard
    from runner.terminal.session import Session

log = structlog.get_logger()


class JobRun:
    """One job.

    `run` is one task, always a child of a task group; `interrupt` and `hurry` may be called from beside it.
    """

    def __init__(
        self,
        material: JobMaterial,
        executor: Executor,
        desk: JobDesk,
        *,
        caches: LinkMaker,
        open_trace: Callable[[Callable[[Signal], None]], Trace],
        deadlines: Deadlines,
        place_gone: Callable[[], None] = lambda: None,
        card: JobCard | None = None,
        session: Session | None = None,
    ) -> None:
        """`place_gone` is called once nothing of the job is left in the place, while GitLab is still being told.

        What happens is noted on `card`. People reach the job through `session`, which ends with it.
        """
        self._material = material
        self._job = material.job
        self._executor = executor
        self._desk = desk
        self._caches = caches
        self._trace = open_trace(self._on_signal)
        self._deadlines = deadlines
        self._place_gone = place_gone
        self._card = card or blank_card(self._job)
        self._session = session
        self._abort = anyio.CancelScope()
        self._limits = Limits(material.runner)
        self._cut_by: JobError | None = None
        self._canceled = anyio.Event()
        self._end_may_be_told = anyio.Event()
        self._disowned = False
        """Whether GitLab said at once that the job is no longer ours: it wants to hear nothing more of it."""
        self._stop = anyio.Event()
        self._stage = ""
        self._results: list[StageResult] = []
        self._environment: Environment | None = None
        self._last_words = anyio.CancelScope(shield=True)
        self._removal = anyio.CancelScope(shield=True)
        self._left_something = False
        self._log = log.bind(**job_fields(self._job, material.runner))
        self._card.detailed = material.flags.get("FF_EXPORT_HIGH_CARDINALITY_METRICS", False)

    @property
    def stage(self) -> str:
        """What the job is doing now."""
        return self._stage

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What must not be told of the job."""
        return self._material.secrets

    @property
    def left_something(self) -> bool:
        """Whether the job's objects could not be removed, or GitLab not be told how it ended, before time was up."""
        return self._left_something

    async def run(self) -> Outcome:
        """Live the job's life. Never raises for what the job does; cancelling it ends the job as interrupted."""
        outcome = interrupted = outcome_of(RunnerInterruptedError())
        try:
            async with anyio.create_task_group() as group:
                try:
                    outcome = await self._execute(group)
                finally:
                    if outcome is interrupted:
                        self.hurry(self._deadlines.shutdown_timeout)
                    await self._end(outcome)
                    group.cancel_scope.cancel()
        finally:
            self._trace.close()
        return outcome

    def interrupt(self, signal: str = "terminated") -> None:
        """End the job now because this process has to go."""
        self._cut(RunnerInterruptedError(signal))

    def hurry(self, timeout: float) -> None:
        """Give the last words and the removal of the place at most this many more seconds."""
        self._end_may_be_told.set()
        for scope in (self._last_words, self._removal):
            scope.deadline = min(scope.deadline, anyio.current_time() + timeout)

    # The story ---------------------------------------------------------------------------------------------------

    async def _execute(self, group: TaskGroup) -> Outcome:
        """Accept, prepare, run the stages; say how it ended."""
        self._abort.deadline = anyio.current_time() + self._job.timeout
        outcome: Outcome | None = None
        try:
            with self._abort:
                await self._accept()
                # A fault in the place's background ends this group, and so the job, with its own words.
                async with anyio.create_task_group() as place:
                    await self._prepare(place, group)
                    await self._run_stages()
                    outcome = outcome_of(self._material.plan.error(self._results))
                    await self._stay_for_terminal()
                    place.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 -- whatever happened, GitLab must hear how the job ended
            for fault in leaf_errors(error):
                if not isinstance(fault, JobError):
                    tell_fault(self._log, "a fault of this program ended the job", fault, secrets=self.secrets)
            return outcome or outcome_of(error)
        late = JobTimeoutError.after(self._job.timeout)
        return outcome or outcome_of(self._cut_by or late)

    async def _accept(self) -> None:
        """Tell GitLab that the job runs, and the log by whom."""
        self._enter(ACCEPT)
        for line in job_log.header(self._material):
            self._trace.note("plain", line)
        with anyio.move_on_after(ACKNOWLEDGE_TIMEOUT):
            reply = await self._desk.update_job(state="running")
            self._disowned = answer_of(reply) is Answer.ABORT
            if self._disowned or reply.job_status == "canceling":
                raise JobCanceledError

    async def _prepare(self, group: TaskGroup, job: TaskGroup) -> None:
        """Make the place where the job runs; the log is sent from now on, by a task of the `job`."""
        self._enter(Stage.PREPARE_EXECUTOR)
        with self._trace.section(Stage.PREPARE_EXECUTOR, title(Stage.PREPARE_EXECUTOR)):
            for warning in self._material.warnings:
                self._trace.note("warning", warning)
            self._environment = self._executor.environment(self._material.request, self._trace)
            self._card.place = self._environment.name
            with structlog.contextvars.bound_contextvars(pod=self._environment.name):
                job.start_soon(self._trace.send, name=f"trace {self._job.id}")
            with self._limits.of(Stage.PREPARE_EXECUTOR):
                await self._environment.prepare(group)
            self._card.place = self._environment.name
        if self._session is not None:
            self._session.open(self._environment)

    async def _run_stages(self) -> None:
        """Run what the plan says until it says nothing more."""
        plan = self._material.plan
        script_deadline: float | None = None
        while stage_run := plan.next_stage(self._results):
            self._stage = stage_run.stage
            if self._is_script(stage_run) and script_deadline is None:
                script_deadline = self._deadline_after(self._material.settings.script_timeout)
            deadline = script_deadline if self._is_script(stage_run) else None
            if stage_run.stage == Stage.AFTER_SCRIPT:
                deadline = self._deadline_after(self._material.settings.after_script_timeout)
            with self._limits.of(stage_run.stage):
                if stage_run.retry:
                    self._trace.note("warning", "Retrying...")
                    self._card.retried(stage_run.stage)
                    await anyio.sleep(stage_run.delay)
                self._results.append(await self._run_stage(stage_run, deadline))

    async def _stay_for_terminal(self) -> None:
        """Keep the place while somebody has a terminal there: the job's result stands, whatever ends the stay."""
        session = self._session
        if session is None or not session.connected or self._canceled.is_set():
            return
        self._enter(TERMINAL)
        now = anyio.current_time()
        timeout = min(session.timeout, max(self._abort.deadline - now, 0.0))
        self._abort.deadline = math.inf
        await stay_connected(session, timeout=timeout, note=partial(self._trace.note, "green"))

    async def _end(self, outcome: Outcome) -> None:
        """Say the last words to GitLab while the place is removed; both shielded, both with a deadline.

        They are children of a group: a second native cancel of the task that runs the job reaches only that task.
        """
        self._stage = FINISH
        self._card.ended(outcome)
        self._trace.detach()
        self._trace.final_note(*trailer(outcome))
        async with anyio.create_task_group() as last:
            last.start_soon(self._finish, outcome)
            last.start_soon(self._remove)
            last.start_soon(self._close_session)

    async def _finish(self, outcome: Outcome) -> None:
        if self._disowned:
            self._log.info("job dropped, GitLab has taken it back")
            return
        reason = "" if outcome.reason is None else supported_reason(outcome.reason, self._job.features.failure_reasons)
        self._last_words.deadline = min(
            self._last_words.deadline, anyio.current_time() + self._deadlines.final_update_timeout
        )
        delivered = False
        with self._last_words:
            await self._until_folder_is_free()
            with self._card.finish():
                delivered = await self._trace.finish(outcome, reason)
        self._tell_finished(outcome, reason)
        if not delivered:
            self._left_something = True
            self._card.final_state_lost()
            self._log.error("GitLab did not take the final state of the job", state=outcome.state)

    async def _until_folder_is_free(self) -> None:
        """Let a folder that stays be free before GitLab sends the next job: there it finds what this one has left."""
        if self._material.keeps_folder:
            with anyio.move_on_after(FREE_FOLDER_TIMEOUT):
                await self._end_may_be_told.wait()

    def _tell_finished(self, outcome: Outcome, reason: str) -> None:
        """Tell the manager's log how the job ended, with the cause where it is the operator's to mend."""
        fields = {"state": outcome.state, "failure_reason": reason, "exit_code": outcome.exit_code}
        if outcome.reason is FailureReason.RUNNER_SYSTEM_FAILURE:
            cause = Masker(self._material.secrets).whole(outcome.message.encode()).decode()
            self._log.warning("job finished", error=cause, **fields)
        else:
            self._log.info("job finished", **fields)

    async def _close_session(self) -> None:
        if self._session is not None:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + SESSION_CLOSE_TIMEOUT):
                await self._session.aclose()

    async def _remove(self) -> None:
        environment, self._environment = self._environment, None
        try:
            if environment is None:
                return
            self._removal.deadline = min(self._removal.deadline, anyio.current_time() + self._deadlines.cleanup_timeout)
            with self._card.removal(), self._removal:
                await environment.remove()
            if self._removal.cancelled_caught:
                self._left_something = True
                self._card.removal_given_up()
                self._log.error("removing the job's objects took too long, some may be left")
        finally:
            self._place_gone()
            self._end_may_be_told.set()

    # One stage ---------------------------------------------------------------------------------------------------

    async def _run_stage(self, run: StageRun, deadline: float | None) -> StageResult:
        """Run one attempt at a stage and say how it went. A stage without a script leaves no trace."""
        after = run.stage == Stage.AFTER_SCRIPT or self._results_of(Stage.AFTER_SCRIPT)
        status = self._material.plan.job_status(self._results) if after else "running"
        links = await self._cache_links(run.stage)
        script = script_for(run.stage, self._material.script_context(job_status=status, cache_links=links))
        if script is None:
            return StageResult(run.stage)
        self._card.enter(run.stage)
        assert self._environment is not None  # by the order of the story
        self._stop = anyio.Event()
        if self._canceled.is_set() and self._is_script(run):
            return StageResult(run.stage, JobCanceledError())
        async with anyio.create_task_group() as timers:
            timers.start_soon(self._stop_at, deadline)
            evidence = await self._environment.run(script, attempt=run.attempt, stop=self._stop)
            timers.cancel_scope.cancel()
        return self._judge(run, evidence, late=deadline is not None and self._stop.is_set())

    def _judge(self, run: StageRun, evidence: Evidence, *, late: bool) -> StageResult:
        """Turn what was seen into the stage's result, with the lines that the log owes its reader."""
        result = ruling(evidence)
        lost = evidence.pod is not None and result.outcome.state == "failed" and evidence.exit_code is None
        if result.warning:
            self._trace.note("warning", result.warning)
        error = JobError.of(result.outcome)
        if self._canceled.is_set() and self._is_script(run) and not lost:
            self._trace.note("warning", "script canceled externally (UI, API)")
            error = JobCanceledError()
        elif late and not lost:
            self._trace.note("warning", job_log.out_of_time(run.stage))
            error = JobTimeoutError(job_log.deadline_exceeded(run.stage))
        if error and run.stage == Stage.AFTER_SCRIPT and self._material.settings.after_script_ignore_errors:
            self._trace.note("warning", f"after_script failed, but job will continue unaffected: {error.message}")
        return StageResult(run.stage, error, final=lost)

    async def _stop_at(self, deadline: float | None) -> None:
        if deadline is not None:
            await anyio.sleep_until(deadline)
            self._stop.set()

    async def _cache_links(self, stage: str) -> Mapping[str, CacheLinks]:
        try:
            return await self._caches.links(self._material, stage)
        except CacheLinksError:
            self._trace.note("warning", job_log.NO_CACHE_LINKS)
            return {}

    # Who ends a job ----------------------------------------------------------------------------------------------

    def _on_signal(self, signal: Signal) -> None:
        """GitLab's wish, heard with an answer to the trace."""
        if signal is Signal.ABORT:
            self._cut(JobCanceledError())
            return
        if self._canceled.is_set():
            return
        if self._stage == TERMINAL:
            self._abort.cancel()
        elif self._stage.startswith("step_"):
            self._canceled.set()
            self._stop.set()
        elif not any(result.stage.startswith("step_") for result in self._results):
            self._cut(JobCanceledError())  # before the scripts a cancel ends everything, as GitLab Runner has it

    def _cut(self, error: JobError) -> None:
        self._cut_by = self._cut_by or error
        self._abort.cancel()

    # Small things ------------------------------------------------------------------------------------------------

    def _enter(self, stage: str) -> None:
        self._stage = stage
        self._card.enter(stage)

    def _results_of(self, stage: str) -> bool:
        return any(result.stage == stage for result in self._results)

    @staticmethod
    def _is_script(run: StageRun) -> bool:
        return run.stage.startswith("step_")

    @staticmethod
    def _deadline_after(timeout: float | None) -> float | None:
        return None if timeout is None else anyio.current_time() + timeout
