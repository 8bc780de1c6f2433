"""What an image's entrypoint prints, in the job's log (`FF_KUBERNETES_HONOR_ENTRYPOINT`).

The build container's own output is the entrypoint's alone: the agent that it starts writes to files. So the container's
log is followed from its first line for as long as the pod is there.

Law: the lines are for people; without the right to read logs the job runs the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.kube.errors import ForbiddenError
from runner.kube.logs import follow_log
from runner.podspec.containers import BUILD

if TYPE_CHECKING:
    from runner.executor.base import LogSink
    from runner.kube.client import KubeClient

MOST_CHARACTERS = 1 << 20
"""What is shown of an entrypoint's output at most: each line is kept in the manager until the pod has it."""


class EntrypointLog:
    """The output of one pod's entrypoint."""

    def __init__(self, client: KubeClient, sink: LogSink, *, namespace: str, name: str) -> None:
        self._client = client
        self._sink = sink
        self._namespace = namespace
        self._name = name
        self._left = MOST_CHARACTERS
        self._scope = anyio.CancelScope()

    async def follow(self) -> None:
        """Write each line as it comes, until `close`."""
        with self._scope:
            try:
                await follow_log(self._client, self._namespace, self._name, container=BUILD, take=self._take)
            except ForbiddenError as refused:
                self._sink.note("warning", f"The entrypoint's output cannot be shown: {refused.message}")
            except ValueError as trouble:
                self._sink.note("warning", f"The entrypoint's output is shown no further: {trouble}")

    def close(self) -> None:
        """Follow no more."""
        self._scope.cancel()

    def _take(self, line: str) -> None:
        self._left -= len(line) + 1
        if self._left < 0:
            raise ValueError(f"it is longer than {MOST_CHARACTERS} characters")
        self._sink.note("plain", line)
