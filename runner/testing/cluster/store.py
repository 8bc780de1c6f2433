"""What the API server remembers: the objects, one counter of versions, and the last changes.

Law: synchronous and single-threaded. A stored manifest is never changed in place, so a list, a watch event and a page
token may all hold the same dict without copying it. Watches hold no queue: each remembers the version it has seen and
reads on from the ring, so a slow watch costs nothing and one that is too slow is told 410, as in life.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from runner.testing.cluster.news import News
from runner.testing.cluster.problems import Manifest, expired
from runner.testing.cluster.selectors import Selector

Key = tuple[str, str, str]
"""Resource, namespace (empty outside of any), name."""

_FIRST_VERSION = 100


class Change:
    """One step of the history: what an object was and what it became, None where it was not."""

    __slots__ = ("_encoded", "new", "old", "resource", "version")

    def __init__(self, version: int, resource: str, old: Manifest | None, new: Manifest | None) -> None:
        self.version = version
        self.resource = resource
        self.old = old
        self.new = new
        self._encoded: dict[str, bytes] = {}

    def seen_by(self, namespace: str, selector: Selector) -> tuple[str, Manifest] | None:
        """Return the event type and object for a watch of this selection, or None when it does not concern it.

        An object that leaves the selection is DELETED for it, one that enters is ADDED, as the real server says.
        """
        before = self.old is not None and _selected(self.old, namespace, selector)
        after = self.new is not None and _selected(self.new, namespace, selector)
        if after and self.new is not None:
            return ("MODIFIED" if before else "ADDED"), self.new
        if before and self.old is not None:
            metadata = {**self.old["metadata"], "resourceVersion": str(self.version)}
            return "DELETED", {**self.old, "metadata": metadata}
        return None

    def encoded(self, kind: str, manifest: Manifest) -> bytes:
        """Return the watch event as a JSON line; made once for all watches."""
        if kind not in self._encoded:
            self._encoded[kind] = orjson.dumps({"type": kind, "object": manifest}) + b"\n"
        return self._encoded[kind]


class Store:
    """Objects by key, and the ring of the last changes."""

    def __init__(self, *, history: int = 10_000) -> None:
        self.version = _FIRST_VERSION
        self._objects: dict[Key, Manifest] = {}
        self._changes: list[Change] = []
        """Of consecutive versions, the last one being `version`."""
        self._history = history
        self._news = News()

    def get(self, key: Key) -> Manifest | None:
        """Return the object, or None."""
        return self._objects.get(key)

    def items(self) -> Iterator[tuple[Key, Manifest]]:
        """Iterate over a copy of everything, ordered by resource, namespace and name."""
        yield from sorted(self._objects.items(), key=lambda item: item[0])

    def select(self, resource: str, namespace: str, selector: Selector) -> list[Manifest]:
        """Return the objects of one resource that match, in order; an empty namespace means all."""
        found = [
            (key, manifest)
            for key, manifest in self._objects.items()
            if key[0] == resource and _selected(manifest, namespace, selector)
        ]
        return [manifest for _, manifest in sorted(found, key=lambda item: item[0])]

    def put(self, key: Key, manifest: Manifest) -> Manifest:
        """Store an object under a new version and return it as stored; the caller gives it away."""
        version = self.version + 1
        stored = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(version)}}
        self._record(Change(version, key[0], self._objects.get(key), stored))
        self._objects[key] = stored
        return stored

    def remove(self, key: Key) -> Manifest | None:
        """Forget an object; return its last state."""
        old = self._objects.pop(key, None)
        if old is not None:
            self._record(Change(self.version + 1, key[0], old, None))
        return old

    def changes_since(self, version: int) -> list[Change]:
        """Return every change after `version`; raises StatusError 410 when the ring does not reach back so far."""
        first = self.version - len(self._changes) + 1
        if version < first - 1:
            raise expired(version, self.version)
        return self._changes[version + 1 - first :]

    async def wait_changed(self, version: int) -> None:
        """Wait until there is a change after `version`, or the history has been expired."""
        while self.version <= version:
            await self._news.wait()

    def expire(self) -> None:
        """Forget the history: whoever asks for changes after any version handed out so far is told 410."""
        self.version += 1
        self._changes.clear()
        self._news.ring()

    def _record(self, change: Change) -> None:
        self.version = change.version
        self._changes.append(change)
        # Trimmed in big steps: taking one from the front each time would move the whole list.
        if len(self._changes) >= 2 * self._history:
            del self._changes[: -self._history]
        self._news.ring()


def _selected(manifest: Manifest, namespace: str, selector: Selector) -> bool:
    if namespace and manifest["metadata"].get("namespace") != namespace:
        return False
    return selector.matches(manifest)
