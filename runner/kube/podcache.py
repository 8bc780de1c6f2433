"""What a watch has told about pods: the lines of its stream, and the pods kept from them.

Pure. The law: an older state never replaces a newer one, whatever the order of arrival; and what is kept of a pod is
small, for a manager keeps thousands.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import orjson

from runner.kube.resources import Manifest

LINE_BYTES = 64 * 1024 * 1024
"""The longest watch event taken; etcd's own limit for an object is 1.5 MiB."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class LineSplitter:
    """Cuts a byte stream into lines. A last line without its newline was cut off on the way and is never given out."""

    def __init__(self, *, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._part = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the lines they complete. ValueError for a line beyond the limit."""
        if b"\n" not in data:
            # Most of a long line comes this way: appended once, searched never again.
            self._part += data
            lines: list[bytes] = []
        else:
            *lines, rest = data.split(b"\n")
            if self._part:
                lines[0] = bytes(self._part) + lines[0]
            self._part = bytearray(rest)
        if len(self._part) > self._limit:
            raise ValueError(f"a line is longer than {self._limit} bytes")
        return lines


@dataclass(frozen=True, slots=True)
class CachedPod:
    """One state of one pod."""

    uid: str
    version: str
    """Its resource version."""
    packed: bytes
    """The slim pod as JSON: a third of what a dict takes, and nobody can change it under another's hands."""

    @classmethod
    def of(cls, pod: Manifest) -> CachedPod:
        """Keep what `slim_pod` leaves of a pod."""
        metadata = pod["metadata"]
        return cls(
            str(metadata.get("uid") or ""), str(metadata.get("resourceVersion") or ""), orjson.dumps(slim_pod(pod))
        )

    def unpack(self) -> Manifest:
        """Return the slim pod, a new dict each time."""
        pod: Manifest = orjson.loads(self.packed)
        return pod


class PodCache:
    """The newest known state of each pod, by name."""

    def __init__(self) -> None:
        self._pods: dict[str, CachedPod] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, name: str) -> CachedPod | None:
        """Return what is known of a pod; None says that nothing is known, not that there is none."""
        return self._pods.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of all known pods."""
        return tuple(self._pods)

    def put(self, pod: Manifest) -> bool:
        """Take a pod's state; false when it is no news: the same version, or one older than what is known."""
        name = str(pod["metadata"]["name"])
        known = self._pods.get(name)
        if known is not None and not is_newer(str(pod["metadata"].get("resourceVersion") or ""), known.version):
            return False
        self._pods[name] = CachedPod.of(pod)
        return True

    def remove(self, name: str, *, version: str = "") -> bool:
        """Forget a pod that went away at `version`; false when it was not known, or lives again since then."""
        known = self._pods.get(name)
        if known is None or (version and is_newer(known.version, version)):
            return False
        del self._pods[name]
        return True

    def clear(self) -> None:
        """Forget all."""
        self._pods.clear()

    def retain(self, names: Collection[str], *, version: str) -> tuple[str, ...]:
        """Forget all pods that a list of this version does not name, and return them.

        Younger ones stay: it could not know them.
        """
        gone = [name for name, pod in self._pods.items() if name not in names and not is_newer(pod.version, version)]
        for name in gone:
            del self._pods[name]
        return tuple(gone)


def is_newer(version: str, than: str) -> bool:
    """Compare resource versions by number, as Kubernetes 1.35 promises; any that is none is newer when it differs."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


def is_older(pod: Manifest, than: CachedPod) -> bool:
    """Tell whether a pod's state certainly came before a known one."""
    version = str(pod["metadata"].get("resourceVersion") or "")
    return version.isdecimal() and than.version.isdecimal() and int(version) < int(than.version)


def slim_pod(pod: Manifest) -> Manifest:
    """Leave what a job's course depends on: metadata without bookkeeping, node, images, status."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    spec = pod.get("spec") or {}
    slim = {key: spec[key] for key in ("nodeName", "restartPolicy", "activeDeadlineSeconds") if key in spec}
    for kind in ("initContainers", "containers"):
        if kind in spec:
            slim[kind] = [
                {key: container[key] for key in ("name", "image", "restartPolicy") if key in container}
                for container in spec[kind]
            ]
    return {"metadata": metadata, "spec": slim, "status": pod.get("status") or {}}
