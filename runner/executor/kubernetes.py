"""The Kubernetes executor: one pod for each job.

`KubernetesExecutor` holds what the jobs of one runner share, the connection and one watch for each namespace.
`KubernetesEnvironment` is one job's pod from its creation to its removal. KubeError becomes JobError in
`refusals`, and nowhere else.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing
from functools import partial
from typing import TYPE_CHECKING

import anyio
import orjson
import structlog
from anyio.abc import TaskGroup, TaskStatus

from runner.executor.cluster import Cluster
from runner.executor.health import until_services_answer
from runner.executor.launching import PodLaunch
from runner.executor.refusals import job_error, refusal
from runner.executor.requesting import pod_request
from runner.executor.room import Room, default_pod
from runner.executor.session import PodSession
from runner.executor.stages import AttachStages, ExecStages, Stages
from runner.executor.sweeping import Sweeper
from runner.job.outcome import JobError
from runner.job.variables import short_token
from runner.kube.attach import open_attach, open_exec
from runner.kube.errors import KubeError, UnavailableError
from runner.kube.exec import open_terminal
from runner.kube.service_proxy import ServicePort
from runner.podspec.containers import BUILD
from runner.podspec.health import HealthCheck, health_checks
from runner.podspec.labels import JOB_ID_LABEL, manager_selector
from runner.podspec.objects import proxied_port
from runner.podspec.pod import build_pod, deadline_line, own_containers, pod_warnings
from runner.podspec.pull import pull_policies
from runner.podspec.secret import JobRecord
from runner.podspec.status import is_ready, read_pod
from runner.podspec.volumes import shares_builds_dir

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.executor.base import JobRequest, LogSink
    from runner.job.payload import Job
    from runner.job.verdict import Evidence
    from runner.kube.attach import AttachStream, ExecStream
    from runner.kube.exec import Terminal
    from runner.shell.context import Script

log = structlog.get_logger()

LEGACY_FLAG = "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY"


class KubernetesExecutor:
    """Pods for the jobs of one runner."""

    def __init__(
        self,
        runner: RunnerConfig,
        *,
        system_id: str,
        default_helper_image: str,
        cluster: Cluster,
        home: str = "",
    ) -> None:
        """`home` is the folder of this process's user: docker's files there may hold registry credentials."""
        self._runner = runner
        self._home = home
        self._system_id = system_id
        self._default_helper_image = default_helper_image
        self._cluster = cluster
        self._selector = manager_selector(system_id=system_id, runner_token=runner.token)
        pod = partial(default_pod, runner, system_id=system_id, default_helper_image=default_helper_image)
        self._sweeper = Sweeper(cluster, runner)
        self._room = Room(runner, cluster, default_pod=pod)

    @property
    def shares_builds_dir(self) -> bool:
        """Whether the builds directory lies on a volume that other pods see too."""
        return shares_builds_dir(self._runner)

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hold the connection and the watches, and sweep now and then, until cancelled."""
        async with anyio.create_task_group() as group:
            await group.start(self._cluster.serve)
            group.start_soon(self._sweeper.run, name="sweeper")
            task_status.started()

    async def out_of_reach(self) -> str:
        """Say why the API server cannot be asked; empty when it can."""
        return await self._cluster.out_of_reach()

    async def has_room(self, beside: int) -> bool:
        """Say whether the namespace's quotas have room for another pod, where `capacity_aware` asks for it."""
        return await self._room.has_room(beside)

    def expected(self, job: Job) -> AbstractContextManager[None]:
        """While a job has come whose pod may follow."""
        return self._room.expected(job.id)

    def environment(self, request: JobRequest, log: LogSink) -> KubernetesEnvironment:
        """Give a job its pod, which is not created yet. Raises JobConfigurationError for what cannot become one."""
        pod = pod_request(
            request,
            self._runner,
            system_id=self._system_id,
            default_helper_image=self._default_helper_image,
            note=log.note,
        )
        log.note("plain", f"Using Kubernetes namespace: {pod.pod_namespace}")
        log.note("plain", f"Using Kubernetes executor with image {pod.build_image} ...")
        legacy = request.feature_flags.get(LEGACY_FLAG, False)
        log.note("plain", f"Using {'exec' if legacy else 'attach'} strategy to execute scripts...")
        # What cannot become a pod shows before anything is created.
        build_pod(pod)
        checks = health_checks(pod)
        for warning in pod_warnings(pod):
            log.note("warning", warning)
        policies = pull_policies(pod, own_containers(pod))
        for line in filter(None, (*policies.announcements(), deadline_line(pod))):
            log.note("plain", line)
        # A token of the job's own needs a connection of its own.
        overwritten = ("bearer_token",) in pod.origins
        cluster = self._cluster.with_token(pod.kubernetes.bearer_token) if overwritten else self._cluster
        launch = PodLaunch(
            cluster,
            log,
            pod,
            policies=policies,
            selector=self._selector,
            record=_record(request, now=pod.now),
            home=self._home,
            room=self._room,
        )
        return KubernetesEnvironment(cluster, request, launch, log, checks=checks, legacy=legacy)


