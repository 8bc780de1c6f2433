"""What the API server and a kubelet know of each other.

Law: a kubelet sees pods as `PodRecord`s and reports through them; the API server sees processes as `Stdio`. Everything
between goes through these two, so that a new kubelet is one class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio

from runner.testing.cluster.problems import Manifest
from runner.testing.cluster.stdio import Reader, Stdio

if TYPE_CHECKING:
    from runner.testing.cluster.control import Cluster

NODE_NAME = "embedded"
"""The one node."""

StartSoon = Callable[..., None]
"""How a kubelet starts a task of its own in the server's task group: a coroutine function and its arguments."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A command to run in a running container."""

    pod_uid: str
    container: str
    command: tuple[str, ...]
    stdin: bool = False
    tty: bool = False


class Kubelet(Protocol):
    """What runs the pods of the embedded cluster."""

    async def start(self, start_soon: StartSoon) -> None:
        """Be ready for pods; tasks started with `start_soon` end with the server."""
        ...

    async def run_pod(self, pod: PodRecord) -> None:
        """Live the pod's life until it is removed: called once for each pod, in a task of its own."""
        ...

    def stdio(self, pod_uid: str, container: str) -> Stdio | None:
        """Return the streams of a container that has been started, ended or not; None for any other."""
        ...

    async def execute(self, execution: Execution, reader: Reader) -> Stdio:
        """Start a command in a running container, its output going to `reader`.

        The process belongs to the container: it lives on when its client leaves. Raises StatusError when it cannot be
        started.
        """
        ...

    async def aclose(self) -> None:
        """End all that runs and remove all that was made."""
        ...


class PodRecord:
    """One pod as its kubelet sees it: what is wanted, how it is reported, and when it must end."""

    def __init__(self, cluster: Cluster, manifest: Manifest) -> None:
        self._cluster = cluster
        self._last = manifest
        self.namespace: str = manifest["metadata"]["namespace"]
        self.name: str = manifest["metadata"]["name"]
        self.uid: str = manifest["metadata"]["uid"]
        self.terminating = anyio.Event()
        """Set when somebody has deleted the pod: its containers get TERM now."""
        self.removed = anyio.Event()
        """Set when the object is gone, by `remove` or by force: its containers get KILL now."""

    @property
    def manifest(self) -> Manifest:
        """The pod as stored now, or as it was when it went."""
        current = self._cluster.pod(self.namespace, self.name)
        if current is not None and current["metadata"]["uid"] == self.uid:
            self._last = current
        return self._last

    @property
    def grace_timeout(self) -> float:
        """Seconds between TERM and KILL, as the deletion says."""
        return float(self.manifest["metadata"].get("deletionGracePeriodSeconds", 0))

    def bind(self) -> None:
        """Put the pod on the node, as the scheduler does."""
        self._cluster.bind_pod(self, NODE_NAME)

    def set_status(self, status: Manifest) -> None:
        """Report a status; nothing when the object is gone."""
        self._cluster.set_pod_status(self, status)

    def event(self, reason: str, message: str, *, kind: str = "Normal") -> None:
        """Write an Event about the pod."""
        self._cluster.record_event(self, reason, message, kind=kind)

    def remove(self) -> None:
        """Take the object away: its containers have ended."""
        self._cluster.remove_pod(self)

    def delete(self, *, grace_seconds: int | None = None) -> None:
        """Delete the pod as some client would."""
        self._cluster.delete_pod(self, grace_seconds)

    def lookup(self, resource: str, name: str) -> Manifest | None:
        """Return another object of the pod's namespace: a Secret, a ConfigMap, a claim."""
        return self._cluster.store.get((resource, self.namespace, name))

    async def wait_changed(self) -> None:
        """Wait until anything in the cluster changes: for a kubelet that looks again for what was missing."""
        await self._cluster.store.wait_changed(self._cluster.store.version)


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return as soon as one of the waits does; the others are cancelled."""
    async with anyio.create_task_group() as group:

        async def wait(one: Callable[[], Awaitable[object]]) -> None:
            await one()
            group.cancel_scope.cancel()

        for one in waits:
            group.start_soon(wait, one)
