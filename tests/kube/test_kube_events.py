"""Events as they come, over lost and refused connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.kube import events
from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.errors import ForbiddenError
from runner.kube.events import follow_events
from runner.kube.retries import RetryPolicy
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer


def tell(server: KubernetesServer, pod: str, reason: str) -> None:
    """Let something happen to a pod."""
    about = {"kind": "Pod", "namespace": "default", "name": pod}
    server.create("events", {"metadata": {"generateName": f"{pod}."}, "involvedObject": about, "reason": reason})


class Heard:
    """The events that were told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self._changed = anyio.Event()

    def take(self, event: dict[str, Any]) -> None:
        """Take an event."""
        self.reasons.append(f"{event['involvedObject']['name']} {event['reason']}")
        self._changed.set()

    async def until(self, reason: str) -> None:
        """Wait for one."""
        with anyio.fail_after(10):
            while reason not in self.reasons:
                self._changed = anyio.Event()
                await self._changed.wait()


async def client_of(server: KubernetesServer, tmp_path: Path) -> KubeClient:
    """A client that tries once."""
    kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
    return await connect(ConnectionSettings(kubeconfig=kubeconfig), retry=RetryPolicy(limit=1))


async def test_follow_events_of_one_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those there are, those to come, also after the connection was cut or the history has gone."""
    monkeypatch.setattr(events, "PAUSES", (0.01,))
    async with KubernetesServer(ScriptedKubelet()) as server, await client_of(server, tmp_path) as client:
        heard = Heard()
        tell(server, "one", "Scheduled")
        async with anyio.create_task_group() as group:
            group.start_soon(follow_events, client, "default", "one", heard.take)
            await heard.until("one Scheduled")
            tell(server, "two", "Scheduled")
            tell(server, "one", "Pulled")
            await heard.until("one Pulled")
            server.cut_streams()
            tell(server, "one", "Created")
            await heard.until("one Created")
            assert heard.reasons == ["one Scheduled", "one Pulled", "one Created"]
            server.expire_history()
            server.cut_streams()
            tell(server, "one", "Started")
            await heard.until("one Started")
            group.cancel_scope.cancel()
    assert not any(reason.startswith("two ") for reason in heard.reasons)


async def test_follow_events_when_it_is_forbidden(tmp_path: Path) -> None:
    """Without the right there is nothing to wait for."""
    async with KubernetesServer(ScriptedKubelet()) as server, await client_of(server, tmp_path) as client:
        server.forbid("watch", "events")
        with pytest.raises(ForbiddenError), anyio.fail_after(10):
            await follow_events(client, "default", "one", Heard().take)
