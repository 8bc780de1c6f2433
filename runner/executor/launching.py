"""From a request to a pod that runs: what it needs, what it owns, the wait, and another pod where an image could not be
had and another pull policy is left.

Whatever there is of it at any moment, `remove` takes it away. Raises KubeError as it comes and JobError for the rest.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import structlog

from runner.executor.availability import until_available, until_namespace_is_ready
from runner.executor.entrypoint import EntrypointLog
from runner.executor.events import PodEvents
from runner.executor.registries import find_logins
from runner.executor.resources import Resources, all_of
from runner.executor.service_ends import ServiceEnds
from runner.executor.service_logs import ServiceLogs, shows_services
from runner.executor.waiting import PodWait
from runner.kube.errors import ForbiddenError, UnavailableError
from runner.podspec.containers import HONOR_ENTRYPOINT_FLAG
from runner.podspec.creation import namespaces, objects_of_pod, secrets_before_pod, with_credentials
from runner.podspec.events import EventTable
from runner.podspec.labels import NAME_LABEL
from runner.podspec.manifest import owner_reference
from runner.podspec.names import RANDOM_ALPHABET, RANDOM_LENGTH, Names, object_name
from runner.podspec.pending import rejection_sentence
from runner.podspec.pod import build_pod
from runner.podspec.pull import PullPolicies, next_attempt_line, pull_failure_line
from runner.podspec.quota import never_fits

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from runner.executor.base import LogSink
    from runner.executor.cluster import Cluster
    from runner.executor.room import Room
    from runner.executor.watching import PodWatch
    from runner.kube.client import KubeClient
    from runner.podspec.manifest import Manifest
    from runner.podspec.registry import RegistryLogin
    from runner.podspec.request import PodRequest
    from runner.podspec.secret import JobRecord
    from runner.podspec.trouble import Trouble

T = TypeVar("T")

CREATE_TIMEOUT = 120.0
"""Seconds for which a job waits for an API server that is away before its pod exists."""

GONE_TIMEOUT = 30.0
"""Seconds for which a pod whose image could not be had is waited for to go: what it holds may be needed by the next."""

REMOVAL_GRACE = 1.0
"""Seconds between TERM and KILL once the job's own is over; agents leave at once, services have had their time."""

EVENTS_FLAG = "FF_PRINT_POD_EVENTS"
REACHABLE_FLAG = "FF_WAIT_FOR_POD_TO_BE_REACHABLE"


