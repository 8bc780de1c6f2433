"""One job's pod as the shared watch tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from runner.kube.errors import NotFoundError
from runner.podspec.status import PodView, is_running, pod_fate, read_pod

if TYPE_CHECKING:
    from runner.job.verdict import PodFate
    from runner.kube.informer import PodInformer
    from runner.kube.resources import Manifest


class PodWatch:
    """The pod's last known state, and what became of it once it has come to its end. Close it with `close`."""

    def __init__(self, informer: PodInformer, name: str, *, closed: Callable[[], None] | None = None) -> None:
        """`closed` is called once, when the pod is followed no more."""
        self._informer = informer
        self._closed = closed
        self._name = name
        self._subscription = informer.subscribe(name)
        self._subscription.__enter__()
        self.view = PodView(name=name, namespace=informer.namespace, phase="Pending")
        """The pod as it was last seen."""
        self.gone = False
        """Whether the API server has said that there is no such pod."""
        self.fate: PodFate | None = None
        """What became of a pod that had run; None while it is well."""

    def close(self) -> None:
        """Follow the pod no more."""
        self._informer.unfollow(self._subscription)
        closed, self._closed = self._closed, None
        if closed:
            closed()

    async def next_change(self, *, timeout: float) -> bool:
        """Wait for another state of the pod; false when the time is over. Raises ForbiddenError."""
        with anyio.move_on_after(timeout) as waited:
            self._take(await self._subscription.next())
        return not waited.cancelled_caught

    async def until_gone(self, *, timeout: float) -> bool:
        """Wait until the API server has no such pod any more; false when the time is over. Raises ForbiddenError."""
        with anyio.move_on_after(timeout):
            while not self.gone:
                self._take(await self._subscription.next())
        return self.gone

    async def until_ended(self) -> None:
        """Wait until the pod can run no more stages: ended, deleted, disrupted or gone. Raises ForbiddenError."""
        while not self.gone and _is_well(self.view):
            self._take(await self._subscription.next())
        self.fate = self._fate()

    async def fate_now(self) -> PodFate | None:
        """Ask the API server itself; what it says is proof, also of absence. Raises KubeError."""
        try:
            self._take(await self._informer.client.read("pods", self._informer.namespace, self._name))
        except NotFoundError:
            self.gone = True
        self.fate = None if _is_well(self.view) and not self.gone else self._fate()
        return self.fate

    def _fate(self) -> PodFate:
        # The watch's farewell may say how the containers ended, which no GET can say any more.
        last = self._subscription.last_seen
        return pod_fate(read_pod(last) if self.gone and last else self.view, gone=self.gone)

    def _take(self, manifest: Manifest | None) -> None:
        if manifest is None:
            self.gone = True
        else:
            self.view = read_pod(manifest)


def _is_well(view: PodView) -> bool:
    return is_running(view) and view.disruption is None
