"""The coordinator: GitLab as one runner sees it.

Law: one method is one question to GitLab, and its answer is data. A request for a job and a patch of a log are sent
once and never repeated here, whatever happens to them; what follows from an answer is decided above. No token is ever
in a text made here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import anyio
import orjson
import structlog

from runner.gitlab.backoff import RETRY_ATTEMPTS, Backoff
from runner.gitlab.errors import CoordinatorConfigurationError, CoordinatorError
from runner.gitlab.features import ClientInfo
from runner.gitlab.replies import (
    JobAnswer,
    JobIdentity,
    JobReply,
    classify_job_reply,
    classify_patch_reply,
    classify_update_reply,
    describe,
)
from runner.gitlab.sending import JSON, Call, Observe, Reply, Sender, failed_status
from runner.gitlab.tls import TlsFiles
from runner.gitlab.transport import ClientPool
from runner.job.outcome import FailureReason
from runner.trace.answers import PatchResult, UpdateResult

log = structlog.get_logger()

JOB_BYTES_MAX = 64 << 20
"""The longest job payload that is read."""

_FAREWELL_BODY_TIMEOUT = 10.0


class Coordinator:
    """GitLab for one runner: its URL, its token, its cursor.

    `pool` is shared by the runners of a process so that they share connections; without one the coordinator has its
    own. `url` is the runner's, with or without `/ci` at its end. `fraction` gives the randomness of waits. Every method
    may be cancelled at any time.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        info: ClientInfo,
        system_id: str = "",
        tls: TlsFiles | None = None,
        pool: ClientPool | None = None,
        observe: Observe | None = None,
        farewell_timeout: float = 1.0,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._token = token
        self._system_id = system_id
        self._info = info
        self._pool = pool or ClientPool()
        self._owns_pool = pool is None
        self._sender = Sender(url, info=info, pool=self._pool, tls=tls, observe=observe, fraction=fraction)
        self._farewell_timeout = farewell_timeout
        self._fraction = fraction
        self._last_update = ""
        self._backoff = Backoff()

    @property
    def url(self) -> str:
        """The address of GitLab, without `/ci`, credentials and a slash at the end."""
        return self._sender.base

    @property
    def tls_ca(self) -> str:
        """The PEM text that lets a job trust this GitLab (CI_SERVER_TLS_CA_FILE); empty over http."""
        return self._sender.tls.chain_pem() if self._sender.tls else ""

    @property
    def tls_client(self) -> tuple[str, str]:
        """The PEM texts of our client certificate and its key, for jobs; empty without both."""
        tls = self._sender.tls
        return (tls.cert_pem, tls.key_pem) if tls else ("", "")

    async def request_job(self, *, long_poll: bool = True, session: Mapping[str, str] | None = None) -> JobReply:
        """Ask for a job once. Never raises for what GitLab or the network does: the reply says it.

        `session` is how GitLab reaches the job that may come: `url`, `certificate`, `authorization`.

        With `long_poll` GitLab may hold the question until there is a job (it does so when it sees our cursor);
        without, it answers at once. `retry_after` is set whenever waiting is called for: GitLab's own word, or a wait
        that doubles up to half a minute.

        When it is cancelled while the question is on its way, it still listens for `farewell_timeout` seconds, and to
        the end of an answer that has begun. A job that comes then is returned in spite of the cancellation, so the
        caller must take it without another `await`; otherwise the cancellation takes its course. What remains: GitLab
        may hand out the job just after we hung up, or its answer may be lost on the way. Such a job stays with us in
        GitLab's eyes until its time-out, unless GitLab asks for an acknowledgement (`two_phase_job_commit`).
        """
        # The exchange runs in this task, under a shield that has no deadline until the cancellation comes; the child is
        # there to notice it. So the job is in hand when the scope is left, and nothing is awaited between that and the
        # return.
        reply: JobReply | None = None
        async with anyio.create_task_group() as group:
            shield = anyio.CancelScope(shield=True)
            farewell = _Farewell(shield, self._farewell_timeout)
            group.start_soon(farewell.watch)
            with shield:
                reply = await self._ask(long_poll=long_poll, session=session, on_answer=farewell.answer_began)
            group.cancel_scope.cancel()
        if reply is None or reply.job is None:
            await anyio.lowlevel.checkpoint()
        # None is only possible when cancelled, and then the checkpoint has raised.
        assert reply is not None
        return reply

    def renew(self, token: str) -> None:
        """Ask with this token from now on, as GitLab takes the one before no more; jobs have tokens of their own."""
        self._token = token
        self._last_update = ""

    async def update_job(
        self,
        job: JobIdentity,
        *,
        state: str,
        checksum: str = "",
        size: int | None = None,
        failure_reason: str = "",
        exit_code: int = 0,
        attempts: int = 1,
    ) -> UpdateResult:
        """Tell GitLab how the job is: `running` as acknowledgement and sign of life, `success` or `failed` as its end.

        `checksum` and `size` are those of the log so far; the acknowledgement has none. Repeating an update does no
        harm, so with `attempts` (at most RETRY_ATTEMPTS) it is repeated while GitLab is unavailable; the default leaves
        that to the caller's machine. Network trouble is a result too: its status is NETWORK_FAILED.
        """
        output = {"checksum": checksum, "bytesize": size} if checksum else {}
        body: dict[str, object] = {"info": self._info.as_json(), "token": job.token, "state": state, "output": output}
        optional = {"failure_reason": failure_reason, "checksum": checksum, "exit_code": exit_code}
        body.update({key: value for key, value in optional.items() if value})
        call = Call(
            method="PUT",
            path=f"jobs/{job.id}",
            route="jobs/:id",
            headers={"JOB-TOKEN": job.token, "Content-Type": JSON},
            content=orjson.dumps(body),
            answer_timeout=self._pool.timeouts.update_timeout,
        )
        try:
            answer = await self._sender.repeated(call, min(attempts, RETRY_ATTEMPTS))
        except CoordinatorError as error:
            log.warning("job update failed", job=job.id, state=state, reason=str(error))
            return UpdateResult(status=failed_status(error), retry_after=error.retry_after)
        if answer.status not in {200, 202}:
            reason = self._described(answer, job.token)
            log.info("job update refused", job=job.id, state=state, reason=reason, correlation_id=answer.correlation_id)
        return classify_update_reply(answer.status, answer.headers, answer.body, now=time.time())

    async def patch_trace(self, job: JobIdentity, *, start: int, data: bytes, debug: bool = False) -> PatchResult:
        """Append `data` to the job's log in GitLab, which must have exactly `start` bytes of it.

        Sent once: whether a lost patch was stored, GitLab's answer to the next one tells (416). An empty patch is not
        sent and counts as taken. `debug` marks a log that only developers of the project may read. Network trouble is a
        result too.
        """
        if not data:
            return PatchResult(status=202, range_end=start)
        call = Call(
            method="PATCH",
            path=f"jobs/{job.id}/trace?debug_trace={'true' if debug else 'false'}",
            route="jobs/:id/trace",
            headers={
                "JOB-TOKEN": job.token,
                # Both ends are included, as GitLab has it.
                "Content-Range": f"{start}-{start + len(data) - 1}",
                "Content-Type": "text/plain",
            },
            content=data,
            answer_timeout=self._pool.timeouts.update_timeout,
        )
        try:
            answer = await self._sender.exchange(call)
        except CoordinatorError as error:
            log.warning("log patch failed", job=job.id, reason=str(error))
            return PatchResult(status=failed_status(error), retry_after=error.retry_after)
        if answer.status not in {202, 416}:
            reason = self._described(answer, job.token)
            log.info("log patch refused", job=job.id, reason=reason, correlation_id=answer.correlation_id)
        return classify_patch_reply(answer.status, answer.headers, answer.body, now=time.time())

    async def aclose(self) -> None:
        """Close the connections, unless they belong to a pool that was handed in."""
        if self._owns_pool:
            await self._pool.aclose()

    async def _ask(
        self, *, long_poll: bool, session: Mapping[str, str] | None, on_answer: Callable[[], None]
    ) -> JobReply:
        token = self._token
        call = self._question(token, long_poll=long_poll, session=session, on_answer=on_answer)
        try:
            answer = await self._sender.exchange(call)
        except CoordinatorError as error:
            unusable = isinstance(error, CoordinatorConfigurationError)
            return self._paced(
                JobReply(answer=JobAnswer.UNUSABLE if unusable else JobAnswer.UNAVAILABLE, trouble=error)
            )
        reply = self._read(answer, token)
        if token == self._token:
            self._last_update = reply.last_update or self._last_update
        elif reply.answer is JobAnswer.FORBIDDEN:
            return JobReply(answer=JobAnswer.NONE)  # renewed while GitLab held the question: the next has the new one
        if reply.unreadable is not None:
            # Nobody else will ever speak for this job: without a word it would stay "running" until its time-out.
            await self.update_job(
                reply.unreadable,
                state="failed",
                failure_reason=FailureReason.RUNNER_SYSTEM_FAILURE,
                attempts=RETRY_ATTEMPTS,
            )
        return self._paced(reply)

    def _question(
        self, token: str, *, long_poll: bool, session: Mapping[str, str] | None, on_answer: Callable[[], None]
    ) -> Call:
        body: dict[str, object] = {"info": self._info.as_json(), "token": token}
        if self._system_id:
            body["system_id"] = self._system_id
        if long_poll and self._last_update:
            body["last_update"] = self._last_update
        if session:
            body["session"] = dict(session)
        return Call(
            method="POST",
            path="jobs/request",
            route="jobs/request",
            headers={"RUNNER-TOKEN": token, "Content-Type": JSON, "Accept": JSON},
            content=orjson.dumps(body),
            answer_timeout=self._pool.timeouts.answer_timeout,
            reply_bytes=JOB_BYTES_MAX,
            on_answer=on_answer,
        )

    def _read(self, answer: Reply, token: str) -> JobReply:
        """Judge an answer, and note by which id GitLab's own logs know it."""
        body_text = answer.body if answer.status == 201 else self._scrubbed(answer.body, token)
        reply = classify_job_reply(answer.status, answer.headers, body_text, now=time.time())
        if reply.trouble is not None:
            reply.trouble.correlation_id = answer.correlation_id
        if reply.job is not None:
            job = reply.job.model_copy(update={"correlation_id": answer.correlation_id})
            reply = replace(reply, job=job)
        return reply

    def _paced(self, reply: JobReply) -> JobReply:
        """Set the wait of a reply that calls for one and has none of GitLab's."""
        if reply.answer not in {JobAnswer.UNAVAILABLE, JobAnswer.THROTTLED, JobAnswer.GARBAGE}:
            self._backoff.succeeded()
            return reply
        delay = self._backoff.failed(self._fraction())
        return reply if reply.retry_after is not None else replace(reply, retry_after=delay)

    def _described(self, answer: Reply, token: str) -> str:
        return describe(answer.status, answer.headers, self._scrubbed(answer.body, token))

    def _scrubbed(self, body: bytes, token: str) -> bytes:
        return body.replace(token.encode(), b"[MASKED]") if token else body


class _Farewell:
    """Gives a shielded exchange a deadline when the cancellation comes, and only then."""

    def __init__(self, shield: anyio.CancelScope, timeout: float) -> None:
        self._shield = shield
        self._timeout = timeout
        self._leaving = False

    def answer_began(self) -> None:
        """The head of an answer is there, and with it perhaps a job: its end is worth more patience."""
        self._timeout = max(self._timeout, _FAREWELL_BODY_TIMEOUT)
        if self._leaving:
            self._shield.deadline = anyio.current_time() + self._timeout

    async def watch(self) -> None:
        """Wait to be cancelled; a task of its own, outside of the shield."""
        try:
            await anyio.sleep_forever()
        finally:
            self._leaving = True
            self._shield.deadline = anyio.current_time() + self._timeout
