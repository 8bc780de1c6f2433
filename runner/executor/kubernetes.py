"""The Kubernetes executor: one pod for each job.

`KubernetesExecutor` holds what the jobs of one runner share, the connection and one watch for each namespace.
`KubernetesEnvironment` is one job's pod from its creation to its removal. KubeError becomes JobError in
`refusals`, and nowhere else.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio
import orjson
import structlog
from anyio.abc import TaskGroup, TaskStatus

from runner.executor.cluster import Cluster
from runner.executor.refusals import job_error, refusal
from runner.executor.requesting import pod_request
from runner.executor.resources import Resources
from runner.executor.session import PodSession
from runner.executor.stages import AttachStages, ExecStages, Stages
from runner.executor.waiting import PodWait
from runner.job.variables import short_token
from runner.kube.attach import open_attach, open_exec
from runner.kube.errors import KubeError
from runner.podspec.environment import build_environment_secret
from runner.podspec.labels import NAME_LABEL, manager_selector
from runner.podspec.manifest import owner_reference
from runner.podspec.pod import build_pod, pod_warnings
from runner.podspec.secret import JobRecord, build_job_secrets
from runner.podspec.volumes import shares_builds_dir

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.executor.base import JobRequest, LogSink
    from runner.executor.watching import PodWatch
    from runner.job.verdict import Evidence
    from runner.kube.attach import AttachStream, ExecStream
    from runner.podspec.request import PodRequest
    from runner.shell.context import Script

log = structlog.get_logger()

LEGACY_FLAG = "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY"
CREATE_TIMEOUT = 120.0
"""Seconds for which a job waits for an API server that is away before its pod exists."""

REMOVAL_GRACE = 1.0
"""Seconds between TERM and KILL once the job's own is over; agents leave at once, services have had their time."""


class KubernetesExecutor:
    """Pods for the jobs of one runner."""

    def __init__(self, runner: RunnerConfig, *, system_id: str, default_helper_image: str, cluster: Cluster) -> None:
        self._runner = runner
        self._system_id = system_id
        self._default_helper_image = default_helper_image
        self._cluster = cluster
        self._selector = manager_selector(system_id=system_id, runner_token=runner.token)

    @property
    def shares_builds_dir(self) -> bool:
        """Whether the builds directory lies on a volume that other pods see too."""
        return shares_builds_dir(self._runner)

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hold the connection and the watches until cancelled."""
        await self._cluster.serve(task_status=task_status)

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
        for warning in pod_warnings(pod):
            log.note("warning", warning)
        # A token of the job's own needs a connection of its own.
        overwritten = ("bearer_token",) in pod.origins
        cluster = self._cluster.with_token(pod.kubernetes.bearer_token) if overwritten else self._cluster
        return KubernetesEnvironment(cluster, request, pod, log, selector=self._selector, legacy=legacy)


class KubernetesEnvironment:
    """One job's pod."""

    def __init__(
        self, cluster: Cluster, request: JobRequest, pod: PodRequest, sink: LogSink, *, selector: str, legacy: bool
    ) -> None:
        self._cluster = cluster
        self._request = request
        self._pod = pod
        self._sink = sink
        self._selector = selector
        self._legacy = legacy
        self._resources: Resources | None = None
        self._watch: PodWatch | None = None
        self._stages: Stages | None = None
        self._background = anyio.CancelScope()

    async def prepare(self, group: TaskGroup) -> None:
        """Create the pod, wait until it runs, and begin the conversation with its agents. Raises JobError."""
        try:
            client = await self._cluster.client()
            namespace, name = self._pod.pod_namespace, self._pod.names.pod
            kubernetes = self._pod.kubernetes
            self._resources = Resources(
                client, namespace, nonce_key=NAME_LABEL, timeout=kubernetes.cleanup_resources_timeout
            )
            self._watch = await self._cluster.watch(
                namespace, self._selector, name, poll_interval=kubernetes.poll_interval
            )
            await self._create(self._resources)
            wait = PodWait(client, self._watch, self._sink, namespace=namespace, name=name, settings=kubernetes)
            await wait.until_running()
            self._stages = self._make_stages(group)
            group.start_soon(self._run_background, name=f"pod {name}")
        except KubeError as error:
            raise refusal(error, self._pod) from error

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Run one attempt of a stage, drain its output and say what was seen."""
        assert self._stages is not None  # prepare came first
        try:
            return await self._stages.run(script, attempt=attempt, stop=stop)
        except KubeError as error:
            raise job_error(error, self._pod) from error

    async def remove(self) -> None:
        """Delete the pod, and with it everything it owns."""
        self._background.cancel()
        if self._watch:
            self._watch.close()
        try:
            if self._resources:
                grace = self._pod.kubernetes.cleanup_grace_period_seconds
                if grace is None:
                    grace = self._pod.kubernetes.pod_termination_grace_period_seconds
                await self._resources.delete_all(grace_seconds=REMOVAL_GRACE if grace is None else grace)
        finally:
            await self._cluster.leave()

    async def _create(self, resources: Resources) -> None:
        """Create the pod and the Secrets it owns, so that nothing outlives it.

        Only the Secret that its services need to start comes before it, and gets its owner after.
        """
        environment = build_environment_secret(self._pod)
        if environment:
            await resources.create("secrets", environment, timeout=CREATE_TIMEOUT)
        owner = owner_reference(await resources.create("pods", build_pod(self._pod), timeout=CREATE_TIMEOUT))
        for secret in build_job_secrets(self._pod, self._record(), owner=owner):
            await resources.create("secrets", secret, timeout=CREATE_TIMEOUT)
            resources.forget("secrets", secret["metadata"]["name"])
        if environment:
            await resources.give_owner("secrets", environment["metadata"]["name"], owner)

    def _record(self) -> JobRecord:
        """What a successor of this process needs to go on with the job, beside what lies in the pod itself."""
        request = self._request
        plan = {
            "version": 1,
            "runner": short_token(request.runner.token),
            "system_id": request.system_id,
            "project_dir": request.directories.project_dir,
            "builds_dir": request.directories.builds_dir,
            "concurrent_id": request.variables.get("CI_CONCURRENT_ID"),
            "concurrent_project_id": request.concurrent_project_id,
            "feature_flags": dict(request.feature_flags),
            "given_at": self._pod.now,
        }
        return JobRecord(payload=request.job.model_dump_json().encode(), plan=orjson.dumps(plan))

    def _make_stages(self, group: TaskGroup) -> Stages:
        assert self._watch is not None
        if self._legacy:
            return ExecStages(self._exec, self._watch, self._sink)
        session = PodSession(lambda: self._attach("helper"), self._sink, job_id=self._request.job.id)
        session.attach_log()
        return AttachStages(
            session, self._watch, self._sink, attach_build=lambda: self._attach("build", stdin_only=True)
        )

    async def _run_background(self) -> None:
        """What goes on beside the stages: the conversation, and the watch over the pod."""
        assert self._stages is not None
        with self._background:
            await self._stages.serve()

    def _exec(self, container: str, command: tuple[str, ...]) -> AbstractAsyncContextManager[ExecStream]:
        return open_exec(
            self._cluster.connected,
            self._pod.pod_namespace,
            self._pod.names.pod,
            container=container,
            command=command,
            stdin=True,
        )

    def _attach(self, container: str, *, stdin_only: bool = False) -> AbstractAsyncContextManager[AttachStream]:
        return open_attach(
            self._cluster.connected,
            self._pod.pod_namespace,
            self._pod.names.pod,
            container=container,
            stdin=True,
            stdout=not stdin_only,
            stderr=not stdin_only,
        )
