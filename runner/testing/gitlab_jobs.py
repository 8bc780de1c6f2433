"""The jobs of the embedded GitLab: what it believes of each, what it answers, and what it holds against the runner.

Law: no socket here. The answers follow GitLab 19's API word for word; a request that GitLab would swallow but that a
sound runner never sends becomes an entry of `violations`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import anyio

from runner.testing.payloads import Json

FINISHED = frozenset({"success", "failed", "canceled"})
"""The states that a job never leaves."""

PATCH_BYTES_MAX = 1 << 20

_ALWAYS_KNOWN = frozenset({"unknown_failure", "script_failure", "runner_system_failure", "job_execution_timeout"})
_RANGE = re.compile(r"(\d+)-(\d+)")
_LINE_HEADER = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ([0-9a-f]{2}[OE])([ +])")
_MARKS = re.compile(rb"section_(?:start|end):\d+:[^\r\n]*\r\x1b\[0K|\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What GitLab answers: status, headers, and the body as text."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRecord:
    """One `PUT jobs/:id` as it came, and the status it got."""

    state: str
    checksum: str
    bytesize: int | None
    failure_reason: str
    exit_code: int
    status: int
    at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRecord:
    """One `PATCH jobs/:id/trace` as it came, and the status it got."""

    start: int
    length: int
    debug: bool
    status: int
    at: float
    """Monotonic seconds."""


class JobRecord:
    """One job of the embedded GitLab, from the queue to its end."""

    def __init__(
        self,
        payload: Json,
        *,
        runner: str | None = None,
        update_interval: float = 0.1,
        pending_replies: int = 0,
        on_trace: Callable[[JobRecord, bytes], None] | None = None,
    ) -> None:
        self.payload = payload
        """The 201 body."""
        self.runner = runner
        """The only runner token that gets the job, None: any."""
        self.id: int = payload["id"]
        self.token: str = payload["token"]
        self.state = "pending"
        """GitLab's word: pending, running, canceling, success, failed, canceled."""
        self.failure_reason: str | None = None
        self.exit_code: int | None = None
        """As reported; 0 when the final update had none, None before it."""
        self.acknowledged = False
        """Whether a PUT `running` has come."""
        self.updates: list[UpdateRecord] = []
        self.patches: list[PatchRecord] = []
        self.violations: list[str] = []
        """What a sound runner would not have done, in sentences."""
        self.request: Json = {}
        """The body of the request that got the job: `info`, `system_id` and so on."""
        self.queued_at = monotonic()
        self.assigned_at: float | None = None
        self.finished_at: float | None = None
        self._interval = update_interval
        self._pending_replies = pending_replies
        self._on_trace = on_trace
        self._trace = bytearray()
        self._crc = 0
        self._changed = anyio.Event()

    @property
    def finished(self) -> bool:
        """Whether the job has reached a state that it never leaves."""
        return self.state in FINISHED

    @property
    def trace(self) -> bytes:
        """The log as stored: with time stamps, colours and section marks."""
        return bytes(self._trace)

    @property
    def text(self) -> str:
        """The log as a reader sees it: without time stamps, colours and section marks, continued lines joined."""
        lines: list[tuple[bytes, bytes]] = []
        for line in bytes(self._trace).split(b"\n"):
            header = _LINE_HEADER.match(line)
            stream, rest = (header[1], line[header.end() :]) if header else (b"", line)
            if header and header[2] == b"+" and lines and lines[-1][0] == stream:
                lines[-1] = (stream, lines[-1][1] + rest)
            else:
                lines.append((stream, rest))
        return _MARKS.sub(b"", b"\n".join(rest for _, rest in lines)).decode("utf-8", "replace")

    @property
    def checksum(self) -> str:
        """The checksum of the stored log, as the final update has to name it."""
        return f"crc32:{self._crc:08x}"

    async def wait(self, condition: Callable[[JobRecord], bool], *, timeout: float = 30.0) -> JobRecord:
        """Wait until the condition holds for the job; TimeoutError after `timeout` seconds. Returns the job."""
        with anyio.fail_after(timeout):
            while not condition(self):
                await self._changed.wait()
        return self

    async def wait_finished(self, *, timeout: float = 30.0) -> JobRecord:
        """Wait until GitLab considers the job done."""
        return await self.wait(lambda job: job.finished, timeout=timeout)

    async def wait_state(self, state: str, *, timeout: float = 30.0) -> JobRecord:
        """Wait until the job is in this state; it must not have passed it."""
        return await self.wait(lambda job: job.state == state, timeout=timeout)

    async def wait_trace(self, part: bytes, *, timeout: float = 30.0) -> JobRecord:
        """Wait until the stored log contains `part`."""
        return await self.wait(lambda job: part in job._trace, timeout=timeout)

    def cancel(self, *, force: bool = False) -> None:
        """Cancel as a user does: `canceling` when its runner can do so gracefully, else `canceled` at once."""
        if self.finished:
            return
        features = self.request.get("info", {}).get("features", {})
        graceful = self.state != "pending" and features.get("cancel_gracefully") and not force
        if graceful:
            self._set_state("canceling")
        else:
            self._finish("canceled")

    def lose_trace(self, keep_bytes: int = 0) -> None:
        """Forget the end of the stored log, as GitLab does when it fails over to a server that had not got it."""
        del self._trace[keep_bytes:]
        self._crc = zlib.crc32(self._trace)
        self._notify()

    def assign(self, request: Json) -> None:
        """Give the job to the runner that sent this request."""
        self.request = request
        self.assigned_at = monotonic()
        self._set_state("running")

    def update(self, body: Mapping[str, Any]) -> Answer:
        """Answer `PUT jobs/:id`."""
        answer = self._update(body)
        output = body.get("output") or {}
        self.updates.append(
            UpdateRecord(
                state=str(body.get("state", "")),
                checksum=output.get("checksum", ""),
                bytesize=output.get("bytesize"),
                failure_reason=body.get("failure_reason", ""),
                exit_code=body.get("exit_code", 0),
                status=answer.status,
                at=monotonic(),
            )
        )
        self._notify()
        return answer

    def patch(self, content_range: str | None, data: bytes, *, debug: bool) -> Answer:
        """Answer `PATCH jobs/:id/trace`."""
        found = _RANGE.fullmatch(content_range or "")
        if found is None:
            self._complain(f"a patch with the Content-Range {content_range!r}")
            return Answer(400, body="Content-Range required")
        start = int(found[1])
        answer = self._patch(start, int(found[2]), data)
        self.patches.append(
            PatchRecord(start=start, length=len(data), debug=debug, status=answer.status, at=monotonic())
        )
        self._notify()
        if answer.status == 202 and self._on_trace is not None:
            self._on_trace(self, data)
        return answer

    def _update(self, body: Mapping[str, Any]) -> Answer:
        if self.finished:
            return self._not_running()
        match body.get("state"):
            case "running" | "pending":
                self.acknowledged = True
                return Answer(200, self._headers(), "200")
            case "success" | "failed" as state:
                return self._final(state, body)
            case other:
                self._complain(f"an update with the state {other!r}")
                return Answer(400)

    def _final(self, state: str, body: Mapping[str, Any]) -> Answer:
        self._check_final(state, body)
        if self._pending_replies > 0:
            self._pending_replies -= 1
            return Answer(202, self._headers(interval=True), "202")
        self.failure_reason = (body.get("failure_reason") or "unknown_failure") if state == "failed" else None
        self.exit_code = body.get("exit_code", 0)
        self._finish("canceled" if self.state == "canceling" else state)
        return Answer(200, self._headers(), "200")

    def _check_final(self, state: str, body: Mapping[str, Any]) -> None:
        if not self.acknowledged:
            self._complain("a final update without an earlier update `running`")
        output = body.get("output") or {}
        told = (output.get("checksum"), output.get("bytesize"))
        if told != (self.checksum, len(self._trace)) and (told != (None, None) or self._trace):
            self._complain(f"a final update naming the log {told}; stored is {(self.checksum, len(self._trace))}")
        reason = body.get("failure_reason")
        known = _ALWAYS_KNOWN | set((self.payload.get("features") or {}).get("failure_reasons") or ())
        if state == "failed" and reason not in known:
            self._complain(f"a failure with the reason {reason!r}, which this GitLab does not know")
        if state == "success" and (reason or body.get("exit_code")):
            self._complain("a success with a reason or an exit code")

    def _patch(self, start: int, end: int, data: bytes) -> Answer:
        if self.finished:
            return self._not_running()
        if not self.acknowledged:
            self._complain("a patch before the update `running`")
        if not data or len(data) > PATCH_BYTES_MAX:
            self._complain(f"a patch of {len(data)} bytes")
        if end != start + len(data) - 1:
            self._complain(f"a patch of {len(data)} bytes with the Content-Range {start}-{end}")
        if start != len(self._trace):
            return Answer(416, self._headers(range_=True), '{"message":"416 Range Not Satisfiable"}')
        self._trace += data
        self._crc = zlib.crc32(data, self._crc)
        return Answer(202, self._headers(range_=True, interval=True), "202")

    def _not_running(self) -> Answer:
        return Answer(403, self._headers(), '{"message":"403 Forbidden - Job is not processing on runner"}')

    def _headers(self, *, range_: bool = False, interval: bool = False) -> dict[str, str]:
        headers = {"Job-Status": self.state}
        if range_:
            headers["Range"] = f"0-{len(self._trace)}"
        if interval:
            headers["X-GitLab-Trace-Update-Interval"] = f"{self._interval:g}"
        return headers

    def _complain(self, what: str) -> None:
        self.violations.append(f"Job {self.id}: {what}.")

    def _finish(self, state: str) -> None:
        self.finished_at = monotonic()
        self._set_state(state)

    def _set_state(self, state: str) -> None:
        self.state = state
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
