"""Lists and watches: pages of a snapshot, and the changes after a version.

Law: a list and its further pages are one snapshot. A watch that the history no longer reaches ends with an ERROR event
of code 410 in a stream that began with 200, as the real server's watch cache has it.
"""

from __future__ import annotations

import base64
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import anyio
import orjson

from runner.testing.cluster.access import flag
from runner.testing.cluster.problems import Cause, Manifest, StatusError, bad_request, expired, invalid_object
from runner.testing.cluster.resources import Target
from runner.testing.cluster.selectors import Selector, parse_selector
from runner.testing.cluster.store import Store
from runner.testing.cluster.tables import table

_KEEP_PAGES = 64


@dataclass(frozen=True, slots=True)
class Watching:
    """One watch: what it is about and how it wants to be told."""

    target: Target
    selector: Selector
    since: int | None
    """The version seen so far; None: begin with all objects there are."""
    as_table: bool
    bookmarks: bool
    timeout: float


class Pages:
    """The snapshots that lists with a limit go on from; the oldest are forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, list[Manifest]]] = OrderedDict()
        self._count = 0

    def next(self, token: str, limit: int) -> tuple[str, list[Manifest], str, int]:
        """Return version, items, the next token and how many remain; raises StatusError 410 for a forgotten token."""
        found = self._kept.get(token)
        if found is None:
            raise StatusError(
                410,
                "Expired",
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter.",
            )
        return self.cut(*found, limit)

    def cut(self, version: str, items: list[Manifest], limit: int) -> tuple[str, list[Manifest], str, int]:
        """Return the first page of a snapshot as `next` returns the others."""
        if limit <= 0 or len(items) <= limit:
            return version, items, "", 0
        self._count += 1
        token = base64.urlsafe_b64encode(
            orjson.dumps({"v": "meta.k8s.io/v1", "rv": version, "n": self._count})
        ).decode()
        self._kept[token] = (version, items[limit:])
        while len(self._kept) > _KEEP_PAGES:
            self._kept.popitem(last=False)
        return version, items[:limit], token, len(items) - limit

    def expire(self) -> None:
        """Forget every snapshot."""
        self._kept.clear()


def list_objects(store: Store, pages: Pages, target: Target, query: Mapping[str, str], *, as_table: bool) -> Manifest:
    """Answer a list request."""
    selector = parse_selector(target.resource.name, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    limit = _number(query, "limit")
    if token := query.get("continue", ""):
        version, items, further, remaining = pages.next(token, limit)
    else:
        _check_version(store, _number(query, "resourceVersion"))
        found = store.select(target.resource.name, target.namespace, selector)
        version, items, further, remaining = pages.cut(str(store.version), found, limit)
    metadata: Manifest = {"resourceVersion": version}
    if further:
        metadata["continue"] = further
        metadata["remainingItemCount"] = remaining
    if as_table:
        shown = table(target.resource.name, items, version=version)
        return {**shown, "metadata": metadata}
    kind = f"{target.resource.kind}List"
    # Items of a list carry neither kind nor apiVersion, as the real server sends them.
    bare = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]
    return {"kind": kind, "apiVersion": target.resource.api_version, "metadata": metadata, "items": bare}


def parse_watch(store: Store, target: Target, query: Mapping[str, str], *, as_table: bool) -> Watching:
    """Read a watch request; raises StatusError for one that cannot be answered."""
    if flag(query, "sendInitialEvents"):
        # What a server without the WatchList feature says; clients fall back to list and watch.
        raise invalid_object(
            "ListOptions.meta.k8s.io",
            "",
            [
                Cause(
                    "sendInitialEvents",
                    "FieldValueForbidden",
                    "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
                )
            ],
        )
    version = _number(query, "resourceVersion")
    _check_version(store, version)
    fields = query.get("fieldSelector", "")
    if target.name:
        fields = f"metadata.name={target.name}"
    return Watching(
        target=target,
        selector=parse_selector(target.resource.name, query.get("labelSelector", ""), fields),
        since=version or None,
        as_table=as_table,
        bookmarks=flag(query, "allowWatchBookmarks"),
        timeout=float(_number(query, "timeoutSeconds")) or math.inf,
    )


async def watch_lines(store: Store, watching: Watching, *, bookmark_interval: float) -> AsyncIterator[bytes]:
    """Yield what a watch is sent, as JSON lines, until its time-out or a 410."""
    shape = _Shape(watching)
    ends_at = time.monotonic() + watching.timeout
    seen = watching.since
    if seen is None:
        seen = store.version
        found = store.select(watching.target.resource.name, watching.target.namespace, watching.selector)
        yield b"".join(shape.line("ADDED", item) for item in found)
    bookmark_at = time.monotonic() + bookmark_interval
    while True:
        try:
            changes = store.changes_since(seen)
        except StatusError:
            yield orjson.dumps({"type": "ERROR", "object": expired(seen, store.version).body}) + b"\n"
            return
        seen = store.version
        lines = [
            shape.line(*event) if watching.as_table else change.encoded(*event)
            for change in changes
            if change.resource == watching.target.resource.name
            and (event := change.seen_by(watching.target.namespace, watching.selector))
        ]
        now = time.monotonic()
        if watching.bookmarks and now >= min(bookmark_at, ends_at):
            lines.append(shape.bookmark(seen))
            bookmark_at = now + bookmark_interval
        if lines:
            yield b"".join(lines)
        if now >= ends_at:
            return
        with anyio.move_on_after(max(0.0, min(bookmark_at, ends_at) - now)):
            await store.wait_changed(seen)


class _Shape:
    """How the objects of one watch are written."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._header = True

    def line(self, kind: str, manifest: Manifest) -> bytes:
        if self._watching.as_table:
            version = manifest["metadata"]["resourceVersion"]
            manifest = table(self._watching.target.resource.name, [manifest], version=version, header=self._header)
            self._header = False
        return orjson.dumps({"type": kind, "object": manifest}) + b"\n"

    def bookmark(self, version: int) -> bytes:
        resource = self._watching.target.resource
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        manifest = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return orjson.dumps({"type": "BOOKMARK", "object": manifest}) + b"\n"


def _check_version(store: Store, version: int) -> None:
    if version > store.version:
        raise StatusError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {version}, current: {store.version}",
            details={
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
        )


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseUint: parsing "{text}": invalid syntax ({name})') from None
