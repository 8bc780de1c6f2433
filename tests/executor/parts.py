"""What the executor's parts stand between: a job's log and a pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.trace.journal import Entry, ExitEntry, LostEntry, NoteEntry


class Sink:
    """A job's log that keeps everything."""

    def __init__(self) -> None:
        self.raw = b""
        self.entries: list[Entry] = []
        self.notes: list[tuple[str, str]] = []
        self.relay: Callable[[NoteEntry], None] | None = None
        self.earlier: tuple[NoteEntry, ...] = ()

    @property
    def offset(self) -> int:
        """Raw bytes taken."""
        return len(self.raw)

    @property
    def lines(self) -> int:
        """Journal entries taken."""
        return len(self.entries)

    def data(self, raw: bytes) -> None:
        """Keep bytes."""
        self.raw += raw

    def entry(self, entry: Entry) -> None:
        """Keep an entry."""
        self.entries.append(entry)

    def result(self, attempt: str) -> ExitEntry | LostEntry | None:
        """The attempt's end, once the bytes before it are there."""
        for entry in self.entries:
            if isinstance(entry, ExitEntry | LostEntry) and entry.attempt == attempt and entry.offset <= self.offset:
                return entry
        return None

    def note(self, kind: str, text: str) -> None:
        """Keep a line of the manager's own."""
        self.notes.append((kind, text))

    def attach(self, relay: Callable[[NoteEntry], None]) -> tuple[NoteEntry, ...]:
        """Let notes go through the journal."""
        self.relay = relay
        return self.earlier

    def detach(self) -> None:
        """Not used here."""


def pod_manifest(name: str = "job-pod", **over: Any) -> dict[str, Any]:
    """A pod with the two containers that a job's pod has."""
    containers = [{"name": each, "image": "busybox", "stdin": True} for each in ("build", "helper")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"job": name, "nonce": name}},
        "spec": {"restartPolicy": "Never", "containers": containers},
        **over,
    }