class PodLaunch:
    """The pods of one job until one of them runs: most often there is only one."""

    def __init__(
        self,
        cluster: Cluster,
        sink: LogSink,
        pod: PodRequest,
        *,
        policies: PullPolicies,
        selector: str,
        record: JobRecord,
        home: str,
        room: Room,
    ) -> None:
        """`home` is the folder of the manager's user, where docker keeps registry credentials; empty for none."""
        self.pod = replace(pod, pull_policies=policies.current())
        """The pod there is, or the one to come."""
        self.watch: PodWatch | None = None
        self.events: PodEvents | None = None
        self._entrypoint: EntrypointLog | None = None
        self._service_logs: ServiceLogs | None = None
        self._service_ends: ServiceEnds | None = None
        self._cluster = cluster
        self._sink = sink
        self._policies = policies
        self._selector = selector
        self._record = record
        self._home = home
        self._room = room
        self._coming = room.expect(pod.job.id)
        self._logins: tuple[RegistryLogin, ...] = ()
        self._table = EventTable()
        self._place: Resources | None = None
        self._told_away = False
        self._resources: list[Resources] = []
        """What there is of each pod: the last one's, and what of those before it could not be deleted."""

    async def until_running(self, group: TaskGroup) -> None:
        """Make pods until one runs; what follows its events belongs to the job's `group`."""
        client = await self._cluster.client()
        await self._make_namespace(client)
        await until_available(client, self.pod)
        await self._find_logins()
        attempt = 1
        while (found := await self._try_pod(client, group)) is not None:
            attempt += 1
            await self.tell_warnings()
            self._choose_next(found, attempt)
            await self._clear()
            self.pod = _renamed(self.pod, self._policies)

    async def watch_again(self) -> PodWatch:
        """Follow the pod that runs once more, beside `watch`; close it after use."""
        pod = self.pod
        return await self._cluster.watch(
            pod.pod_namespace, self._selector, pod.names.pod, poll_interval=pod.kubernetes.poll_interval
        )

    async def tell_warnings(self) -> None:
        """After something failed, write which services have ended and what the cluster warns of in the pod there is."""
        if self._service_ends:
            await self._service_ends.tell()
        if self.events:
            await self.events.tell_warnings()

    async def remove(self) -> None:
        """Delete the pod, with it everything that it owns, and the job's own namespace."""
        self._unfollow()
        self._coming.arrived()
        async with AsyncExitStack() as last:
            last.push_async_callback(self._cluster.leave)
            if self._place:
                last.push_async_callback(partial(self._place.delete_all, grace_seconds=None))
            if self.watch:
                last.callback(self.watch.close)
            for resources in reversed(self._resources):
                await resources.delete_all(grace_seconds=self._grace)
            self._room.pod_gone()

    @property
    def _grace(self) -> float:
        kubernetes = self.pod.kubernetes
        asked = kubernetes.cleanup_grace_period_seconds
        if asked is None:
            asked = kubernetes.pod_termination_grace_period_seconds
        return REMOVAL_GRACE if asked is None else asked

    def _objects(self, client: KubeClient) -> Resources:
        return Resources(
            client,
            self.pod.pod_namespace,
            nonce_key=NAME_LABEL,
            timeout=self.pod.kubernetes.cleanup_resources_timeout,
            waiting=self._tell_away,
        )

    def _tell_away(self, error: UnavailableError) -> None:
        """Once, though several requests may fail together."""
        if not self._told_away:
            self._told_away = True
            self._sink.note("warning", f"{error.message} It is tried again for {CREATE_TIMEOUT:g} s.")

    async def _make_namespace(self, client: KubeClient) -> None:
        """Make the namespace of the job's own, where it has one. It outlives a pod whose image could not be had."""
        for resource, namespace in namespaces(self.pod):
            self._place = self._objects(client)
            await self._place.create(resource, namespace, timeout=CREATE_TIMEOUT)
            await until_namespace_is_ready(client, self.pod)

    async def _find_logins(self) -> None:
        if self.pod.kubernetes.use_service_account_image_pull_secrets:
            return  # the pod would not name the Secret
        warn: Callable[[str], None] = partial(self._sink.note, "warning")
        self._logins = await find_logins(self.pod.job, self.pod.variables, home=self._home, warn=warn)

    async def _try_pod(self, client: KubeClient, group: TaskGroup) -> Trouble | None:
        """Make one pod and wait for it; None when it runs, else what keeps it from that."""
        pod = self.pod = with_credentials(self.pod, self._logins)
        structlog.contextvars.bind_contextvars(pod=pod.names.pod)  # for the lines of this job
        namespace, name, kubernetes = pod.pod_namespace, pod.names.pod, pod.kubernetes
        resources = self._objects(client)
        self._resources.append(resources)
        self.watch = await self._cluster.watch(namespace, self._selector, name, poll_interval=kubernetes.poll_interval)
        self.events = PodEvents(
            client, self._sink, namespace=namespace, name=name, warnings=kubernetes.print_pod_warning_events
        )
        await self._create(resources)
        follows = pod.flag(EVENTS_FLAG, default=False)
        if follows:
            group.start_soon(self.events.follow, self._table, name=f"events of {name}")
        if pod.flag(HONOR_ENTRYPOINT_FLAG, default=False):
            self._entrypoint = EntrypointLog(client, self._sink, namespace=namespace, name=name)
            group.start_soon(self._entrypoint.follow, name=f"entrypoint of {name}")
        wait = PodWait(
            client, self.watch, self._sink, namespace=namespace, name=name, settings=kubernetes, quiet=follows
        )
        found = await wait.until_running()
        if found is None and pod.flag(REACHABLE_FLAG, default=False):
            await wait.until_reachable()
        if found is None and pod.services and shows_services(pod):
            self._service_logs = ServiceLogs(client, self._sink, pod)
            group.start_soon(self._service_logs.follow, name=f"services of {name}")
        if found is None and pod.services:
            self._service_ends = ServiceEnds(client, self._sink, pod, watch=await self.watch_again())
            group.start_soon(self._service_ends.follow, name=f"ends of services of {name}")
        return found

    async def _create(self, resources: Resources) -> None:
        """Create the pod and what it owns, so that nothing outlives it.

        Only the Secrets that its containers need to start come before it, and get their owner after.
        """
        before = secrets_before_pod(self.pod, self._logins)
        await self._with_room(partial(resources.create_all, before, timeout=CREATE_TIMEOUT))
        made = await self._create_pod(resources)
        self._coming.arrived()
        owner = owner_reference(made)
        owned = objects_of_pod(self.pod, self._record, owner=owner)
        await all_of(
            (
                partial(resources.create_all, owned, timeout=CREATE_TIMEOUT),
                *(partial(resources.give_owner, kind, secret["metadata"]["name"], owner) for kind, secret in before),
            )
        )

    async def _create_pod(self, resources: Resources) -> Manifest:
        """Create the pod; where the cluster has no root, with a helper that is whoever its image or the cluster says.

        OpenShift gives all containers of a namespace one user, so that its helper does without. What a cluster objects
        to only its words tell, so whatever it forbids is asked for once more without root; its second answer counts.
        """
        make = partial(resources.create, "pods", timeout=CREATE_TIMEOUT)
        try:
            return await self._with_room(partial(make, build_pod(self.pod)))
        except ForbiddenError as refused:
            unrooted = replace(self.pod, helper_may_be_root=False)
            manifest = build_pod(unrooted)
            if refused.quota or manifest == build_pod(self.pod):
                raise
        self.pod = unrooted
        return await self._with_room(partial(make, manifest))

    async def _with_room(self, make: Callable[[], Awaitable[T]]) -> T:
        """Make something; where a quota is full wait until there is room, for at most `poll_timeout`. Raises KubeError.

        What would not fit into an empty quota either is not waited for.
        """
        try:
            return await make()
        except ForbiddenError as full:
            if not full.quota or never_fits(full.message):
                raise
            timeout, reason = self.pod.kubernetes.poll_timeout, rejection_sentence(full.message)
        self._sink.note("warning", f"{reason}; the job waits for room, for at most {timeout:g} s")
        deadline = anyio.current_time() + timeout
        with self._room.parked():
            while True:
                await self._room.until_changed(deadline - anyio.current_time())
                try:
                    return await make()
                except ForbiddenError as full:
                    if not full.quota or anyio.current_time() >= deadline:
                        raise

    def _choose_next(self, found: Trouble, attempt: int) -> None:
        """Move on to the next pull policy, where an image could not be had and one is left. Raises JobError."""
        if not found.is_pull:
            raise found.error()
        image, container = found.image, found.container
        policy = self.pod.pull_policies.get(container, "")
        line = pull_failure_line(image=image, container=container, policy=policy, message=found.message)
        self._sink.note("warning", line)
        left = self._policies.after_failure(container)
        if left is None:
            raise found.error()
        self._policies = left
        self._sink.note(
            "green",
            next_attempt_line(attempt=attempt, image=image, container=container, policy=left.current()[container]),
        )

    def _unfollow(self) -> None:
        for followed in (self.events, self._entrypoint, self._service_logs, self._service_ends):
            if followed:
                followed.close()

    async def _clear(self) -> None:
        """Remove a pod that will not run, so that the next one has room."""
        assert self.watch is not None  # there is a pod
        self._unfollow()
        await self._resources[-1].delete_all(grace_seconds=self._grace)
        await self.watch.until_gone(timeout=GONE_TIMEOUT)
        self.watch.close()


def _renamed(pod: PodRequest, policies: PullPolicies) -> PodRequest:
    """The same pod under another name, with the pull policies that are due now."""
    suffix = "".join(random.choices(RANDOM_ALPHABET, k=RANDOM_LENGTH))
    names = Names(base=pod.names.base, pod=object_name(pod.names.base, suffix))
    return replace(pod, names=names, pull_policies=policies.current())
