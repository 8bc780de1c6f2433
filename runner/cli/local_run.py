"""One run of a local pipeline: the real manager between an embedded GitLab and a Kubernetes.

The order of the jobs is decided by `runner.pipeline.order`; here they are handed to GitLab, watched and told of. Law:
however a run ends, its processes, pods and folders have gone when it returns.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CalledProcessError
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import click
from anyio.abc import TaskGroup

from runner.cli.local_left import left_behind
from runner.cli.local_log import LiveLog
from runner.cli.local_table import Row, duration, show_results
from runner.config.model import Config
from runner.manager.assemble import assemble
from runner.manager.logging import setup_logging
from runner.manager.settings import HELPER_IMAGE_VARIABLE
from runner.pipeline.order import Order
from runner.pipeline.payload import Left, job_payload
from runner.testing.gitlab import GitLabServer
from runner.testing.harness import embedded_folders
from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer

if TYPE_CHECKING:
    from runner.cli.local_repository import LocalRepository
    from runner.manager.manager import RunnerManager
    from runner.pipeline.model import LocalJob, Pipeline
    from runner.pipeline.predefined import Checkout, Occasion
    from runner.testing.gitlab_jobs import JobRecord

_SYSTEM_ID = "r_runnerlocal0"
_FIRST_JOB_ID = 1001
_STOP_TIMEOUT = 30.0
_REPORT_TIMEOUT = 600.0
"""What a job may take beyond its own time-out, for the pod and the report."""

_CHECK_INTERVAL = 0.05
"""Between questions for a job. The GitLab that is asked is our own, and holds most of them until there is one."""

_OUTPUT_LIMIT_KIB = 1024 * 1024

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run, from the command line."""

    named: bool
    concurrent: int
    kubeconfig: str | None
    namespace: str
    image: str
    helper_image: str | None
    host: str | None
    verbose: bool
    colour: bool


