"""The events about one object, as they come.

Law: told at least once each, never guaranteed to be complete: events are for people, nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import orjson

from runner.kube.errors import ForbiddenError, GoneError, KubeError, error_from_status
from runner.kube.podcache import LineSplitter
from runner.kube.resources import Manifest, resource_path, subject_of
from runner.kube.transport import Request

if TYPE_CHECKING:
    from runner.kube.client import KubeClient

WATCH_TIMEOUT = 240
IDLE_TIMEOUT = 330.0
PAUSES = (0.25, 1.0, 5.0, 15.0)


async def follow_events(client: KubeClient, namespace: str, name: str, take: Callable[[Manifest], None]) -> None:
    """Give each event about the objects of a name to `take`, those there are first, until cancelled.

    Raises ForbiddenError when we may not watch events; all other trouble is waited out.
    """
    version, failures = "", 0

    def heard(kind: str, item: Manifest) -> None:
        nonlocal version, failures
        version, failures = str((item.get("metadata") or {}).get("resourceVersion") or version), 0
        if kind in {"ADDED", "MODIFIED"}:
            take(item)

    while True:
        try:
            await _watch(client, namespace, name, version, heard)
        except ForbiddenError:
            raise
        except GoneError:
            version = ""
        except (KubeError, ValueError):
            failures += 1
        await anyio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])


async def _watch(
    client: KubeClient, namespace: str, name: str, version: str, heard: Callable[[str, Manifest], None]
) -> None:
    """Read one watch to its end. Raises KubeError, and ValueError for what is no event."""
    query = (
        ("watch", "1"),
        ("fieldSelector", f"involvedObject.name={name}"),
        ("timeoutSeconds", str(WATCH_TIMEOUT)),
        *((("resourceVersion", version),) if version else ()),
    )
    request = Request(
        verb="watch",
        resource="events",
        subject=subject_of("events", namespace),
        path=resource_path("events", namespace),
        query=query,
    )
    lines = LineSplitter()
    async with client.transport.stream(request, idle_timeout=IDLE_TIMEOUT) as stream:
        while data := await stream.receive():
            for line in lines.feed(data):
                change = orjson.loads(line)
                kind, item = (change.get("type"), change.get("object")) if isinstance(change, dict) else (None, None)
                if not isinstance(kind, str) or not isinstance(item, dict):
                    raise ValueError("the server sent something that is no event")  # noqa: TRY004 -- not a caller's
                if kind == "ERROR":
                    raise error_from_status(item, subject=f"The watch of events in {namespace} was ended")
                heard(kind, item)
