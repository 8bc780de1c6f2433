"""A container's log as it comes, over lost and refused connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.kube import logs
from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.errors import ForbiddenError
from runner.kube.logs import follow_log
from runner.kube.retries import RetryPolicy
from runner.testing.kubelets import Fate, ProcessKubelet, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer


class Heard:
    """The lines that were told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = anyio.Event()

    def take(self, line: str) -> None:
        """Take a line."""
        self.lines.append(line)
        self._changed.set()

    async def until(self, line: str) -> None:
        """Wait for one."""
        with anyio.fail_after(20):
            while line not in self.lines:
                self._changed = anyio.Event()
                await self._changed.wait()


def pod(script: str, *arguments: object) -> dict[str, Any]:
    """A pod with one container that runs a shell."""
    command = ["sh", "-c", script, "sh", *map(str, arguments)]
    return {
        "metadata": {"name": "one"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "build", "image": "i", "command": command}]},
    }


async def client_of(server: KubernetesServer, tmp_path: Path) -> KubeClient:
    """A client that tries once."""
    kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
    return await connect(ConnectionSettings(kubeconfig=kubeconfig), retry=RetryPolicy(limit=1))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(logs, "FOLLOW_PAUSES", (0.01,))


async def test_follow_log_of_one_container(tmp_path: Path) -> None:
    """From before it starts, each line once, in order, also after the connection was cut; ends with the pod."""
    gate = tmp_path / "gate"
    gates = 'wait_for() { while [ ! -e "$1" ]; do sleep 0.02; done; }; '
    script = gates + 'printf "a\\nb\\r\\n"; echo äöü >&2; wait_for "$1"; echo last; wait_for "$1/never"'
    async with KubernetesServer(ProcessKubelet()) as server, await client_of(server, tmp_path) as client:
        heard = Heard()
        async with anyio.create_task_group() as group:

            async def follow() -> None:
                await follow_log(client, "default", "one", container="build", take=heard.take)
                heard.take("(gone)")

            server.create("pods", pod(script, gate))
            group.start_soon(follow)
            await heard.until("äöü")
            assert server.cut_streams() > 0
            gate.touch()
            await heard.until("last")
            await client.delete("pods", "default", "one", grace_seconds=0)
            await heard.until("(gone)")
    assert sorted(heard.lines) == sorted(["a", "b", "äöü", "last", "(gone)"])
    assert heard.lines.index("a") < heard.lines.index("b") < heard.lines.index("last")


async def test_follow_log_waits_when_the_container_has_not_started(tmp_path: Path) -> None:
    """The server's refusal is no end."""
    async with (
        KubernetesServer(ScriptedKubelet(Fate.never_runs())) as server,
        await client_of(server, tmp_path) as client,
    ):
        server.create("pods", pod("true"))
        with anyio.move_on_after(0.3) as scope:
            await follow_log(client, "default", "one", container="build", take=Heard().take)
        assert scope.cancelled_caught


async def test_follow_log_when_it_is_forbidden(tmp_path: Path) -> None:
    """Without the right there is nothing to wait for."""
    async with KubernetesServer(ProcessKubelet()) as server, await client_of(server, tmp_path) as client:
        server.create("pods", pod("sleep 60"))
        server.forbid("get", "pods/log")
        with pytest.raises(ForbiddenError), anyio.fail_after(10):
            await follow_log(client, "default", "one", container="build", take=Heard().take)


async def test_follow_log_when_a_line_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept in memory."""
    monkeypatch.setattr(logs, "LINE_BYTES", 1000)
    async with KubernetesServer(ProcessKubelet()) as server, await client_of(server, tmp_path) as client:
        server.create("pods", pod("head -c 100000 /dev/zero | tr '\\0' x; sleep 60"))
        with pytest.raises(ValueError, match="longer than 1000 bytes"), anyio.fail_after(20):
            await follow_log(client, "default", "one", container="build", take=Heard().take)
