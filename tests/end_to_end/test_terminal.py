"""The terminal of a running job and the ports of its images, as GitLab reaches them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest

from tests.terminal.visitors import Visitor, open_visitor, read_until

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

QUIET = {"GIT_STRATEGY": "none"}
PORT = 18093
SERVE = (
    f"d=/tmp/www-$$; mkdir $d; echo hello from $CI_JOB_ID > $d/index.html; cd $d; "
    f"(python3 -m http.server {PORT} || busybox httpd -f -p {PORT}) 2>/dev/null & "
)


@dataclass
class Talk:
    """A job that runs until its terminal says so, and somebody at its terminal."""

    job: JobRecord
    visitor: Visitor
    socket: aiohttp.ClientWebSocketResponse
    flag: str

    async def type(self, text: str, *, wait: bytes) -> bytes:
        """Type a line and wait for what it prints."""
        await self.socket.send_bytes(f"{text}\n".encode())
        return await read_until(self.socket, wait)

    async def end_script(self) -> None:
        """Let the job's script end."""
        await self.socket.send_bytes(f"touch {self.flag}\n".encode())


@asynccontextmanager
async def talking(
    cluster: Cluster, *, session_timeout: int = 60, last: str = "true", **over: Any
) -> AsyncIterator[tuple[Harness, Talk]]:
    """Run a job with its terminal open; `last` is how its script ends."""
    server = {"listen_address": "127.0.0.1:0", "session_timeout": session_timeout}
    flag = f"/tmp/go-{uuid.uuid4()}"
    script = [f"until [ -e {flag} ]; do sleep 0.1; done; rm {flag}", last]
    async with cluster.harness(
        process={"session_server": server, **over.pop("process", {})}, keep_alive_interval=0.2
    ) as h:
        job = h.queue(script=script, variables=QUIET, **over)
        await job.wait_state("running")
        async with open_visitor(job.request["session"]) as visitor, visitor.terminal() as socket:
            yield h, Talk(job, visitor, socket, flag)
        await h.wait_until_empty()
        assert job.violations == []


