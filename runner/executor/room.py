"""Whether another job of a runner could start where its pods go, and the wait of those that cannot.

`has_room` is asked before GitLab is, where `capacity_aware` is set. A job that is here already and meets a full quota
waits until a pod of ours has gone or `poll_timeout` is over; while one waits, no further job is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import structlog

from runner.executor.base import JobRequest
from runner.executor.requesting import pod_request
from runner.job.feature_flags import resolve_flags
from runner.job.outcome import JobError
from runner.job.payload import Job
from runner.job.variables import Variables, environment_variables, short_token
from runner.kube.errors import ForbiddenError, KubeError
from runner.podspec.pod import build_pod
from runner.podspec.quota import full_quota
from runner.shell.directories import build_directories

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.executor.cluster import Cluster
    from runner.kube.resources import Manifest

log = structlog.get_logger()

LOOK_INTERVAL = 2.0
"""Seconds for which what the quotas said is believed; a pod of ours that comes or goes ends it."""

LOOK_TIMEOUT = 10.0
"""Seconds for which the API server may think about its quotas."""

PARK_INTERVAL = 2.0
"""Seconds after which a job that waits for room tries again, for pods that are not ours leave too."""


class Room:
    """What is known of the room for one runner's pods."""

    def __init__(self, runner: RunnerConfig, cluster: Cluster, *, default_pod: Callable[[], Manifest]) -> None:
        """`default_pod` gives the pod of a job that asks for nothing of its own."""
        self._runner = runner
        self._cluster = cluster
        self._default_pod = default_pod
        self._pod: Manifest | None = None
        self._announced: set[int] = set()
        self._coming = 0
        self._parked = 0
        self._quotas: tuple[Manifest, ...] = ()
        self._known_until = float("-inf")
        self._changes = 0
        self._looking = anyio.Lock()
        self._forbidden = False
        self._changed = anyio.Event()
        self._told = ""

    async def has_room(self, beside: int) -> bool:
        """Say whether a further job's pod would be taken, beside so many that are on their way. Never raises.

        Always true without `capacity_aware`, and where each job has a namespace of its own. The log is told when that
        changes.
        """
        kubernetes = self._runner.kubernetes
        if not kubernetes.capacity_aware or kubernetes.namespace_per_job:
            return True
        try:
            trouble = await self._trouble(beside)
        except Exception as error:  # noqa: BLE001 -- whatever a quota looks like, jobs are asked for
            trouble = ""
            fields = {**_fields(self._runner), "fault": type(error).__name__}
            log.error("a fault of this program: capacity_aware has no effect", **fields)  # noqa: TRY400 -- an object's words may be anything
        if trouble and not self._told:
            log.warning("no job is asked for: it could not start", **_fields(self._runner), reason=trouble)
        elif self._told and not trouble:
            log.info("jobs are asked for again", **_fields(self._runner))
        self._told = trouble
        return not trouble

    @contextmanager
    def parked(self) -> Iterator[None]:
        """While a job waits for room."""
        self._parked += 1
        try:
            yield
        finally:
            self._parked -= 1

    async def until_changed(self, timeout: float) -> None:
        """Wait until a pod of this runner has gone, or for so long."""
        with anyio.move_on_after(min(timeout, PARK_INTERVAL)):
            await self._changed.wait()

    @contextmanager
    def expected(self, job: int) -> Iterator[None]:
        """A job has come, and `expect` may follow."""
        self._announced.add(job)
        try:
            yield
        finally:
            self._announced.discard(job)

    def expect(self, job: int) -> Coming:
        """The pod of a job will come."""
        self._announced.discard(job)
        return Coming(self)

    def pod_gone(self) -> None:
        """A pod of ours has left its room."""
        self._forget()
        self._changed.set()
        self._changed = anyio.Event()

    def _forget(self) -> None:
        self._changes += 1
        self._known_until = float("-inf")

    async def _trouble(self, beside: int) -> str:
        if self._parked:
            return "a job that is here already waits for room"
        try:
            with anyio.fail_after(LOOK_TIMEOUT):
                quotas = await self._look()
        except ForbiddenError as error:
            if not self._forbidden:
                log.warning("capacity_aware has no effect", **_fields(self._runner), reason=str(error))
            self._forbidden = True
            return ""
        except TimeoutError:
            return "the API server does not answer"
        except KubeError as error:
            return str(error)
        return full_quota(quotas, self._default(), count=1 + beside + len(self._announced) + self._coming)

    async def _look(self) -> tuple[Manifest, ...]:
        async with self._looking:
            now, changes = anyio.current_time(), self._changes
            if now >= self._known_until:
                client = await self._cluster.client()
                self._quotas = await client.list("resourcequotas", self._runner.kubernetes.namespace)
                if changes == self._changes:
                    self._known_until = now + LOOK_INTERVAL
            return self._quotas

    def _default(self) -> Manifest:
        if self._pod is None:
            self._pod = self._default_pod()
        return self._pod


class Coming:
    """A job whose pod is not there yet, and counts all the same."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._room._coming += 1
        self._here = False

    def arrived(self) -> None:
        """The pod is there, or will never be."""
        if not self._here:
            self._here = True
            self._room._coming -= 1
            self._room._forget()


def default_pod(runner: RunnerConfig, *, system_id: str, default_helper_image: str) -> Manifest:
    """Build the pod of a job that asks for nothing; where the configuration makes none, one without containers."""
    kubernetes = runner.kubernetes
    if not kubernetes.image:
        runner = runner.model_copy(update={"kubernetes": kubernetes.model_copy(update={"image": "default"})})
    job = Job(id=1, token="none")
    own = environment_variables(runner.environment)
    flags, _ = resolve_flags(runner.feature_flags, own)
    try:
        request = JobRequest(
            job=job,
            runner=runner,
            variables=Variables(own).expanded(),
            feature_flags=flags,
            directories=build_directories(job, runner, concurrent_project_id=0, shared=False),
            system_id=system_id,
        )
        return build_pod(pod_request(request, runner, system_id=system_id, default_helper_image=default_helper_image))
    except JobError as error:
        log.warning("capacity_aware counts pods only", **_fields(runner), reason=str(error))
        return {"metadata": {}, "spec": {}}


def _fields(runner: RunnerConfig) -> dict[str, str]:
    return {"runner": short_token(runner.token), "runner_name": runner.name}
