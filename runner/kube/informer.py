"""Pods as the API server sees them: one list and one watch for all the jobs of a namespace.

Law: a watch tells news, and only a GET proves that a pod is not there. While the watch is not in step, each waiter
asks for its own pod every `poll_interval`; while it is, one asks rarely, so that no lost event can hold a job for
ever. Every wait is bounded or cancelled by its caller.

Polling 1,000 pods costs most of a core, this about a hundredth of one, and the API server one stream.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import orjson
import structlog

from runner.kube.errors import GoneError, KubeError, NotFoundError, UnavailableError, error_from_status
from runner.kube.podcache import CachedPod, LineSplitter, PodCache, is_newer, is_older
from runner.kube.resources import Manifest, resource_path, subject_of
from runner.kube.retries import RETRY_AFTER_MAX
from runner.kube.subscription import PodSubscription
from runner.kube.transport import Request

if TYPE_CHECKING:
    from runner.kube.client import KubeClient

log = structlog.get_logger()

WATCH_TIMEOUT = 240.0
"""The server ends a watch after this and up to a quarter more, spread so that the managers of a cluster do not come
together.
"""

IDLE_TIMEOUT = 75.0
"""Silence after which a watch is made anew: the server sends a bookmark about once a minute."""

CONFIRM_INTERVAL = 300.0
"""How often a waiter asks for its pod although the watch is in step: what a lost event can cost at most."""

BACKOFF_MIN = 0.25
BACKOFF_MAX = 30.0


class PodInformer:
    """A shared view of the pods that match a selector.

    `run` keeps it up to date in its caller's task group. Without `run`, or without the right to list and watch pods,
    the waiters poll, which is slower and otherwise the same.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        *,
        selector: str = "",
        poll_interval: float = 3.0,
        confirm_interval: float = CONFIRM_INTERVAL,
        idle_timeout: float = IDLE_TIMEOUT,
        backoff_min: float = BACKOFF_MIN,
        backoff_max: float = BACKOFF_MAX,
        observe: Callable[[str], None] | None = None,
    ) -> None:
        """`observe` hears when all pods were `listed`, and when a list or a watch was `interrupted`."""
        self.client = client
        self.namespace = namespace
        self.selector = selector
        self.poll_interval = poll_interval
        self.confirm_interval = confirm_interval
        self.error: KubeError | None = None
        """Why the last list or watch failed; None while all is well."""
        self._idle_timeout = idle_timeout
        self._backoff_min = backoff_min
        self._backoff_max = backoff_max
        self._observe = observe or (lambda event: None)
        self._running = False
        self._cache = PodCache()
        self._version = ""
        self._relist = True
        self._watching = False
        self._lost_at = -math.inf
        self._heard_at = -math.inf
        self._progress = False
        self._subscriptions: dict[str, set[PodSubscription]] = {}
        self._synced = anyio.Event()

    @property
    def synced(self) -> bool:
        """Whether the view is in step: the watch stands, or fell less than `poll_interval` ago."""
        return self._watching or time.monotonic() < self.lost_grace_ends_at

    @property
    def running(self) -> bool:
        """Whether `run` keeps the view up to date."""
        return self._running

    @property
    def watching(self) -> bool:
        """Whether a watch stands at this moment."""
        return self._watching

    @property
    def lost_grace_ends_at(self) -> float:
        """When a watch that fell is counted as lost; the monotonic moment."""
        return self._lost_at + self.poll_interval

    @property
    def age(self) -> float:
        """Seconds since the server last said anything; infinite before the first list."""
        return time.monotonic() - self._heard_at

    def get(self, name: str) -> Manifest | None:
        """Return the newest known state of a pod, slim; None when none is known, which proves nothing."""
        known = self._cache.get(name)
        return known.unpack() if known else None

    def names(self) -> tuple[str, ...]:
        """Return the names of the known pods."""
        return self._cache.names()

    def subscribe(self, name: str) -> PodSubscription:
        """Follow one pod; use the subscription as a context manager."""
        return PodSubscription(self, name)

    async def wait(self, name: str, predicate: Callable[[Manifest | None], bool], *, timeout: float) -> Manifest | None:
        """Wait until `predicate` accepts the pod's state, and return that.

        The predicate is given None when a GET has proved that the pod is not there. TimeoutError, with the last
        trouble as its cause, when the time is up; ForbiddenError when we may not even read pods.
        """
        with self.subscribe(name) as subscription:
            with anyio.move_on_after(timeout):
                while True:
                    pod = await subscription.next()
                    if predicate(pod):
                        return pod
            raise TimeoutError(
                f"Pod {self.namespace}/{name} did not reach the awaited state in {timeout:.0f} s."
            ) from subscription.error

    async def wait_until_synced(self, *, timeout: float) -> bool:
        """Wait for the first list, and tell whether it came in time.

        Nobody must wait for it: waiters ask for themselves.
        """
        with anyio.move_on_after(timeout):
            await self._synced.wait()
        return self._synced.is_set()

    async def run(self) -> None:
        """List, watch, and begin again, until cancelled. Raises nothing: what fails is `error`, and is tried again."""
        self._running = True
        try:
            await self._run()
        finally:
            self._running = False

    async def _run(self) -> None:
        delay = 0.0
        while True:
            self._progress = False
            try:
                if self._relist:
                    await self._list()
                await self._watch()
            except GoneError as error:
                self._relist = True
                self._note(error)
            except KubeError as error:
                self._note(error)
            except (ValueError, KeyError) as error:
                # Half a line, or a page of a proxy's: what has been taken so far stands.
                self._note(
                    UnavailableError(f"The pods of {self.namespace} cannot be read: {error}.", reason="BadEvent")
                )
            asked = min((self.error.retry_after or 0.0) if self.error else 0.0, RETRY_AFTER_MAX)
            delay = self._backoff_min if self._progress else min(max(delay * 2, self._backoff_min), self._backoff_max)
            await anyio.sleep(max(delay * random.uniform(0.5, 1.0), asked))

    async def confirm(self, name: str) -> bool:
        """Ask the server itself for a pod and take what it says; false proves that there is none. Raises KubeError."""
        before = self._cache.get(name)
        try:
            pod = await self.client.read("pods", self.namespace, name, tries=1)
        except NotFoundError:
            if self._cache.get(name) is not before:
                # The watch has told of the pod while we asked, so the answer may be older than the pod.
                return True
            self._cache.remove(name)
            return False
        if before is not None and self._cache.get(name) is before and is_older(pod, before):
            # A server never goes back behind what it has said, unless its store was set back to a backup. A watch from
            # a version of the future is silent then, so it ends by its idle time at the latest.
            log.warning("the API server's versions went back, listing anew", namespace=self.namespace)
            self._cache.clear()
            self._relist = True
        if self._cache.put(pod):
            self._wake(name)
        return True

    def cached(self, name: str) -> CachedPod | None:
        """Return a pod's newest known state, packed."""
        return self._cache.get(name)

    def follow(self, subscription: PodSubscription) -> None:
        """Begin to wake a subscription."""
        self._subscriptions.setdefault(subscription.name, set()).add(subscription)

    def unfollow(self, subscription: PodSubscription) -> None:
        """Stop waking a subscription."""
        followers = self._subscriptions.get(subscription.name, set())
        followers.discard(subscription)
        if not followers:
            self._subscriptions.pop(subscription.name, None)

    async def _list(self) -> None:
        """Take all pods, and report those that went away unseen."""
        seen: set[str] = set()
        token = ""
        while True:
            page = await self.client.list_page(
                "pods", self.namespace, label_selector=self.selector, page=token, tries=1
            )
            for pod in page.items:
                name = str(_metadata(pod)["name"])
                seen.add(name)
                if self._cache.put(pod):
                    self._wake(name)
            token = page.next_page
            if not token:
                break
            await anyio.lowlevel.checkpoint()
        for name in self._cache.retain(seen, version=page.resource_version):
            self._suspect(name, None)
        self._version, self._relist = page.resource_version, False
        self._heard_at = time.monotonic()
        self._observe("listed")

    async def _watch(self) -> None:
        """Follow the events from the known version on, until the server or the connection ends it."""
        query = (
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(int(WATCH_TIMEOUT * random.uniform(1.0, 1.25)))),
            *((("labelSelector", self.selector),) if self.selector else ()),
        )
        request = Request(
            verb="watch",
            resource="pods",
            subject=subject_of("pods", self.namespace),
            path=resource_path("pods", self.namespace),
            query=query,
        )
        lines = LineSplitter()
        async with self.client.transport.stream(request, idle_timeout=self._idle_timeout) as stream:
            self._watching = True
            self.error = None
            self._synced.set()
            try:
                while data := await stream.receive():
                    self._heard_at = time.monotonic()
                    for line in lines.feed(data):
                        self._take(line)
            finally:
                self._watching = False
                self._lost_at = time.monotonic()
                # Each waiter now has a moment to look forward to, when it asks for itself.
                for name in self._subscriptions:
                    self._wake(name)

    def _take(self, line: bytes) -> None:
        """Take one event. Raises the KubeError of an ERROR event, and ValueError for what is no event."""
        event = orjson.loads(line)
        kind, changed = (event.get("type"), event.get("object") or {}) if isinstance(event, dict) else ("", {})
        if kind == "ERROR":
            raise error_from_status(changed, subject=f"The watch of pods in {self.namespace} was ended")
        metadata = _metadata(changed)
        version = str(metadata.get("resourceVersion") or "")
        if kind == "DELETED":
            self._cache.remove(str(metadata.get("name")), version=version)
            self._suspect(str(metadata.get("name")), changed)
        elif kind in {"ADDED", "MODIFIED"} and self._cache.put(changed):
            self._wake(str(metadata.get("name")))
        # Only now, so that an event that cannot be taken is asked for again.
        if version and is_newer(version, self._version):
            self._version = version
        self._progress = True

    def _note(self, error: KubeError) -> None:
        if self.error is None:
            log.warning("pod watch interrupted", namespace=self.namespace, error=error.message)
        self.error = error
        self._observe("interrupted")

    def _wake(self, name: str) -> None:
        for subscription in self._subscriptions.get(name, ()):
            subscription.wake()

    def _suspect(self, name: str, last: Manifest | None) -> None:
        """The watch or a list says that a pod is gone: those who follow it ask."""
        for subscription in self._subscriptions.get(name, ()):
            subscription.suspect(last)


def _metadata(pod: object) -> Manifest:
    """Return an object's metadata; ValueError for what is no object of Kubernetes, as a broken proxy may send."""
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("the server sent something that is no pod")  # noqa: TRY004 - no caller gave a wrong type
    return metadata
