"""What managers that are gone have left in the cluster, removed when its jobs cannot run any more.

Law: only what carries the runner's label and a moment that has passed. Each object of a job says until when it may be
needed, whatever became of its own manager, so nobody has to know who lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import structlog

from runner.kube.errors import ForbiddenError, KubeError
from runner.podspec.labels import JOB_ID_LABEL, has_expired, runner_selector

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.executor.cluster import Cluster
    from runner.podspec.manifest import Manifest

FIRST_SWEEP_DELAY = 30.0
"""Seconds after the start: the first jobs come first."""
SWEEP_INTERVAL = 600.0

log = structlog.get_logger()


class Sweeper:
    """Removes the expired pods of one runner, or the namespaces where each of its jobs has its own.

    What a pod owns goes with it. Namespaces that jobs chose are not looked into: nobody remembers which they were.
    """

    def __init__(
        self,
        cluster: Cluster,
        runner: RunnerConfig,
        *,
        now: Callable[[], float] = time.time,
        delay: float = FIRST_SWEEP_DELAY,
        interval: float = SWEEP_INTERVAL,
    ) -> None:
        """`now` gives seconds since the epoch: expiry is a moment in the world's time, on every manager's clock."""
        self._cluster = cluster
        kubernetes = runner.kubernetes
        own = kubernetes.namespace_per_job
        self._resource, self._namespace = ("namespaces", "") if own else ("pods", kubernetes.namespace)
        self._selector = runner_selector(runner.token)
        self._now = now
        self._delay, self._interval = delay, interval
        self._told = False

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        await anyio.sleep(self._delay)
        while True:
            try:
                await self.sweep()
            except KubeError as error:
                self._tell(error)
            except Exception as error:  # noqa: BLE001 -- tidying up must not end the jobs that run
                log.error("a fault of this program ended a sweep", fault=type(error).__name__)  # noqa: TRY400 -- an object's words may be anything
            await anyio.sleep(self._interval)

    async def sweep(self) -> None:
        """Remove what has expired. Raises KubeError; what was left is for the next time."""
        client = await self._cluster.client()
        now = self._now()
        for found in await client.list(self._resource, self._namespace, label_selector=self._selector):
            if has_expired(found, now) and not found["metadata"].get("deletionTimestamp"):
                await self._remove(found)

    async def _remove(self, found: Manifest) -> None:
        metadata = found["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace", "")
        await self._cluster.connected.delete(self._resource, namespace, name, uid=metadata["uid"])
        job = metadata["labels"].get(JOB_ID_LABEL, "")
        log.info("left behind by a job that is long over: removed", name=name, namespace=namespace or name, job=job)

    def _tell(self, error: KubeError) -> None:
        """Say once that rights are missing; a cluster that is away tells of itself with the jobs that need it."""
        if isinstance(error, ForbiddenError) and not self._told:
            self._told = True
            log.warning("what other managers left is not removed", resource=self._resource, reason=str(error))