async def closed(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Read to the end; true for one in order."""
    with anyio.fail_after(30):
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
    return message.type is aiohttp.WSMsgType.CLOSE


async def test_testInteractiveTerminal(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """The terminal connects while the job runs; after the script it keeps the job for `session_timeout`."""
    async with talking(cluster, session_timeout=2) as (_, talk):
        features = talk.job.request["info"]["features"]
        assert [features[name] for name in ("session", "terminal", "proxy")] == [True] * 3
        await talk.type("echo $((6 * 7))", wait=b"42\r\n")
        await talk.end_script()
        assert await closed(talk.socket)
        await talk.job.wait_finished()
        assert talk.job.state == "success"
        assert "Terminal is connected, will time out in 2s...\n" in talk.job.text
        assert "terminal session timed out (maximum time allowed - 2s)\nJob succeeded" in talk.job.text


async def test_terminal_is_in_the_build_container_with_a_window(cluster: Cluster) -> None:
    """The job's files are seen, the window's size comes through, and the job ends when the person leaves."""
    async with talking(cluster) as (_, talk):
        await talk.type("ls -d /builds* /tmp; tty", wait=b"/dev/")
        await talk.socket.send_str('{"Width":133,"Height":41}')
        assert b"41 133" in await talk.type("stty size; echo $((6 * 7))", wait=b"42\r\n")
        await talk.end_script()
        await talk.job.wait_trace(b"Terminal is connected, will time out in 1m0s...")
        await talk.socket.send_bytes(b"exit\n")
        assert await closed(talk.socket)
        await talk.job.wait_finished()
        assert talk.job.state == "success"
        assert "Terminal disconnected\nJob succeeded" in talk.job.text


async def test_job_without_a_terminal_does_not_stay(cluster: Cluster) -> None:
    """A session alone keeps nothing; a failed script stays a failed job when a terminal does."""
    async with talking(cluster, last="exit 3") as (h, talk):
        job = await h.run(script=["true"], variables=QUIET)
        assert (job.state, "erminal" in job.text) == ("success", False)
        assert job.request["session"]["url"] != talk.job.request["session"]["url"]
        await talk.end_script()
        await talk.job.wait_trace(b"Terminal is connected")
        await talk.socket.close()
        await talk.job.wait_finished()
        assert (talk.job.state, talk.job.exit_code) == ("failed", 3)


async def test_terminal_ends_when_the_job_is_canceled(cluster: Cluster) -> None:
    """Who cancels a job that only stays for its terminal does not wait for the time-out."""
    async with talking(cluster) as (h, talk):
        await talk.end_script()
        await talk.job.wait_trace(b"Terminal is connected")
        h.gitlab.cancel(talk.job.id)
        assert await closed(talk.socket)
        await talk.job.wait_finished()
        assert talk.job.state == "canceled"


@pytest.mark.parametrize("staying", [False, True], ids=["script runs", "script has ended"])
async def test_terminal_ends_when_the_manager_has_to_go(cluster: Cluster, staying: bool) -> None:
    """Nothing is left; a script that had ended keeps its result."""
    async with talking(cluster) as (h, talk):
        await talk.type("echo $((6 * 7))", wait=b"42\r\n")
        if staying:
            await talk.end_script()
            await talk.job.wait_trace(b"Terminal is connected")
        h.manager.abort()
        assert await closed(talk.socket)
        await talk.job.wait_finished()
        assert talk.job.state == ("success" if staying else "failed")


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("staying", [False, True], ids=["script runs", "script has ended"])
async def test_terminal_ends_when_the_pod_goes(cluster: Cluster, staying: bool) -> None:
    """Whoever is in it is sent away; a script that had ended keeps its result."""
    async with talking(cluster) as (h, talk):
        await talk.type("echo $((6 * 7))", wait=b"42\r\n")
        if staying:
            await talk.end_script()
            await talk.job.wait_trace(b"Terminal is connected")
        assert h.cluster is not None
        [pod] = h.cluster.manifests("pods")
        h.cluster.delete("pods", pod["metadata"]["name"])
        assert await closed(talk.socket)
        await talk.job.wait_finished()
        assert talk.job.state == ("success" if staying else "failed")


@pytest.mark.only_on("embedded")
async def test_terminal_stays_when_the_runner_leaves_the_configuration(cluster: Cluster) -> None:
    """Neither the job nor who is in it notices; a job that is canceled by force ends both."""
    async with talking(cluster) as (h, talk):
        change = await h.manager.apply(h.config.model_copy(update={"runners": ()}))
        assert change.removed == ("harness",)
        await talk.type("echo $((6 * 7))", wait=b"42\r\n")
        talk.job.cancel(force=True)
        assert await closed(talk.socket)
        assert await talk.visitor.status("exec") == 404


async def test_terminal_ends_at_the_jobs_own_time_out(cluster: Cluster) -> None:
    """What is left of the job's time bounds the stay."""
    async with talking(cluster, timeout=8 if cluster.is_real else 5) as (_, talk):
        await talk.type("echo $((6 * 7))", wait=b"42\r\n")
        await talk.end_script()
        assert await closed(talk.socket)
        await talk.job.wait_finished()
        assert (talk.job.state, "will time out in 1m0s" in talk.job.text) == ("success", False)
        assert "terminal session timed out (maximum time allowed - " in talk.job.text


async def test_port_of_the_image_is_reached(cluster: Cluster) -> None:
    """By number and by name, through the Service that was made for it."""
    image = {"name": cluster.busybox_image, "ports": [{"number": PORT, "protocol": "http", "name": "web"}]}
    async with talking(cluster, image=image) as (_, talk):
        await talk.type(SERVE + "echo $((6 * 7))", wait=b"42\r\n")
        status = 0
        with anyio.fail_after(30):
            while status != 200:
                status, _, body = await talk.visitor.fetch("proxy/build/web/index.html")
        assert body.startswith(b"hello from")
        assert (await talk.visitor.fetch(f"proxy/build/{PORT}/nothing"))[0] == 404
        assert (await talk.visitor.fetch("proxy/build/1/"))[0] == 404
        await talk.type("kill %1; wait; rm -r $d; echo $((7 * 7))", wait=b"49\r\n")
        await talk.end_script()
        await talk.job.wait_trace(b"Terminal is connected")
        await talk.socket.send_bytes(b"exit\n")
        await talk.job.wait_finished()
        assert talk.job.state == "success"


async def test_nothing_is_offered_without_a_session_server(cluster: Cluster) -> None:
    """Off by default: neither session nor features."""
    async with cluster.harness() as h:
        job = await h.run(script=["true"], variables=QUIET)
        assert "session" not in job.request
        features = job.request["info"]["features"]
        assert [features[name] for name in ("session", "terminal", "proxy")] == [False] * 3
