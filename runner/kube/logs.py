"""A container's log, as its node gives it: the end of it, or all of it as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from runner.kube.errors import ForbiddenError, KubeError, NotFoundError
from runner.kube.podcache import LineSplitter
from runner.kube.resources import resource_path, subject_of
from runner.kube.transport import Request

if TYPE_CHECKING:
    from runner.kube.client import KubeClient

IDLE_TIMEOUT = 30.0
MOST_BYTES = 64 * 1024

FOLLOW_IDLE_TIMEOUT = 330.0
"""Seconds of silence after which a followed log is asked for again: the connection may be dead."""

FOLLOW_PAUSES = (0.25, 0.5, 1.0, 2.0)
"""Seconds before a log is asked for again that has not begun, or whose connection was lost; the last one repeats."""

LINE_BYTES = 1 << 20


async def read_log_tail(client: KubeClient, namespace: str, pod: str, *, container: str, lines: int) -> bytes:
    """Read the last lines of a container's log, at most `MOST_BYTES` of them. Raises KubeError."""
    request = _request(namespace, pod, ("container", container), ("tailLines", str(lines)))
    found = b""
    async with client.transport.stream(request, idle_timeout=IDLE_TIMEOUT) as stream:
        while len(found) < MOST_BYTES and (data := await stream.receive()):
            found += data
    return found


async def follow_log(
    client: KubeClient,
    namespace: str,
    pod: str,
    *,
    container: str,
    take: Callable[[str], None],
    timestamps: bool = False,
) -> None:
    """Give the lines of a container's log to `take`, from the first on and each once, until cancelled or the pod goes.

    With `timestamps` each begins with the time at which its node took it. A container that has not started is waited
    for, and a lost connection is replaced. Raises ForbiddenError when we may
    not read logs, and ValueError for a line of more than `LINE_BYTES`.
    """
    last, failures, known = b"", 0, b""
    query = (("container", container), ("follow", "true"), ("timestamps", "true"))

    def heard(line: bytes) -> None:
        nonlocal last, failures
        stamp, _, text = line.partition(b" ")
        # After a loss the log is asked for from the last line's second on, so that some lines come again.
        if stamp > known:
            last, failures = stamp, 0
            take((line if timestamps else text).rstrip(b"\r").decode(errors="replace"))

    while True:
        known = last
        try:
            after = (("sinceTime", last.decode(errors="replace")),) if last else ()
            await _read(client, _request(namespace, pod, *query, *after), heard)
        except NotFoundError:
            return
        except ForbiddenError:
            raise
        except KubeError:
            failures += 1
        await anyio.sleep(FOLLOW_PAUSES[min(failures, len(FOLLOW_PAUSES) - 1)])


async def _read(client: KubeClient, request: Request, heard: Callable[[bytes], None]) -> None:
    """Read one followed log to its end. Each line begins with its time, of which all have the same length."""
    lines = LineSplitter(limit=LINE_BYTES)
    async with client.transport.stream(request, idle_timeout=FOLLOW_IDLE_TIMEOUT) as stream:
        while data := await stream.receive():
            for line in lines.feed(data):
                heard(line)


def _request(namespace: str, pod: str, *query: tuple[str, str]) -> Request:
    return Request(
        verb="get",
        resource="pods/log",
        subject=subject_of("pods", namespace, pod),
        path=resource_path("pods", namespace, pod, "log"),
        query=query,
    )
