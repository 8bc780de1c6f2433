"""What one job made in the cluster, and its removal.

Every object is noted before it is asked for, so that a create whose answer was lost is removed too. What has an owner
goes with it and is not noted; an owned object that comes into being after its owner is gone is the garbage collector's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import anyio
import structlog

from runner.executor.patience import patiently
from runner.kube.errors import ConflictError, KubeError, UnavailableError
from runner.kube.resources import resource_named

if TYPE_CHECKING:
    from runner.kube.client import KubeClient
    from runner.kube.resources import Manifest

log = structlog.get_logger()

LATE_PAUSES = (0.5, 2.0)
"""Seconds until an object is looked for again whose create was given up before its answer: it may still take effect."""


class Resources:
    """The objects of one job, removed in reverse order, each on its own."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        *,
        nonce_key: str,
        timeout: float,
        waiting: Callable[[UnavailableError], None] = lambda _: None,
    ) -> None:
        """`waiting` hears when a create meets an API server that is away, and is tried again."""
        self._waiting = waiting
        self._client = client
        self._namespace = namespace
        self._nonce_key = nonce_key
        self._timeout = timeout
        self._made: dict[tuple[str, str], str] = {}

    async def create(self, resource: str, manifest: Manifest, *, timeout: float) -> Manifest:
        """Create an object, with patience for an API server that is away. Raises KubeError."""
        name = manifest["metadata"]["name"]
        if not manifest["metadata"].get("ownerReferences"):
            self._made[resource, name] = ""

        async def attempt() -> Manifest:
            return await self._client.create(resource, self._place(resource), manifest, nonce_key=self._nonce_key)

        try:
            made = await patiently(attempt, timeout=timeout, waiting=self._waiting)
        except UnavailableError:
            raise  # it may be there all the same
        except KubeError:
            self.forget(resource, name)  # ours was not made; what has its name is another's
            raise
        if (resource, name) in self._made:
            self._made[resource, name] = made["metadata"].get("uid", "")
        return made

    async def create_all(self, wanted: Iterable[tuple[str, Manifest]], *, timeout: float) -> None:
        """Create objects that do not need each other, at once. Raises the first KubeError when all have been tried."""

        def create(resource: str, manifest: Manifest) -> Callable[[], Awaitable[object]]:
            return lambda: self.create(resource, manifest, timeout=timeout)

        await all_of(create(resource, manifest) for resource, manifest in wanted)

    async def give_owner(self, resource: str, name: str, owner: Manifest) -> None:
        """Make a pod the owner of an object that had to be there before it. Raises KubeError."""

        async def attempt() -> Manifest:
            patch: Manifest = {"metadata": {"ownerReferences": [owner]}}
            return await self._client.patch(resource, self._place(resource), name, patch)

        await patiently(attempt, timeout=self._timeout)
        self.forget(resource, name)

    def forget(self, resource: str, name: str) -> None:
        """The object has an owner that takes it along, or is known to be gone."""
        self._made.pop((resource, name), None)

    async def delete_all(self, *, grace_seconds: float | None) -> None:
        """Delete what is there. What cannot be deleted is logged; the rest is deleted all the same."""
        for (resource, name), uid in reversed(tuple(self._made.items())):
            await self._delete(resource, name, uid, grace_seconds)

    async def _delete(self, resource: str, name: str, uid: str, grace_seconds: float | None) -> None:
        async def attempt() -> bool:
            return await self._client.delete(
                resource, self._place(resource), name, grace_seconds=grace_seconds, uid=uid
            )

        try:
            found = await patiently(attempt, timeout=self._timeout)
            for pause in () if found or uid else LATE_PAUSES:
                await anyio.sleep(pause)
                if await patiently(attempt, timeout=self._timeout):
                    break
        except ConflictError:
            pass  # another object has the name by now: ours is gone
        except KubeError as error:
            log.warning("an object of a job is left in the cluster", resource=resource, name=name, reason=str(error))
            return
        self.forget(resource, name)

    def _place(self, resource: str) -> str:
        return self._namespace if resource_named(resource).namespaced else ""


async def all_of(requests: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Send requests at once and wait for all. Raises the KubeError of the first one that failed, not a group."""
    errors: list[KubeError] = []

    async def send(request: Callable[[], Awaitable[object]]) -> None:
        try:
            await request()
        except KubeError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(send, request)
    if errors:
        raise errors[0]
