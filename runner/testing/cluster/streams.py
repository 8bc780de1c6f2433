"""exec, attach and log: the streams of containers over HTTP and WebSocket.

Law: the wire of the real server. Sub-protocols v5 and v4 in the client's order of preference, one empty frame on the
lowest output channel as the sign of being connected, one byte of channel number before all data, a Status on channel 3
as the only proof of an end. A client that goes away ends nothing but its own stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import anyio
import orjson
from aiohttp import WSMsgType, web

from runner.testing.cluster.access import flag
from runner.testing.cluster.container_log import LogOptions
from runner.testing.cluster.kubelet import Execution, Kubelet
from runner.testing.cluster.moments import epoch
from runner.testing.cluster.problems import Manifest, StatusError, bad_request, internal_error
from runner.testing.cluster.stdio import STDERR, STDOUT, Stdio

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"

_STDIN = 0
_STATUS = 3
_RESIZE = 4
_CLOSE = 255
_SUCCESS = {"metadata": {}, "status": "Success"}
_CLOSE_TIMEOUT = 2.0


class _Session:
    """One client's exec or attach."""

    def __init__(self, socket: web.WebSocketResponse, query: Mapping[str, str]) -> None:
        self._socket = socket
        self._wanted = {STDOUT: flag(query, "stdout"), STDERR: flag(query, "stderr")}
        self.stdin = flag(query, "stdin")

    async def greet(self) -> None:
        """Send the empty frame that says: connected."""
        await self._send(next((stream for stream, wanted in self._wanted.items() if wanted), _STATUS), b"")

    async def output(self, stream: int, data: bytes) -> None:
        """Hand output to the client; waits while it does not read."""
        if self._wanted.get(stream):
            await self._send(stream, data)

    async def finish(self, status: Manifest) -> None:
        """Send the status and close."""
        with suppress(ConnectionError), anyio.move_on_after(_CLOSE_TIMEOUT):
            await self._send(_STATUS, orjson.dumps(status))
            await self._socket.close()

    async def read(self, stdio: Stdio) -> None:
        """Take the client's frames until it goes away."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == _STDIN and self.stdin and data:
                await stdio.stdin.write(data)
            elif channel == _CLOSE and data == b"\x00" and self._socket.ws_protocol == V5:
                self._end_input(stdio)
            elif channel == _RESIZE:
                _resize(stdio, data)

    def leave(self, stdio: Stdio) -> None:
        """Take leave of the streams when the client has gone."""
        stdio.detach(self.output)
        self._end_input(stdio)

    def _end_input(self, stdio: Stdio) -> None:
        if self.stdin and stdio.stdin_once:
            stdio.stdin.close()

    async def _send(self, channel: int, data: bytes) -> None:
        # Without a lock: stdout and stderr come from two tasks, but a frame is written whole before anything waits.
        await self._socket.send_bytes(bytes((channel,)) + data)


async def attach(request: web.Request, pod: Manifest, kubelet: Kubelet) -> web.StreamResponse:
    """Serve `pods/attach`: the streams of a running container, until it ends or the client leaves.

    A container that does not run is reported as the real server does it: with v5 as a Status in the accepted stream,
    with v4 as an HTTP error instead of it.
    """
    container = _container_name(pod, request.query, "attach")
    stdio = kubelet.stdio(pod["metadata"]["uid"], container)
    missing = f"container {container} not found in pod {pod['metadata']['name']}_{pod['metadata']['namespace']}"
    problem = _unusable(stdio, missing)
    socket = await _accept(request, problem)
    session = _Session(socket, request.query)
    await session.greet()
    if problem is not None or stdio is None:
        await session.finish(_failure(problem or internal_error(missing)))
        return socket
    stdio.attach(session.output)
    try:
        await _until_end(session, stdio)
    finally:
        session.leave(stdio)
    if stdio.ended.is_set():
        await session.finish(_SUCCESS)
    return socket


async def execute(request: web.Request, pod: Manifest, kubelet: Kubelet) -> web.StreamResponse:
    """Serve `pods/exec`: a new process in a running container, its exit code as a Status."""
    container = _container_name(pod, request.query, "exec")
    problem = _unusable(kubelet.stdio(pod["metadata"]["uid"], container), f'container not found ("{container}")')
    socket = await _accept(request, problem)
    session = _Session(socket, request.query)
    await session.greet()
    if problem is not None:
        await session.finish(_failure(problem))
        return socket
    wanted = Execution(
        pod_uid=pod["metadata"]["uid"],
        container=container,
        command=tuple(request.query.getall("command", [])),
        stdin=session.stdin,
        tty=flag(request.query, "tty"),
    )
    try:
        stdio = await kubelet.execute(wanted, session.output)
    except StatusError as error:
        await session.finish(_failure(error))
        return socket
    try:
        await _until_end(session, stdio)
    finally:
        session.leave(stdio)
    if stdio.ended.is_set():
        await session.finish(_exit_status(stdio.exit_code or 0))
    return socket


async def log(request: web.Request, pod: Manifest, kubelet: Kubelet) -> web.StreamResponse:
    """Serve `pods/log`."""
    query, name = request.query, pod["metadata"]["name"]
    container = _container_name(pod, query, "log", always=True)
    if flag(query, "previous"):
        raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    stdio = kubelet.stdio(pod["metadata"]["uid"], container)
    if stdio is None or stdio.log is None:
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {_waiting(pod, container)}')
    if stdio.unreachable:
        raise internal_error(stdio.unreachable)
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    async for text in stdio.log.read(_log_options(query)):
        await answer.write(text)
    return answer


async def _accept(request: web.Request, problem: StatusError | None) -> web.WebSocketResponse:
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade.startswith("spdy"):
        raise bad_request("SPDY is not served here: use WebSockets")
    if upgrade != "websocket":
        raise bad_request("Upgrade request required")
    offered = [
        word.strip() for line in request.headers.getall("Sec-WebSocket-Protocol", []) for word in line.split(",")
    ]
    known = [word for word in offered if word in (V5, V4)]
    if not known:
        raise StatusError(403, "Forbidden", f"no known sub-protocol among {offered}, served are {V5} and {V4}")
    if problem is not None and known[0] == V4:
        raise problem
    socket = web.WebSocketResponse(protocols=(V5, V4), max_msg_size=0, timeout=_CLOSE_TIMEOUT, compress=False)
    await socket.prepare(request)
    return socket


async def _until_end(session: _Session, stdio: Stdio) -> None:
    """Carry the client's input until the process ends or the client leaves."""
    async with anyio.create_task_group() as group:

        async def watch_end() -> None:
            await stdio.ended.wait()
            group.cancel_scope.cancel()

        group.start_soon(watch_end)
        with suppress(ConnectionError):
            await session.read(stdio)
        group.cancel_scope.cancel()