class KubernetesEnvironment:
    """One job's pod."""

    def __init__(
        self,
        cluster: Cluster,
        request: JobRequest,
        launch: PodLaunch,
        sink: LogSink,
        *,
        checks: tuple[HealthCheck, ...],
        legacy: bool,
    ) -> None:
        self._cluster = cluster
        self._request = request
        self._launch = launch
        self._sink = sink
        self._checks = checks
        self._legacy = legacy
        self._stages: Stages | None = None
        self._background = anyio.CancelScope()

    @property
    def name(self) -> str:
        """The pod's name."""
        return self._launch.pod.names.pod

    async def prepare(self, group: TaskGroup) -> None:
        """Create the pod, wait until it runs, and begin the conversation with its agents. Raises JobError."""
        try:
            await self._launch.until_running(group)
        except KubeError as error:
            raise refusal(error, self._launch.pod) from error
        self._stages = self._make_stages()
        group.start_soon(self._run_background, name=f"pod {self._launch.pod.names.pod}")
        if self._checks:
            await self._check_services(self._stages)

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Run one attempt of a stage, drain its output and say what was seen."""
        assert self._stages is not None  # prepare came first
        try:
            evidence = await self._stages.run(script, attempt=attempt, stop=stop)
        except KubeError as error:
            raise job_error(error, self._launch.pod) from error
        if evidence.exit_code != 0:
            await self._launch.tell_warnings()
        return evidence

    def terminal(self) -> AbstractAsyncContextManager[Terminal]:
        """Open a shell in the build container; the pod runs."""
        pod = self._launch.pod
        return open_terminal(self._cluster.connected, pod.pod_namespace, pod.names.pod, container=BUILD)

    async def service_port(self, name: str, port: str) -> ServicePort | None:
        """Give the way to a port through the Service that was made for it.

        As in GitLab Runner every container has to be ready, and the port's protocol must be http or https.
        """
        pod = self._launch.pod
        found = proxied_port(pod, name, port)
        if found is None:
            return None
        client = self._cluster.connected
        subject = f"Cannot reach port {port} of {name}"
        if not found.scheme:
            raise UnavailableError(f"{subject}: its protocol is neither http nor https.", status=503)
        if not is_ready(read_pod(await client.read("pods", pod.pod_namespace, pod.names.pod))):
            raise UnavailableError(f"{subject}: not all containers of the job are ready.", status=503)
        return ServicePort(client, pod.pod_namespace, found.service, port=found.number, scheme=found.scheme)

    async def _check_services(self, stages: Stages) -> None:
        """Wait until the services that name a port take connections."""
        pod = self._launch.pod
        for check in self._checks:
            self._sink.note("plain", f'Waiting for service "{check.service}" ({check.image}) on port {check.port} ...')
        try:
            with closing(await self._launch.watch_again()) as watch:
                await until_services_answer(self._checks, stages, watch, config=pod.config)
        except KubeError as error:
            raise job_error(error, pod) from error
        except JobError:
            await self._launch.tell_warnings()
            raise

    async def remove(self) -> None:
        """Delete the pod, and with it everything it owns."""
        self._background.cancel()
        try:
            await self._launch.remove()
        except anyio.get_cancelled_exc_class():
            pod = self._launch.pod
            selector = f"{JOB_ID_LABEL}={pod.job.id}"
            log.error("objects may be left in the cluster", namespace=pod.pod_namespace, selector=selector)  # noqa: TRY400 -- time was up, and a traceback tells nothing here
            raise

    def _make_stages(self) -> Stages:
        watch = self._launch.watch
        assert watch is not None  # the pod runs
        if self._legacy:
            return ExecStages(self._exec, watch, self._sink)
        session = PodSession(lambda: self._attach("helper"), self._sink, job_id=self._request.job.id)
        session.attach_log()
        return AttachStages(session, watch, self._sink, attach_build=lambda: self._attach("build", stdin_only=True))

    async def _run_background(self) -> None:
        """What goes on beside the stages: the conversation, and the watch over the pod."""
        assert self._stages is not None
        with self._background:
            await self._stages.serve()

    def _exec(self, container: str, command: tuple[str, ...]) -> AbstractAsyncContextManager[ExecStream]:
        return open_exec(
            self._cluster.connected,
            self._launch.pod.pod_namespace,
            self._launch.pod.names.pod,
            container=container,
            command=command,
            stdin=True,
        )

    def _attach(self, container: str, *, stdin_only: bool = False) -> AbstractAsyncContextManager[AttachStream]:
        return open_attach(
            self._cluster.connected,
            self._launch.pod.pod_namespace,
            self._launch.pod.names.pod,
            container=container,
            stdin=True,
            stdout=not stdin_only,
            stderr=not stdin_only,
        )


def _record(request: JobRequest, *, now: float) -> JobRecord:
    """What a successor of this process needs to go on with the job, beside what lies in the pod itself."""
    plan = {
        "version": 1,
        "runner": short_token(request.runner.token),
        "system_id": request.system_id,
        "project_dir": request.directories.project_dir,
        "builds_dir": request.directories.builds_dir,
        "concurrent_id": request.variables.get("CI_CONCURRENT_ID"),
        "concurrent_project_id": request.concurrent_project_id,
        "feature_flags": dict(request.feature_flags),
        "given_at": now,
    }
    return JobRecord(payload=request.job.model_dump_json().encode(), plan=orjson.dumps(plan))
