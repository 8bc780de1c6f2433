"""Who owns whom, by uid: what the garbage collector asks.

Law: an index, kept in step by whoever stores and removes; it decides nothing but whether an object is an orphan.
"""

from __future__ import annotations

from collections import defaultdict

from runner.testing.cluster.problems import Manifest
from runner.testing.cluster.store import Key


class Owners:
    """The owner references of all objects, both ways."""

    def __init__(self) -> None:
        self._alive: set[str] = set()
        self._dependents: defaultdict[str, set[Key]] = defaultdict(set)
        self._owners: dict[Key, tuple[str, ...]] = {}

    def put(self, key: Key, metadata: Manifest) -> None:
        """Take note of an object as it is now."""
        self._alive.add(metadata["uid"])
        owners = tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ())
        if owners != self._owners.get(key, ()):
            self._forget(key)
            self._owners[key] = owners
            for owner in owners:
                self._dependents[owner].add(key)

    def remove(self, key: Key, uid: str) -> tuple[Key, ...]:
        """Take note of an object's end; return those that named it as an owner."""
        self._alive.discard(uid)
        self._forget(key)
        return self.dependents(uid)

    def dependents(self, uid: str) -> tuple[Key, ...]:
        """Return those that name this object as an owner."""
        return tuple(sorted(self._dependents.get(uid, ())))

    def is_orphan(self, metadata: Manifest) -> bool:
        """Tell whether an object names owners and none of them is there."""
        owners = metadata.get("ownerReferences") or ()
        return bool(owners) and not any(owner["uid"] in self._alive for owner in owners)

    def _forget(self, key: Key) -> None:
        for owner in self._owners.pop(key, ()):
            self._dependents[owner].discard(key)
            if not self._dependents[owner]:
                del self._dependents[owner]
