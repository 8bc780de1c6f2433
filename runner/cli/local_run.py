"""One run of a local pipeline: the real manager between an embedded GitLab and a Kubernetes.

The order of the jobs is decided by `runner.pipeline.order`; here they are handed to GitLab, watched and told of.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import click
from anyio.abc import TaskGroup

from runner.cli.local_log import LiveLog
from runner.config.model import Config
from runner.job.durations import format_duration
from runner.manager.assemble import HELPER_IMAGE_VARIABLE, assemble
from runner.manager.logging import setup_logging
from runner.pipeline.order import JobState, Order
from runner.pipeline.payload import Checkout, Occasion, job_payload
from runner.testing.gitlab import GitLabServer
from runner.testing.gitlab_jobs import JobRecord
from runner.testing.harness import embedded_folders
from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer

if TYPE_CHECKING:
    from runner.manager.manager import RunnerManager
    from runner.pipeline.model import LocalJob, Pipeline

_SYSTEM_ID = "r_runnerlocal0"
_STATE_COLOURS = {
    JobState.SUCCESS: "green",
    JobState.FAILED: "red",
    JobState.WARNING: "yellow",
    JobState.SKIPPED: "bright_black",
    JobState.MANUAL: "bright_black",
}


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
    colour: bool

    @classmethod
    def of(cls, *, named: bool, no_color: bool, **options: Any) -> Options:
        """Read the command line's words; colour is for terminals that want it."""
        colour = not no_color and "NO_COLOR" not in os.environ and (sys.stdout.isatty() or "FORCE_COLOR" in os.environ)
        return cls(named=named, colour=colour, **options)


@dataclass(slots=True)
class _Row:
    """What the table at the end says of a job."""

    state: JobState
    seconds: float = 0.0
    reason: str = ""