class LocalRun:
    """Runs the wanted jobs of a pipeline and says how they ended."""

    def __init__(
        self,
        repository: LocalRepository,
        pipeline: Pipeline,
        wanted: tuple[LocalJob, ...],
        *,
        checkout: Checkout,
        occasion: Occasion,
        extra: dict[str, str],
        options: Options,
    ) -> None:
        self._repository = repository
        self._pipeline = pipeline
        self._wanted = wanted
        self._checkout = checkout
        self._occasion = replace(occasion, pipeline_name=pipeline.name)
        self._extra = extra
        self._options = options
        self._order = Order(pipeline, wanted, named=options.named)
        # A pod may take long to start, for reasons that its log tells.
        whole = options.verbose or options.kubeconfig is not None
        self._live = LiveLog([job.name for job in wanted], colour=options.colour, whole=whole, stream=sys.stdout)
        self._slots = anyio.CapacityLimiter(options.concurrent)
        self._names: dict[int, str] = {}
        """Job id -> the job's name."""
        self._rows: dict[str, Row] = {}
        self._left: dict[str, Left] = {}
        """What each job that is over has left for others."""
        self._signal: signal.Signals | None = None
        self._began = False
        """Whether jobs have been started."""
        self._stopping = anyio.Event()

    def run(self) -> int:
        """Run everything. 1 if a job failed, 128 and the signal's number if one ended it."""
        started = monotonic()
        try:
            anyio.run(self._run)
        except BaseExceptionGroup as group:
            sentences = group.subgroup(click.ClickException)
            if sentences is None:
                raise
            raise _first(sentences) from None
        if self._live.broken:
            # What is left in the buffer has nobody to go to either, and must not become a complaint at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._signal = self._signal or signal.SIGPIPE
        else:
            self._summary(monotonic() - started)
        if self._signal:
            return 128 + self._signal
        return 1 if self._order.failed or not self._order.over else 0

    async def _run(self) -> None:
        setup_logging(level="error", form="runner")
        with anyio.open_signal_receiver(*_SIGNALS) as received:
            async with anyio.create_task_group() as group:
                scope = anyio.CancelScope()
                group.start_soon(self._listen, received, scope)
                with scope:
                    async with self._serve() as (gitlab, manager):
                        await self._run_jobs(gitlab, manager)
                group.cancel_scope.cancel()

    async def _run_jobs(self, gitlab: GitLabServer, manager: RunnerManager) -> None:
        async with anyio.create_task_group() as group:
            await group.start(manager.serve)
            try:
                async with anyio.create_task_group() as jobs:
                    self._began = True
                    jobs.start_soon(self._stop, manager, jobs.cancel_scope)
                    async with anyio.create_task_group() as running:
                        self._start_ready(gitlab, running)
                    jobs.cancel_scope.cancel()
            finally:
                manager.abort()
                with anyio.move_on_after(_STOP_TIMEOUT, shield=True):
                    await manager.wait_until_idle()
                group.cancel_scope.cancel()

    # Signals -----------------------------------------------------------------------------------------------------

    async def _listen(self, received: AsyncIterator[signal.Signals], everything: anyio.CancelScope) -> None:
        """The first signal ends the jobs as the manager does, the second cancels everything; no other disturbs that."""
        async for number in received:
            if self._signal or not self._began:
                self._order.stop()
                everything.cancel()
            else:
                self._tell("\nInterrupted: ending the jobs. Once more leaves at once.")
                self._stopping.set()
            self._signal = self._signal or number

    async def _stop(self, manager: RunnerManager, jobs: anyio.CancelScope) -> None:
        """When told to, end what runs and wait for it; what has not begun never does."""
        await self._stopping.wait()
        self._order.stop()
        manager.abort()
        with anyio.move_on_after(_STOP_TIMEOUT):
            await manager.wait_until_idle()
        jobs.cancel()

    # The servers -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[tuple[GitLabServer, RunnerManager]]:
        """Start the embedded GitLab, a Kubernetes if none is named, and make the manager between them."""
        stack = AsyncExitStack()
        try:
            yield await self._open(stack)
        finally:
            with anyio.move_on_after(_STOP_TIMEOUT, shield=True):
                await stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> tuple[GitLabServer, RunnerManager]:
        options = self._options
        folder = Path(tempfile.mkdtemp(prefix="runner-local-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        host = "127.0.0.1"
        if options.kubeconfig:
            from runner.cli.local_cluster import own_address

            host = await own_address(options.kubeconfig, host=options.host)
        gitlab = await _start(stack, GitLabServer(host=host, on_trace=self._on_trace), host)
        self._checkout = replace(self._checkout, repo_url=await self._mirror(gitlab))
        self._occasion = replace(self._occasion, server_url=gitlab.url)
        runner: dict[str, Any] = {"url": gitlab.url, "token": gitlab.token}
        if options.kubeconfig:
            kubeconfig, kubernetes = options.kubeconfig, {"namespace": options.namespace}
        else:
            cluster = await stack.enter_async_context(KubernetesServer(kubelet=ProcessKubelet()))
            kubeconfig, kubernetes = str(cluster.kubeconfig(folder / "kubeconfig")), embedded_folders(folder)
            runner |= {"builds_dir": f"{folder}/builds", "cache_dir": f"{folder}/cache"}
        helper = {HELPER_IMAGE_VARIABLE: options.helper_image} if options.helper_image else dict(os.environ)
        config = self._config(runner, kubernetes | {"image": options.image})
        return gitlab, assemble(config, system_id=_SYSTEM_ID, kubeconfig=kubeconfig, environ=helper)

    async def _mirror(self, gitlab: GitLabServer) -> str:
        """Let the embedded GitLab serve the repository; gives the address."""
        checkout = self._checkout
        try:
            mirror = await gitlab.mirror_repository(
                checkout.path, self._repository.root, branch=checkout.ref, sha=checkout.sha
            )
        except CalledProcessError as error:
            complaint = error.stderr.decode("utf-8", "replace").strip()
            raise click.ClickException(f"git cannot copy this repository: {complaint}") from None
        return mirror.url

    def _config(self, runner: dict[str, Any], kubernetes: dict[str, Any]) -> Config:
        concurrent = self._options.concurrent
        entry = {
            **runner,
            "name": "local",
            "executor": "kubernetes",
            "output_limit": _OUTPUT_LIMIT_KIB,
            "request_concurrency": concurrent,
            # A terminal shows when a line comes; and without the times a line is never cut in two.
            "feature_flags": {"FF_TIMESTAMPS": False},
            "kubernetes": kubernetes,
        }
        return Config.model_validate({"concurrent": concurrent, "check_interval": _CHECK_INTERVAL, "runners": [entry]})

    # The jobs ----------------------------------------------------------------------------------------------------

    def _start_ready(self, gitlab: GitLabServer, group: TaskGroup) -> None:
        for job in self._order.next_jobs():
            group.start_soon(self._run_job, job, gitlab, group)

    async def _run_job(self, job: LocalJob, gitlab: GitLabServer, group: TaskGroup) -> None:
        async with self._slots:
            record = gitlab.queue(self._payload(job))
            with suppress(TimeoutError):
                await record.wait_finished(timeout=job.timeout + _REPORT_TIMEOUT)
        self._live.end(job.name)
        self._left[job.name] = left_behind(record, job.name, gitlab.artifacts)
        again = self._order.finished(
            job.name,
            success=record.state == "success",
            reason=record.failure_reason or "",
            exit_code=record.exit_code or 0,
        )
        tries = self._rows.get(job.name, Row()).tries + 1
        self._rows[job.name] = Row(seconds=_seconds(record), tries=tries, reason=_reason(record))
        if again:
            self._live.say(job.name, f"Failed, and tried again: {tries + 1} of {job.retry.most + 1}.")
        self._start_ready(gitlab, group)

    def _payload(self, job: LocalJob) -> dict[str, Any]:
        number = _FIRST_JOB_ID + len(self._names)
        self._names[number] = job.name
        return job_payload(
            job,
            id=number,
            token=f"glcbt-local_{number:020d}",
            checkout=self._checkout,
            occasion=self._occasion,
            extra=self._extra,
            left=[self._left[name] for name in self._sources(job) if name in self._left],
        )

    def _sources(self, job: LocalJob) -> tuple[str, ...]:
        """The jobs whose artifacts a job gets."""
        if job.dependencies is not None:
            return job.dependencies
        before = self._pipeline.stages[: self._pipeline.stages.index(job.stage)]
        return tuple(other.name for other in self._wanted if other.stage in before)

    def _on_trace(self, record: JobRecord, data: bytes) -> None:
        self._live.feed(self._names[record.id], data)
        if self._live.broken:
            self._stopping.set()

    def _tell(self, text: str) -> None:
        with suppress(OSError):
            click.echo(text, err=True)

    def _summary(self, seconds: float) -> None:
        order = self._order
        notes = {name: Row(reason=note) for name, note in order.notes.items()}
        show_results(self._wanted, order.states, notes | self._rows, colour=self._options.colour)
        verdict = "canceled" if self._signal else "failed" if order.failed or not order.over else "passed"
        name = f" {self._pipeline.name}" if self._pipeline.name else ""
        click.echo(f"\nPipeline{name} {verdict} in {duration(seconds)}.")


async def _start(stack: AsyncExitStack, server: GitLabServer, host: str) -> GitLabServer:
    try:
        return await stack.enter_async_context(server)
    except OSError as error:
        raise click.ClickException(f"{host} is no address of this machine that can be listened at: {error}.") from None


def _seconds(record: JobRecord) -> float:
    """How long a job took since it was handed out."""
    if record.assigned_at is None:
        return 0.0
    return (record.finished_at or monotonic()) - record.assigned_at


def _reason(record: JobRecord) -> str:
    """Why a job failed: the last line of its log says it best; without one, GitLab's word."""
    if record.state == "success":
        return ""
    for line in reversed(record.text.splitlines()):
        _, marker, rest = line.partition("Job failed")
        if marker:
            return rest.partition(": ")[2]
    return record.failure_reason or ("" if record.finished else "no end was reported")


def _first(group: BaseExceptionGroup[click.ClickException]) -> click.ClickException:
    """The first of the sentences in a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, click.ClickException)
    return error