def _unusable(stdio: Stdio | None, missing: str) -> StatusError | None:
    if stdio is not None and stdio.unreachable:
        return internal_error(stdio.unreachable)
    if stdio is None or stdio.ended.is_set():
        return internal_error(f"unable to upgrade connection: {missing}")
    return None


def _container_name(pod: Manifest, query: Mapping[str, str], what: str, *, always: bool = False) -> str:
    """Return which container is meant; raises StatusError 400 as the real server does."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names: list[str] = [container["name"] for container in spec["containers"]]
    known = names + [container["name"] for container in spec.get("initContainers") or []]
    asked = query.get("container", "")
    if not asked:
        if len(names) > 1:
            raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
        return names[0]
    if asked not in known:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    if not always and not spec.get("nodeName"):
        raise bad_request(f"pod {name} does not have a host assigned ({what})")
    return asked


def _waiting(pod: Manifest, container: str) -> str:
    status = pod.get("status") or {}
    for row in (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or []):
        if row["name"] == container and row["state"].get("waiting"):
            reason: str = row["state"]["waiting"].get("reason", "")
            return reason
    return "ContainerCreating"


def _log_options(query: Mapping[str, str]) -> LogOptions:
    def number(name: str) -> int | None:
        text = query.get(name)
        if text is None:
            return None
        if not text.isdigit():
            raise bad_request(f"{name} must be greater than or equal to 0, and is {text}")
        return int(text)

    since = query.get("sinceTime")
    return LogOptions(
        follow=flag(query, "follow"),
        timestamps=flag(query, "timestamps"),
        tail_lines=number("tailLines"),
        limit_bytes=number("limitBytes"),
        since=_since(since) if since else 0.0,
        since_seconds=number("sinceSeconds"),
    )


def _since(text: str) -> float:
    try:
        return epoch(text)
    except ValueError:
        raise bad_request(f"sinceTime: {text} is no moment") from None


def _exit_status(code: int) -> Manifest:
    if code == 0:
        return _SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure(error: StatusError) -> Manifest:
    """Return a refusal as it is told in a stream: without kind, with its cause."""
    cause = error.message.removeprefix("Internal error occurred: ")
    bare = {key: value for key, value in error.body.items() if key not in ("kind", "apiVersion")}
    return {**bare, "details": {"causes": [{"message": cause}]}}


def _resize(stdio: Stdio, data: bytes) -> None:
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        size = orjson.loads(data)
        stdio.stdin.resize(int(size["Width"]), int(size["Height"]))