class LocalRun:
    """Runs the wanted jobs of a pipeline and says how they ended."""

    def __init__(
        self,
        root: Path,
        pipeline: Pipeline,
        wanted: tuple[LocalJob, ...],
        *,
        checkout: Checkout,
        extra: dict[str, str],
        options: Options,
    ) -> None:
        self._root = root
        self._wanted = wanted
        self._checkout = checkout
        self._extra = extra
        self._options = options
        self._order = Order(pipeline, wanted, named=options.named)
        self._live = LiveLog(tuple(job.name for job in wanted), colour=options.colour)
        self._names: dict[int, str] = {}
        self._rows: dict[str, _Row] = {}
        self._occasion = Occasion(server_url="", pipeline_id=1)

    async def run(self) -> int:
        """Run everything; 1 if a job failed."""
        setup_logging(level="error", form="text")
        started = monotonic()
        async with self._serve() as (gitlab, manager), anyio.create_task_group() as group:
            await group.start(manager.serve)
            try:
                async with anyio.create_task_group() as jobs:
                    self._start_ready(gitlab, jobs)
            finally:
                manager.abort()
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 30):
                    await manager.wait_until_idle()
                group.cancel_scope.cancel()
        self._summary(monotonic() - started)
        return 1 if self._order.failed else 0

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[tuple[GitLabServer, RunnerManager]]:
        options = self._options
        async with AsyncExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="runner-local-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            host = "127.0.0.1" if options.kubeconfig is None else options.host or _own_address(options.kubeconfig)
            gitlab = await stack.enter_async_context(GitLabServer(host=host, on_trace=self._on_trace))
            repository = await gitlab.mirror_repository(
                self._checkout.path, self._root, branch=self._checkout.ref, sha=self._checkout.sha
            )
            self._checkout = replace(self._checkout, repo_url=repository.url)
            self._occasion = replace(self._occasion, server_url=gitlab.url)
            runner: dict[str, Any] = {"environment": []}
            if options.kubeconfig is None:
                cluster = await stack.enter_async_context(KubernetesServer(kubelet=ProcessKubelet()))
                kubeconfig = str(cluster.kubeconfig(folder / "kubeconfig"))
                runner |= {"builds_dir": f"{folder}/builds", "cache_dir": f"{folder}/cache"}
                kubernetes: dict[str, Any] = embedded_folders(folder)
            else:
                kubeconfig, kubernetes = options.kubeconfig, {"namespace": options.namespace}
            kubernetes["image"] = options.image
            entry = {"name": "local", "url": gitlab.url, "token": gitlab.token, "executor": "kubernetes", **runner}
            config = Config.model_validate(
                {
                    "concurrent": options.concurrent,
                    "check_interval": 1,
                    "runners": [{**entry, "request_concurrency": options.concurrent, "kubernetes": kubernetes}],
                }
            )
            environ = {HELPER_IMAGE_VARIABLE: options.helper_image} if options.helper_image else dict(os.environ)
            yield gitlab, assemble(config, system_id=_SYSTEM_ID, kubeconfig=kubeconfig, environ=environ)

    # The jobs ----------------------------------------------------------------------------------------------------

    def _start_ready(self, gitlab: GitLabServer, group: TaskGroup) -> None:
        for job in self._order.next_jobs():
            group.start_soon(self._run_job, job, gitlab, group)

    async def _run_job(self, job: LocalJob, gitlab: GitLabServer, group: TaskGroup) -> None:
        started = monotonic()
        number = 1000 + len(self._names)
        token = f"glcbt-local_{number:020d}"
        self._names[number] = job.name
        record = gitlab.queue(
            job_payload(
                job, id=number, token=token, checkout=self._checkout, occasion=self._occasion, extra=self._extra
            )
        )
        await record.wait_finished(timeout=job.timeout + 3600)
        self._live.end(job.name)
        reason = _reason(record)
        again = self._order.finished(
            job.name,
            success=record.state == "success",
            reason=record.failure_reason or "",
            exit_code=record.exit_code or 0,
        )
        self._rows[job.name] = _Row(self._order.states[job.name], monotonic() - started, reason)
        if again:
            click.echo(f"{job.name} failed and is tried again", err=True)
        self._start_ready(gitlab, group)

    def _on_trace(self, record: JobRecord, data: bytes) -> None:
        self._live.feed(self._names.get(record.id, str(record.id)), data)

    # The end -----------------------------------------------------------------------------------------------------

    def _summary(self, seconds: float) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table(
            "Job", "Stage", "Result", "Duration", "Reason", box=None, header_style="bold", padding=(0, 2, 0, 0)
        )
        for job in self._wanted:
            row = self._rows.get(job.name) or _Row(self._order.states[job.name])
            colour = _STATE_COLOURS.get(row.state, "")
            shown = f"[{colour}]{row.state}[/]" if colour else str(row.state)
            duration = f"{row.seconds:.1f} s" if row.seconds else ""
            reason = row.reason if row.state in (JobState.FAILED, JobState.WARNING) else ""
            table.add_row(_plain(job.name), job.stage, shown, duration, _plain(reason))
        console = Console(no_color=not self._options.colour, highlight=False, soft_wrap=True)
        console.print()
        console.print(table)
        verdict = "failed" if self._order.failed else "passed"
        console.print(f"\nPipeline {verdict} in {format_duration(round(seconds, 1))}.")


def _reason(record: JobRecord) -> str:
    """The last line of the job's log says it best; without one, GitLab's word."""
    for line in reversed(record.text.splitlines()):
        _, marker, rest = line.partition("Job failed")
        if marker:
            return rest.partition(": ")[2]
    return record.failure_reason or ""


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def _own_address(kubeconfig: str) -> str:
    """The address of this machine that faces the cluster, as far as it can be told without asking the cluster."""
    import yaml

    document = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8")) or {}
    server = next((entry["cluster"]["server"] for entry in document.get("clusters") or ()), "")
    host = server.partition("://")[2].partition("/")[0].rpartition(":")[0] or "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        raise click.ClickException(
            "Pods cannot reach this machine at 127.0.0.1: name an address of it that they can with --host."
        )
    return address
