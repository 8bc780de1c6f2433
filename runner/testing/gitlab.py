"""An embedded GitLab: the runner API and git over HTTP on a real socket, with jobs that a test queues and reads.

Law: it answers as GitLab 19 answers, and it polices: what a sound runner never sends stands in `violations` afterwards.
It knows nothing of this package's client, so any runner may talk to it. `python -m runner.testing.gitlab` serves it
alone.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import anyio.lowlevel
import orjson
from aiohttp import web

from runner.testing.faults import Faults, Handler, RecordedRequest
from runner.testing.gitlab_artifacts import ArtifactStore
from runner.testing.gitlab_control import control_routes
from runner.testing.gitlab_git import Repositories, Repository
from runner.testing.gitlab_jobs import Answer, JobRecord
from runner.testing.gitlab_lfs import LargeFiles
from runner.testing.gitlab_registration import DEFAULT_REGISTRATION_TOKEN, RunnerRegistry
from runner.testing.payloads import Json, job_payload
from runner.testing.serving import Listener

__all__ = ["GitLabServer", "JobRecord", "Repository"]

DEFAULT_RUNNER_TOKEN = "glrt-Ab3dEfGh1JkLmNoPqRsT"

_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
_USER_AGENT = re.compile(r"\S+ \S+ \(.+; .+; \w+/\w+\)")
_BODY_BYTES_MAX = 64 << 20
_PASSES_TO_NOTICE_A_HANGUP = 5


class GitLabServer:
    """A GitLab for tests, benchmarks and local runs.

    Use it as an async context manager or call `start` and `aclose`. `faults` makes it fail by route, `outage` refuses
    everything. All arguments are settings of a real GitLab:

    - `tokens`: the runners it knows; the first is `token`.
    - `registration_tokens`: what `register` may make new runners with; none: it answers 410, as GitLab 19 does.
    - `long_poll_timeout`: how long a request for a job is held, in seconds; 0: never.
    - `update_interval`: what it tells runners to wait between patches. GitLab says 3 or 60; the default is for tests.
    - `pending_replies`: how often a final update is answered 202 ("still storing the log") before the 200.
    - `on_trace`: called with the job and the bytes of each stored patch.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        tokens: tuple[str, ...] = (DEFAULT_RUNNER_TOKEN,),
        registration_tokens: tuple[str, ...] = (DEFAULT_REGISTRATION_TOKEN,),
        long_poll_timeout: float = 50.0,
        update_interval: float = 0.1,
        pending_replies: int = 0,
        on_trace: Callable[[JobRecord, bytes], None] | None = None,
    ) -> None:
        self.runners = RunnerRegistry(tokens, registration_tokens=registration_tokens)
        """The runners it knows, and what may become of them."""
        self.token = tokens[0]
        """The runner token to register with."""
        self.faults = Faults()
        """What goes wrong, and the record of all requests."""
        self.jobs: dict[int, JobRecord] = {}
        """Every job that was ever queued, by its id."""
        self._long_poll_timeout = long_poll_timeout
        self._update_interval = update_interval
        self._pending_replies = pending_replies
        self._on_trace = on_trace
        self._waiting: list[JobRecord] = []
        self._queue_version = 1
        self._queued = anyio.Event()
        self._violations: list[str] = []
        self.artifacts = ArtifactStore()
        """What jobs have uploaded."""
        self.large_files = LargeFiles()
        """What `git lfs pull` finds; a repository holds the pointers that `add` returns."""
        self._repositories = Repositories()
        self._listener = Listener(self._application(), host=host, port=port, tls=tls)

    async def start(self) -> GitLabServer:
        """Listen; returns the server itself."""
        await self._listener.start()
        return self

    async def aclose(self) -> None:
        """End every request and remove the repositories, also when cancelled."""
        self.faults.clear()
        with anyio.CancelScope(shield=True):
            try:
                await self._listener.aclose()
            finally:
                self._repositories.close()
                self.artifacts.close()

    async def __aenter__(self) -> GitLabServer:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def url(self) -> str:
        """What a runner has as its `url`."""
        return self._listener.url

    @property
    def requests(self) -> deque[RecordedRequest]:
        """All requests so far, oldest first."""
        return self.faults.requests

    @property
    def violations(self) -> list[str]:
        """What a sound runner would not have sent, in sentences; a test ends with asserting that this is empty."""
        return [*self._violations, *(entry for job in self.jobs.values() for entry in job.violations)]

    def queue(self, payload: Mapping[str, Any] | None = None, *, runner: str | None = None, **over: Any) -> JobRecord:
        """Queue a job and wake the runners that wait for one.

        `payload` is a whole payload, whose id and token are filled in when missing; without it, `job_payload(**over)`
        makes one, with this server's URL. `runner` names the only token that gets the job.
        """
        number = max(self.jobs, default=1000) + 1
        identity: Json = {"id": number, "token": f"glcbt-64_{number:020d}"}
        if payload is None:
            made = job_payload(**{**identity, "server_url": self.url, **over})
        else:
            made = {**identity, **payload, **over}
        job = JobRecord(
            made,
            runner=runner,
            update_interval=self._update_interval,
            pending_replies=self._pending_replies,
            on_trace=self._on_trace,
        )
        if job.id in self.jobs:
            raise ValueError(f"There is a job {job.id} already.")
        self.jobs[job.id] = job
        self._waiting.append(job)
        self._queue_version += 1
        self._queued.set()
        self._queued = anyio.Event()
        return job

    def job(self, number: int) -> JobRecord:
        """Return the job with this id; KeyError when there is none."""
        return self.jobs[number]

    def cancel(self, number: int, *, force: bool = False) -> None:
        """Cancel a job as a user does; with `force` it is over for GitLab at once."""
        self.jobs[number].cancel(force=force)

    async def create_repository(
        self,
        path: str,
        *,
        files: Mapping[str, str | bytes | None],
        branch: str = "main",
        object_format: str = "sha1",
        private: bool = False,
    ) -> Repository:
        """Make a project's repository, such as `acme/demo`.

        The tokens of running jobs may fetch from it, unless it is `private`.
        """
        url = f"{self.url}/{path}.git"
        return await self._repositories.create(
            path, url=url, files=files, branch=branch, object_format=object_format, private=private
        )

    async def mirror_repository(self, path: str, source: Path, *, branch: str, sha: str) -> Repository:
        """Serve a copy of a repository of this machine as a project; objects that change later are not seen."""
        return await self._repositories.mirror(
            path, url=f"{self.url}/{path}.git", source=source, branch=branch, sha=sha
        )

    async def outage(self) -> None:
        """Refuse every connection and cut the open ones; jobs and logs are kept."""
        await self._listener.outage()

    async def restore(self) -> None:
        """End the outage, on the same address."""
        await self._listener.restore()

    def disconnect(self) -> None:
        """Cut every open connection once."""
        self._listener.disconnect()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware], client_max_size=_BODY_BYTES_MAX)
        app.router.add_post("/api/v4/jobs/request", self._request_job)
        app.router.add_put(r"/api/v4/jobs/{id:\d+}", self._update_job)
        app.router.add_patch(r"/api/v4/jobs/{id:\d+}/trace", self._patch_trace)
        app.router.add_post(r"/api/v4/jobs/{id:\d+}/artifacts", self._receive_artifacts)
        app.router.add_get(r"/api/v4/jobs/{id:\d+}/artifacts", self._send_artifacts)
        app.router.add_get("/-/object-store/{key}", self._send_object)
        app.router.add_post("/api/v4/runners/verify", self._verify)
        app.router.add_post("/api/v4/runners", self._runner_call(self.runners.register))
        app.router.add_delete("/api/v4/runners", self._runner_call(self.runners.remove))
        app.router.add_delete("/api/v4/runners/managers", self._runner_call(self.runners.remove_manager))
        app.router.add_post("/api/v4/runners/reset_authentication_token", self._runner_call(self.runners.reset))
        app.router.add_post(r"/api/v4/runners/{id:\d+}/reset_authentication_token", self._reset_by_id)
        app.router.add_get(r"/{project:.+}.git/info/refs", self._git)
        app.router.add_post(r"/{project:.+}.git/git-upload-pack", self._git)
        app.router.add_post(r"/{project:.+}.git/info/lfs/objects/batch", self._git)
        app.router.add_get(r"/{project:.+}.git/gitlab-lfs/objects/{oid}", self._git)
        app.router.add_routes(control_routes(self))
        return app

    # The runner API.

    async def _request_job(self, request: web.Request) -> web.Response:
        body = await self._json(request)
        token = str(body.get("token", ""))
        if not self._knows_runner(request, token):
            return _forbidden()
        job = self._take(token)
        cursor = f"{self._queue_version:032x}"
        headers = {}
        if job is None and self._may_hold(request, body, cursor):
            headers["Gitlab-Ci-Builds-Polling"] = "yes"
            job = await self._wait_for_job(token)
        if job is None:
            headers["X-GitLab-Last-Update"] = f"{self._queue_version:032x}"
            return web.Response(status=204, headers=headers)
        job.assign(body)
        content = orjson.dumps(job.payload)
        return web.Response(status=201, headers=headers, body=content, content_type="application/json")

    async def _update_job(self, request: web.Request) -> web.Response:
        body = await self._json(request)
        job = self._job_of(request, str(body.get("token", "")))
        return _forbidden() if job is None else _response(job.update(body))

    async def _patch_trace(self, request: web.Request) -> web.Response:
        data = await request.read()
        self._police(request)
        job = self._job_of(request)
        if job is None:
            return _forbidden()
        debug = request.query.get("debug_trace") == "true"
        return _response(job.patch(request.headers.get("Content-Range"), data, debug=debug))

    async def _receive_artifacts(self, request: web.Request) -> web.StreamResponse:
        job = self._job_of(request)
        return _forbidden() if job is None else await self.artifacts.receive(job.id, request)

    async def _send_artifacts(self, request: web.Request) -> web.StreamResponse:
        job = self._job_of(request)
        return _forbidden() if job is None else self.artifacts.send(job.id, request)

    async def _send_object(self, request: web.Request) -> web.StreamResponse:
        return self.artifacts.send_signed(request)

    async def _verify(self, request: web.Request) -> web.Response:
        body = await self._json(request)
        self._knows_runner(request, str(body.get("token", "")))
        status, answer = self.runners.verify(body)
        return web.json_response(answer, status=status)

    def _runner_call(self, answer_to: Callable[[Json], tuple[int, Json]]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            status, answer = answer_to(await self._json(request))
            return web.Response(status=204) if status == 204 else web.json_response(answer, status=status)

        return handle

    async def _reset_by_id(self, request: web.Request) -> web.Response:
        private_token = request.headers.get("PRIVATE-TOKEN", "")
        status, answer = self.runners.reset_by_id(int(request.match_info["id"]), private_token)
        return web.json_response(answer, status=status)

    async def _json(self, request: web.Request) -> Json:
        self._police(request)
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict) or request.content_type != "application/json":
            self._complain(f"{request.method} {request.path} without a JSON object")
            raise web.HTTPBadRequest
        return body

    def _police(self, request: web.Request) -> None:
        if not _REQUEST_ID.fullmatch(request.headers.get("X-Request-Id", "")):
            self._complain(f"{request.method} {request.path} without a good X-Request-Id")
        if not _USER_AGENT.fullmatch(request.headers.get("User-Agent", "")):
            self._complain(f"{request.method} {request.path} without a good User-Agent")

    def _complain(self, what: str) -> None:
        self._violations.append(f"{what}.")

    def _knows_runner(self, request: web.Request, token: str) -> bool:
        header = request.headers.get("RUNNER-TOKEN", "")
        if header != token:
            self._complain(f"{request.method} {request.path} with different tokens in header and body")
        return self.runners.find(token) is not None

    def _job_of(self, request: web.Request, body_token: str = "") -> JobRecord | None:
        job = self.jobs.get(int(request.match_info["id"]))
        token = request.headers.get("JOB-TOKEN", body_token)
        return job if job is not None and job.assigned_at is not None and _same(token, job.token) else None

    # The queue.

    def _take(self, token: str) -> JobRecord | None:
        self._waiting = [job for job in self._waiting if not job.finished]
        found = next((job for job in self._waiting if job.runner in {None, token}), None)
        if found is not None:
            self._waiting.remove(found)
        return found

    def _may_hold(self, request: web.Request, body: Json, cursor: str) -> bool:
        return self._long_poll_timeout > 0 and body.get("last_update") == cursor

    async def _wait_for_job(self, token: str) -> JobRecord | None:
        with anyio.move_on_after(self._long_poll_timeout):
            while True:
                await self._queued.wait()
                # A poller that has hung up is told apart only when the loop has read its end of the connection and
                # cancelled us; Workhorse looks in the same way before it asks Rails.
                for _ in range(_PASSES_TO_NOTICE_A_HANGUP):
                    await anyio.lowlevel.checkpoint()
                if job := self._take(token):
                    return job
        return None

    # Git.

    async def _git(self, request: web.Request) -> web.StreamResponse:
        if not self._may_fetch(request.headers.get("Authorization", "")):
            return web.Response(
                status=401, headers={"WWW-Authenticate": 'Basic realm="GitLab"'}, text="HTTP Basic: Access denied"
            )
        if request.path.endswith("/info/lfs/objects/batch"):
            return await self.large_files.batch(request)
        if "oid" in request.match_info:
            return await self.large_files.send(request)
        return await self._repositories.serve(request, request.path)

    def _may_fetch(self, authorization: str) -> bool:
        """Tell whether this is `gitlab-ci-token` with the token of a job that runs now."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        running = (job for job in self.jobs.values() if job.assigned_at is not None and not job.finished)
        return (
            scheme.lower() == "basic"
            and user == "gitlab-ci-token"
            and any(_same(password, job.token) for job in running)
        )


def _response(answer: Answer) -> web.Response:
    kind = "application/json" if answer.body.startswith("{") else "text/plain"
    return web.Response(status=answer.status, headers=answer.headers, text=answer.body, content_type=kind)


def _forbidden() -> web.Response:
    return web.json_response({"message": "403 Forbidden"}, status=403)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


if __name__ == "__main__":
    from runner.testing.gitlab_main import main

    main()
