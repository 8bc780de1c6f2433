"""A client of the embedded API server, and what the executor's parts need around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.retries import RetryPolicy
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from runner.trace.journal import Entry, ExitEntry, LostEntry, NoteEntry


@pytest.fixture
def kubelet() -> ScriptedKubelet:
    """Scripted pods: a test puts fates into its queue."""
    return ScriptedKubelet(scale=0.01)


@pytest.fixture
async def server(kubelet: ScriptedKubelet) -> AsyncIterator[KubernetesServer]:
    """An API server."""
    server = KubernetesServer(kubelet=kubelet)
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def client(server: KubernetesServer, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client of it that tries once: patience is what is under test."""
    kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
    client = await connect(ConnectionSettings(kubeconfig=kubeconfig), retry=RetryPolicy(limit=1))
    yield client
    await client.aclose()


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


@pytest.fixture
def sink() -> Sink:
    """A job's log."""
    return Sink()


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


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A job's pod."""
    return pod_manifest()
