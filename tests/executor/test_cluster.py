"""The connection and the watches that jobs share, and the connection of a job that brings a token."""

from __future__ import annotations

import anyio
import pytest

from runner.testing.kubernetes import KubernetesServer
from tests.executor.opened import Opened, serving
from tests.executor.parts import pod_manifest


async def test_cluster_when_jobs_share_it(opened: Opened) -> None:
    """One connection and one watch for each namespace and selector; all is closed at the end."""
    async with serving(opened) as cluster:
        await cluster.watch("default", "a=b", "one", poll_interval=1.0)
        await cluster.watch("default", "a=b", "two", poll_interval=1.0)
        await cluster.watch("kube-system", "a=b", "one", poll_interval=1.0)
        assert [each.namespace for each in opened.informers] == ["default", "kube-system"]
        assert await opened.informers[0].wait_until_synced(timeout=5)
        assert opened.clients == [cluster.connected]
    with pytest.raises(Exception, match="closed"):
        await opened.clients[0].read("pods", "default", "x")


async def test_watch_ends_when_the_last_job_leaves_a_foreign_namespace(opened: Opened) -> None:
    """Jobs choose namespaces, so their watches would become ever more; that of the home namespace stays."""
    async with serving(opened) as cluster:
        away = [await cluster.watch("kube-system", "", name, poll_interval=1.0) for name in ("one", "two")]
        home = await cluster.watch("default", "", "three", poll_interval=1.0)
        foreign, own = opened.informers
        assert await foreign.wait_until_synced(timeout=5)
        assert await own.wait_until_synced(timeout=5)
        away[0].close()
        away[0].close()
        await anyio.wait_all_tasks_blocked()
        assert foreign.watching
        away[1].close()
        home.close()
        await anyio.wait_all_tasks_blocked()
        assert (foreign.watching, own.watching) == (False, True)
        await cluster.watch("kube-system", "", "four", poll_interval=1.0)
        await cluster.watch("default", "", "five", poll_interval=1.0)
        assert [each.namespace for each in opened.informers] == ["kube-system", "default", "kube-system"]


async def test_with_token_when_a_job_brings_one(server: KubernetesServer, opened: Opened) -> None:
    """It has a connection and watches of its own, which end with it and leave the others alone."""
    server.create("pods", pod_manifest())
    async with serving(opened) as cluster:
        shared = await cluster.client()
        mine = cluster.with_token("abc")
        assert opened.tokens == [""]
        watch = await mine.watch("default", "", "job-pod", poll_interval=1.0)
        assert opened.tokens == ["", "abc"]
        assert mine.connected is not shared
        assert await watch.next_change(timeout=5)
        assert await opened.informers[0].wait_until_synced(timeout=5)
        await mine.leave()
        await mine.leave()
        await anyio.wait_all_tasks_blocked()
        assert not opened.informers[0].watching
        with pytest.raises(Exception, match="closed"):
            await opened.clients[1].read("pods", "default", "job-pod")
        watch.close()
        await cluster.leave()
        assert await shared.read("pods", "default", "job-pod")
