"""What the executor's parts stand between: a job's log and a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.config.model import RunnerConfig
from runner.executor.base import JobRequest
from runner.executor.requesting import pod_request
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.podspec.request import PodRequest
from runner.shell.directories import Directories
from runner.testing.payloads import job_payload
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


def job_request(
    *, kubernetes: dict[str, Any] | None = None, variables: dict[str, str] | None = None, **over: Any
) -> JobRequest:
    """A job as an executor is given it; other keywords are those of `job_payload`."""
    config = {"name": "r", "url": "https://gitlab", "token": "glrt-12345678x", "kubernetes": kubernetes or {}}
    return JobRequest(
        job=Job.parse(job_payload(**over)),
        runner=RunnerConfig.model_validate(config),
        variables=Variables(Variable(key, value) for key, value in (variables or {}).items()).expanded(),
        feature_flags={},
        directories=Directories("/builds", "/builds/acme/demo", "/builds/acme/demo.tmp", "/cache"),
        system_id="r_0123456789ab",
    )


def request_for_pod(*, job: Mapping[str, Any] | None = None, **kubernetes: Any) -> PodRequest:
    """A request for the pod of job 4711, with these keys of `[runners.kubernetes]`."""
    request = job_request(kubernetes=kubernetes, **{"id": 4711, "credentials": [], **(job or {})})
    return pod_request(request, request.runner, system_id=request.system_id, default_helper_image="helper")
