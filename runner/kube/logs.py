"""The end of a container's log, as its node gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.kube.resources import resource_path, subject_of
from runner.kube.transport import Request

if TYPE_CHECKING:
    from runner.kube.client import KubeClient

IDLE_TIMEOUT = 30.0
MOST_BYTES = 64 * 1024


async def read_log_tail(client: KubeClient, namespace: str, pod: str, *, container: str, lines: int) -> bytes:
    """Read the last lines of a container's log, at most `MOST_BYTES` of them. Raises KubeError."""
    request = Request(
        verb="get",
        resource="pods/log",
        subject=subject_of("pods", namespace, pod),
        path=resource_path("pods", namespace, pod, "log"),
        query=(("container", container), ("tailLines", str(lines))),
    )
    found = b""
    async with client.transport.stream(request, idle_timeout=IDLE_TIMEOUT) as stream:
        while len(found) < MOST_BYTES and (data := await stream.receive()):
            found += data
    return found
