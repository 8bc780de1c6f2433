"""What one job made in the cluster, and its removal.

Every object is noted before it is asked for, so that a create whose answer was lost is removed too. The pod owns the
rest, so its deletion takes them along; they are deleted by name only when there is no pod to own them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import structlog

from runner.executor.patience import patiently
from runner.kube.errors import ConflictError, KubeError, UnavailableError

if TYPE_CHECKING:
    from runner.kube.client import KubeClient
    from runner.kube.resources import Manifest

log = structlog.get_logger()

LATE_PAUSES = (0.5, 2.0)
"""Seconds until an object is looked for again whose create was given up before its answer: it may still take effect."""


class Resources:
    """The objects of one job, removed in reverse order, each on its own."""

    def __init__(self, client: KubeClient, namespace: str, *, nonce_key: str, timeout: float) -> None:
        self._client = client
        self._namespace = namespace
        self._nonce_key = nonce_key
        self._timeout = timeout
        self._made: dict[tuple[str, str], str] = {}

    async def create(self, resource: str, manifest: Manifest, *, timeout: float) -> Manifest:
        """Create an object, with patience for an API server that is away. Raises KubeError."""
        name = manifest["metadata"]["name"]
        self._made[resource, name] = ""

        async def attempt() -> Manifest:
            return await self._client.create(resource, self._namespace, manifest, nonce_key=self._nonce_key)

        try:
            made = await patiently(attempt, timeout=timeout)
        except UnavailableError:
            raise  # it may be there all the same
        except KubeError:
            self.forget(resource, name)  # ours was not made; what has its name is another's
            raise
        self._made[resource, name] = made["metadata"].get("uid", "")
        return made

    async def give_owner(self, resource: str, name: str, owner: Manifest) -> None:
        """Make a pod the owner of an object that had to be there before it. Raises KubeError."""

        async def attempt() -> Manifest:
            patch: Manifest = {"metadata": {"ownerReferences": [owner]}}
            return await self._client.patch(resource, self._namespace, name, patch)

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
            return await self._client.delete(resource, self._namespace, name, grace_seconds=grace_seconds, uid=uid)

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
