"""The terminal of a session, from a person's WebSocket to a shell in a pod."""

from __future__ import annotations

import base64

import aiohttp
import anyio
import pytest

from runner.terminal.addresses import SessionServerError
from tests.terminal.visitors import Pod, open_person, read_until

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "x" * 22,
}


async def test_terminal_is_a_shell_with_a_window(pod: Pod) -> None:
    """What is typed runs, the window's size comes through, and the end of the shell is the end of the connection."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal() as socket:
            await socket.send_bytes(b"tty; echo $((6 * 7))\n")
            assert b"/dev/" in await read_until(socket, b"42\r\n")
            assert person.session.connected
            await socket.send_str('{"Width":123,"Height":45}')
            await socket.send_bytes(b"stty size\n")
            await read_until(socket, b"45 123\r\n")
            await socket.send_bytes(b"exit\n")
            with anyio.fail_after(20):
                while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                    pass
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)
        with anyio.fail_after(20):
            await person.session.until_disconnected()


async def test_terminal_speaks_base64_when_asked_to(pod: Pod) -> None:
    """The second of GitLab's protocols: text messages of base64."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal("base64.terminal.gitlab.com") as socket:
            assert socket.protocol == "base64.terminal.gitlab.com"
            await socket.send_str(base64.b64encode(b"echo $((6 * 7))\n").decode())
            seen = b""
            with anyio.fail_after(20):
                while b"42\r\n" not in seen:
                    seen += base64.b64decode(await socket.receive_str())


async def test_terminal_waits_for_the_jobs_place(pod: Pod) -> None:
    """A person may come before the pod runs."""
    async with open_person() as person, anyio.create_task_group() as group:

        async def come() -> None:
            async with person.terminal() as socket:
                await socket.send_bytes(b"echo $((6 * 7))\n")
                await read_until(socket, b"42\r\n")

        group.start_soon(come)
        await anyio.wait_all_tasks_blocked()
        person.session.open(pod)


async def test_terminal_ends_the_shell_when_the_person_leaves(pod: Pod) -> None:
    """The shell hears Ctrl-D: nothing of it is left in the container."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal() as socket:
            await socket.send_bytes(b"echo shell=$((1000000 + $$))\n")
            seen = await read_until(socket, b"shell=1")
            seen += b"" if b"\r\n" in seen.partition(b"shell=1")[2] else await read_until(socket, b"\r\n")
        number = int(seen.rpartition(b"shell=")[2].split()[0]) - 1_000_000
        with anyio.fail_after(20):
            await person.session.until_disconnected()
            while await anyio.Path(f"/proc/{number}/cmdline").exists():
                await anyio.lowlevel.checkpoint()


async def test_terminal_is_one_at_a_time(pod: Pod) -> None:
    """423 for the second, and a place again when the first has left."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal():
            assert await person.status("exec", **UPGRADE) == 423
        with anyio.fail_after(20):
            await person.session.until_disconnected()
        async with person.terminal() as socket:
            await socket.send_bytes(b"echo $((6 * 7))\n")
            await read_until(socket, b"42\r\n")


async def test_terminal_is_refused_when_something_is_missing(pod: Pod) -> None:
    """Statuses as GitLab Runner gives them."""
    async with open_person(place_timeout=0.05) as person:
        assert await person.status("exec") == 405
        assert await person.status("exec", method="POST", **UPGRADE) == 405
        assert await person.status("exec", **UPGRADE) == 503
        assert await person.status("exec", Authorization="") == 401
        assert await person.status("exec", Authorization=f"Bearer {person.headers['Authorization']}") == 401
        assert await person.status("else") == 404
        assert await person.status("exec/x") == 404
        assert await person.status("../00000000000000000000000000000000/exec") == 404
        pod.refuses = True
        person.session.open(pod)
        assert await person.status("exec", **UPGRADE) == 500
        assert not person.session.connected


async def test_session_is_not_found_when_its_job_is_over(pod: Pod) -> None:
    """Nor is what was open in it."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal() as socket:
            await socket.send_bytes(b"echo $((6 * 7))\n")
            await read_until(socket, b"42\r\n")
            async with anyio.create_task_group() as group:
                group.start_soon(person.session.aclose)
                with anyio.fail_after(20):
                    while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                        pass
            assert message.type is aiohttp.WSMsgType.CLOSE
        assert await person.status("exec", **UPGRADE) == 404


async def test_terminal_loses_nothing_of_a_flood(pod: Pod) -> None:
    """Five megabytes, each byte in its order, though they are read slower than they are printed."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal() as socket:
            await socket.send_bytes(b"stty -echo -onlcr; PS1=; echo ready\n")
            await read_until(socket, b"ready\n")
            await socket.send_bytes(b"seq 1000000 1700000; echo end\n")
            seen = await read_until(socket, b"end\n")
    wanted = b"".join(b"%d\n" % number for number in range(1_000_000, 1_700_001))
    assert seen.endswith(wanted + b"end\n")


async def test_terminal_is_refused_when_the_pod_has_gone(pod: Pod) -> None:
    """500, as in GitLab Runner."""
    async with open_person() as person:
        person.session.open(pod)
        await pod.client.delete("pods", "default", "job", grace_seconds=0)
        assert await person.status("exec", **UPGRADE) == 500


@pytest.mark.parametrize("address", ["[::]:0", ":0"])
async def test_session_server_listens_at_every_address(address: str) -> None:
    """IPv4 too: an address of IPv6 alone is out of reach in most clusters."""
    async with open_person(listen_address=address) as person:
        port = person.offer["url"].rpartition("/session")[0].rpartition(":")[2]
        async with await anyio.connect_tcp("127.0.0.1", int(port)):
            pass


async def test_session_server_says_so_when_it_cannot_listen() -> None:
    """A sentence that names the address and the way out."""
    with pytest.RaisesGroup(
        pytest.RaisesExc(SessionServerError, match=r"cannot listen at 192\.0\.2\.1:8093 .*set listen_address")
    ):
        async with open_person(listen_address="192.0.2.1:8093"):
            pass
