"""One who follows one pod through the informer, and asks for it where the watch does not tell.

Law: a watch's word that the pod is gone is a suspicion; a question to the server decides.
"""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

import anyio

from runner.kube.errors import ForbiddenError, KubeError
from runner.kube.podcache import slim_pod
from runner.kube.retries import RETRY_AFTER_MAX

if TYPE_CHECKING:
    from runner.kube.informer import PodInformer
    from runner.kube.resources import Manifest

_FORBIDDEN_LIMIT = 3
"""Refusals in a row that are believed: an API server that starts may refuse before it has read its Roles."""

_SLOWEST = 10.0
"""How many intervals apart a waiter's questions get while they fail."""


class PodSubscription:
    """One follower of one pod: each new state once, the newest when several came meanwhile."""

    def __init__(self, informer: PodInformer, name: str) -> None:
        self.name = name
        self.last_seen: Manifest | None = None
        """The last state known, slim; after a deletion the watch's last word, which says how the containers ended."""
        self.error: KubeError | None = None
        """Why the last question failed; None when it was answered."""
        self._informer = informer
        self._given: tuple[str, str] | None = ("", "")
        self._suspected = False
        self._event = anyio.Event()
        self._asked_at = time.monotonic()
        self._never_asked = True
        self._pause = informer.poll_interval
        self._refusals = 0
        # Waiters that began together shall not ask together for ever.
        self._spread = random.uniform(0.8, 1.2)

    def __enter__(self) -> PodSubscription:
        self._informer.follow(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._informer.unfollow(self)

    async def next(self) -> Manifest | None:
        """Wait for a state other than the one given before and return it, slim; None when the pod is proved to be gone.

        The first call returns what is known at once. ForbiddenError when three questions in a row were refused; any
        other trouble is waited out and stands in `error`.
        """
        while True:
            known = self._informer.cached(self.name)
            if known is not None and (known.uid, known.version) != self._given:
                self._given = (known.uid, known.version)
                self.last_seen = known.unpack()
                return self.last_seen
            wait = self._due_at() - time.monotonic()
            if wait > 0:
                self._event = anyio.Event()
                with anyio.move_on_after(wait):
                    await self._event.wait()
            elif await self._absent() and self._given is not None:
                self._given = None
                return None

    def wake(self) -> None:
        """Look again: something has changed."""
        self._event.set()

    def suspect(self, last: Manifest | None) -> None:
        """The pod is said to be gone; `last` is its last state when that is known."""
        if last is not None:
            self.last_seen = slim_pod(last)
        self._suspected = True
        self._event.set()

    def _due_at(self) -> float:
        """Return the moment of the next question to the server."""
        informer = self._informer
        unsynced_at = self._asked_at + self._pause * self._spread
        if self._suspected and self.error is None:
            return -math.inf
        if not informer.synced:
            return -math.inf if self._never_asked else unsynced_at
        if self._suspected or informer.cached(self.name) is None:
            return unsynced_at
        confirm_at = self._asked_at + max(informer.confirm_interval, self._pause) * self._spread
        if informer.watching:
            return confirm_at
        return min(confirm_at, max(informer.lost_grace_ends_at, unsynced_at))

    async def _absent(self) -> bool:
        """Ask the server; true when it says that the pod is not there."""
        self._never_asked = False
        try:
            present = await self._informer.confirm(self.name)
        except KubeError as error:
            self.error = error
            self._refusals = self._refusals + 1 if isinstance(error, ForbiddenError) else 0
            if self._refusals >= _FORBIDDEN_LIMIT:
                raise
            # A server in trouble is asked less often, and not before the moment it named.
            slowest = self._informer.poll_interval * _SLOWEST
            self._pause = max(min(self._pause * 2, slowest), min(error.retry_after or 0.0, RETRY_AFTER_MAX))
            return False
        finally:
            self._asked_at = time.monotonic()
        self.error = None
        self._refusals = 0
        self._suspected = False
        self._pause = self._informer.poll_interval
        return not present
