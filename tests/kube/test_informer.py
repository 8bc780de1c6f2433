"""The shared view of pods, and what a connection can do to it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from runner.kube.client import KubeClient
from runner.kube.errors import ForbiddenError, GoneError, UnavailableError
from runner.kube.informer import PodInformer
from runner.kube.resources import Manifest
from runner.kube.transport import Connection
from runner.testing.faults import Action, FaultRule, Faults, Handler, Hold, Reply
from runner.testing.serving import Listener

LIST = r"/pods\?(labelSelector=[^&]*&)?limit="
WATCH = r"/pods\?watch=1"
GET = "/pods/x$"


def pod(version: int, phase: str = "Pending", *, name: str = "x", uid: str = "u1") -> Manifest:
    """A pod at a version."""
    return {
        "metadata": {"name": name, "uid": uid, "resourceVersion": str(version), "managedFields": [{"a": "b"}]},
        "spec": {"containers": [{"name": "build", "image": "b", "env": []}]},
        "status": {"phase": phase},
    }


def reply(body: Manifest, status: int = 200, headers: Mapping[str, str] = {}) -> Reply:
    """A JSON answer."""
    return Reply(status, headers, json.dumps(body).encode())


def refused(status: int, reason: str = "", headers: Mapping[str, str] = {}) -> Reply:
    """A failure."""
    return reply({"kind": "Status", "reason": reason, "message": "the words", "code": status}, status, headers)


def listed(*pods: Manifest, version: int = 10, token: str = "") -> Reply:
    """A page of a list."""
    return reply({"metadata": {"resourceVersion": str(version), "continue": token}, "items": list(pods)})


def event(kind: str, body: Manifest) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    """A line that moves the version alone."""
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def watching(*lines: bytes, end: str = "hold", after: anyio.Event | None = None) -> Action:
    """A watch that says these lines (after an event) and then holds, closes, or breaks off."""

    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        response = web.StreamResponse()
        await response.prepare(request)
        if after is not None:
            await after.wait()
        for line in lines:
            await response.write(line)
        if end == "hold":
            await anyio.sleep_forever()
        if end == "break":
            assert request.transport is not None
            request.transport.abort()
        return response

    return serve


def rule(path: str, action: Action, times: int | None = 1) -> FaultRule:
    """What the next requests for a path get."""
    return FaultRule("GET", path, action, times)


def informer_of(
    client: KubeClient,
    *,
    poll_interval: float = 60.0,
    confirm_interval: float = 600.0,
    idle_timeout: float = 5.0,
    backoff_min: float = 0.005,
    backoff_max: float = 0.02,
) -> PodInformer:
    """An informer with pauses too short to notice, which confirms nothing by itself unless asked to."""
    return PodInformer(
        client,
        "ci",
        poll_interval=poll_interval,
        confirm_interval=confirm_interval,
        idle_timeout=idle_timeout,
        backoff_min=backoff_min,
        backoff_max=backoff_max,
    )


@asynccontextmanager
async def running(informer: PodInformer) -> AsyncIterator[PodInformer]:
    """Run an informer for the body of a test."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(informer.run)
            yield informer
            group.cancel_scope.cancel()


def is_running(seen: Manifest | None) -> bool:
    """Whether a pod runs."""
    return seen is not None and seen["status"]["phase"] == "Running"


def is_gone(seen: Manifest | None) -> bool:
    """Whether a pod is proved to be gone."""
    return seen is None


def watches(faults: Faults) -> list[str]:
    """The versions from which watches began."""
    return [request.query["resourceVersion"] for request in faults.seen("GET", WATCH)]


async def test_many_waiters_share_one_list_and_one_watch(faults: Faults, client: KubeClient) -> None:
    """Nobody polls while the watch stands."""
    started = anyio.Event()
    names = [f"x{number}" for number in range(50)]
    faults.add(
        rule(LIST, listed(*(pod(5, name=name) for name in names))),
        rule(
            WATCH,
            watching(*(event("MODIFIED", pod(11 + n, "Running", name=m)) for n, m in enumerate(names)), after=started),
        ),
    )
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(lambda name: informer.wait(name, is_running, timeout=10), name)
            started.set()
        assert informer.names() == tuple(names)
        assert len(faults.requests) == 2
    assert dict(faults.requests[0].query) == {"limit": "250"}
    query = dict(faults.requests[1].query)
    assert 240 <= int(query.pop("timeoutSeconds")) <= 300
    assert query == {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "10"}


async def test_a_selector_goes_with_list_and_watch(faults: Faults, client: KubeClient) -> None:
    """The server filters."""
    faults.add(rule(LIST, listed()), rule(WATCH, watching()))
    async with running(PodInformer(client, "ci", selector="a=b")) as informer:
        assert await informer.wait_until_synced(timeout=10)
    assert [request.query["labelSelector"] for request in faults.requests] == ["a=b", "a=b"]


async def test_a_state_that_is_known_is_given_at_once(faults: Faults, client: KubeClient) -> None:
    """Slim, and the same as `get` gives."""
    faults.add(rule(LIST, listed(pod(5, "Running"))), rule(WATCH, watching()))
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        seen = await informer.wait("x", is_running, timeout=0.0001)
        assert (
            seen
            == informer.get("x")
            == {
                "metadata": {"name": "x", "uid": "u1", "resourceVersion": "5"},
                "spec": {"containers": [{"name": "build", "image": "b"}]},
                "status": {"phase": "Running"},
            }
        )
        assert informer.get("y") is None


async def test_a_follower_is_given_the_newest_state_once(faults: Faults, client: KubeClient) -> None:
    """States that came while it was away are skipped, and nothing is given twice."""
    go = anyio.Event()
    lines = [
        event("MODIFIED", pod(11, "Running")),
        event("MODIFIED", pod(12, "Running")),
        event("MODIFIED", pod(13, "Failed")),
    ]
    faults.add(rule(LIST, listed(pod(5))), rule(WATCH, watching(b"".join(lines), after=go)))
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        with informer.subscribe("x") as subscription:
            first = await subscription.next()
            go.set()
            second = await subscription.next()
            with anyio.move_on_after(0.05) as nothing_more:
                await subscription.next()
            assert first is not None
            assert second is not None
            assert (first["status"], second["status"]) == ({"phase": "Pending"}, {"phase": "Failed"})
            assert nothing_more.cancelled_caught
            assert subscription.last_seen == second


async def test_older_and_repeated_events_change_nothing(faults: Faults, client: KubeClient) -> None:
    """Nor do they move the version back from which the next watch begins."""
    lines = [
        event("MODIFIED", pod(14, "Running")),
        event("MODIFIED", pod(14, "Running")),
        event("MODIFIED", pod(12, "Pending")),
        event("DELETED", pod(13, "Pending")),
    ]
    faults.add(rule(LIST, listed(pod(5))), rule(WATCH, watching(*lines, end="close")), rule(WATCH, watching()))
    faults.add(rule(GET, reply(pod(14, "Running")), None))
    async with running(informer_of(client)) as informer:
        await faults.wait_seen("GET", WATCH, count=2)
        known = informer.get("x")
        assert known is not None
        assert known["status"] == {"phase": "Running"}
    assert watches(faults) == ["10", "14"]


async def test_a_deletion_is_believed_from_a_get_alone(faults: Faults, client: KubeClient) -> None:
    """The event makes the waiters ask; its last state says how the containers ended."""
    go = anyio.Event()
    faults.add(
        rule(LIST, listed(pod(5, "Running"))),
        rule(WATCH, watching(event("DELETED", pod(11, "Failed")), after=go)),
        rule(GET, refused(404, "NotFound")),
    )
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        with informer.subscribe("x") as subscription:
            assert is_running(await subscription.next())
            go.set()
            assert await subscription.next() is None
            assert subscription.last_seen is not None
            assert subscription.last_seen["status"] == {"phase": "Failed"}
        assert informer.get("x") is None


async def test_a_deletion_that_no_event_told_is_found_by_the_next_list(faults: Faults, client: KubeClient) -> None:
    """Its followers ask at once, not when their interval has passed."""
    go = anyio.Event()
    faults.add(
        rule(LIST, listed(pod(5))),
        rule(WATCH, watching(event("ERROR", {"code": 410, "reason": "Expired"}), after=go)),
        rule(LIST, listed(version=30)),
        rule(WATCH, watching()),
        rule(GET, refused(404, "NotFound")),
    )
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        with informer.subscribe("x") as subscription:
            assert await subscription.next() is not None
            go.set()
            assert await subscription.next() is None
    assert len(faults.seen("GET", GET)) == 1


async def test_what_a_get_has_proved_gone_is_forgotten(faults: Faults, client: KubeClient) -> None:
    """Also while no watch could tell of it."""
    faults.add(rule(LIST, listed(pod(5))), rule(WATCH, refused(503), None), rule(GET, refused(404, "NotFound"), None))
    async with running(informer_of(client, poll_interval=0.01)) as informer:
        while informer.get("x") is None:
            await anyio.lowlevel.checkpoint()
        assert await informer.wait("x", is_gone, timeout=10) is None
        assert informer.get("x") is None


async def test_a_deletion_that_a_get_denies_is_no_deletion(faults: Faults, client: KubeClient) -> None:
    """Another pod may have the name by now, or the event was not true."""
    faults.add(
        rule(LIST, listed(pod(5))),
        rule(WATCH, watching(event("DELETED", pod(11)))),
        rule(GET, reply(pod(12, "Running", uid="u2"))),
    )
    async with running(informer_of(client)) as informer:
        seen = await informer.wait("x", lambda state: state is None or is_running(state), timeout=10)
        assert seen is not None
        assert seen["metadata"]["uid"] == "u2"


async def test_a_pod_that_no_list_names_is_asked_for(faults: Faults, client: KubeClient) -> None:
    """A cache that does not know a pod proves nothing, and neither does waiting: a GET does."""
    faults.add(rule(LIST, listed()), rule(WATCH, watching()), rule(GET, reply(pod(9, "Running"))))
    async with running(informer_of(client, poll_interval=0.01)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        assert is_running(await informer.wait("x", is_running, timeout=10))


async def test_a_get_that_an_event_overtook_proves_no_absence(faults: Faults, client: KubeClient) -> None:
    """The 404 is older than the pod."""
    hold, created = Hold(), anyio.Event()
    faults.add(
        rule(LIST, listed()),
        rule(WATCH, watching(event("ADDED", pod(11, "Running")), after=created)),
        FaultRule("GET", GET, hold),
    )
    async with running(informer_of(client, poll_interval=0.01)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        states: list[Manifest | None] = []

        async def follow() -> None:
            with informer.subscribe("x") as subscription:
                states.append(await subscription.next())

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await hold.reached()
            created.set()
            while informer.get("x") is None:
                await anyio.lowlevel.checkpoint()
            # The scripted server's own answer is 404.
            hold.release()
        assert [is_running(state) for state in states] == [True]


async def test_a_lost_event_is_made_good_by_a_rare_get(faults: Faults, client: KubeClient) -> None:
    """A watch that stands and says nothing cannot hold a job for ever."""
    faults.add(rule(LIST, listed(pod(5))), rule(WATCH, watching()), rule(GET, reply(pod(11, "Running"))))
    async with running(informer_of(client, poll_interval=0.001, confirm_interval=0.02)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
    assert len(faults.seen("GET", GET)) == 1


async def test_a_bookmark_moves_the_version(faults: Faults, client: KubeClient) -> None:
    """So that a quiet watch can be resumed when all its events are old."""
    faults.add(rule(LIST, listed()), rule(WATCH, watching(bookmark(99), end="close")), rule(WATCH, watching()))
    async with running(informer_of(client)):
        await faults.wait_seen("GET", WATCH, count=2)
    assert watches(faults) == ["10", "99"]


@pytest.mark.parametrize("end", ["close", "break"])
async def test_a_line_that_is_cut_is_asked_for_again(faults: Faults, client: KubeClient, end: str) -> None:
    """What was whole stands, the rest is no event."""
    whole, cut = event("ADDED", pod(11)), event("MODIFIED", pod(12, "Running"))
    faults.add(
        rule(LIST, listed()),
        rule(WATCH, watching(whole + cut[:-9], end=end)),
        rule(WATCH, watching(cut)),
    )
    async with running(informer_of(client)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
    assert watches(faults)[0] == "10"
    # An abort may take the first line with it; then it is asked for again as well.
    assert watches(faults)[1] in ({"11"} if end == "close" else {"10", "11"})
    assert len(faults.seen("GET", LIST)) == 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"<html>\n", id="a page"),
        pytest.param(b"[]\n", id="a list"),
        pytest.param(b'{"type":"ADDED"}\n', id="no object"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":7}}\n', id="odd metadata"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":{}}}\n', id="no name"),
    ],
)
async def test_a_line_that_is_no_event_ends_the_watch_only(faults: Faults, client: KubeClient, line: bytes) -> None:
    """The next one begins where the last good event was."""
    faults.add(
        rule(LIST, listed()),
        rule(WATCH, watching(event("ADDED", pod(11)) + line)),
        rule(WATCH, watching(event("MODIFIED", pod(12, "Running")))),
    )
    async with running(informer_of(client)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
    assert watches(faults) == ["10", "11"]


async def test_a_list_without_sense_is_tried_again(faults: Faults, client: KubeClient) -> None:
    """As any other trouble."""
    faults.add(rule(LIST, reply({"items": [{}]})), rule(LIST, listed()), rule(WATCH, watching()))
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)


async def test_a_huge_event_is_taken(faults: Faults, client: KubeClient) -> None:
    """No line is too long for etcd, and none for us."""
    huge = pod(11, "Running")
    huge["metadata"]["annotations"] = {"a": "b" * 5_000_000}
    faults.add(rule(LIST, listed()), rule(WATCH, watching(event("ADDED", huge))))
    async with running(informer_of(client)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(refused(500, "InternalError"), id="500"),
        pytest.param(refused(503), id="503"),
        pytest.param(refused(401, "Unauthorized"), id="401"),
        pytest.param(watching(event("ERROR", {"code": 500, "message": "etcd is away"})), id="an error in the stream"),
        pytest.param(Reply(502, {}, b"<html>"), id="a proxy"),
    ],
)
async def test_trouble_does_not_move_the_version(faults: Faults, client: KubeClient, trouble: Action) -> None:
    """No list again, no event lost."""
    faults.add(
        rule(LIST, listed()),
        rule(WATCH, trouble, 3),
        rule(WATCH, watching(event("ADDED", pod(11, "Running")))),
    )
    async with running(informer_of(client)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
        assert informer.error is None
    assert (watches(faults), len(faults.seen("GET", LIST))) == (["10"] * 4, 1)


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(refused(410, "Expired"), id="as an answer"),
        pytest.param(watching(event("ERROR", {"code": 410, "reason": "Expired"})), id="in the stream"),
        pytest.param(watching(event("ERROR", {"reason": "Gone"})), id="by its reason alone"),
    ],
)
async def test_a_version_that_is_gone_makes_a_new_list(faults: Faults, client: KubeClient, gone: Action) -> None:
    """And who went away meanwhile is reported, after a GET."""
    faults.add(
        rule(LIST, listed(pod(5), pod(6, name="y"))),
        rule(WATCH, gone),
        rule(LIST, listed(pod(20, "Running", name="y"), version=30)),
        rule(WATCH, watching()),
        rule(GET, refused(404, "NotFound"), None),
    )
    async with running(informer_of(client, poll_interval=0.05)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        assert await informer.wait("x", is_gone, timeout=10) is None
        assert is_running(await informer.wait("y", is_running, timeout=10))
        assert informer.names() == ("y",)
    assert watches(faults)[-1] == "30"
    assert len(faults.seen("GET", LIST)) == 2


async def test_a_list_whose_token_is_gone_begins_anew(faults: Faults, client: KubeClient) -> None:
    """Half a list is no list."""
    faults.add(
        rule(LIST, listed(pod(5), token="t1")),
        rule(LIST, refused(410, "Expired")),
        rule(LIST, listed(pod(5), token="t2")),
        rule(LIST, listed(pod(6, "Running", name="y"))),
        rule(WATCH, watching()),
    )
    async with running(informer_of(client)) as informer:
        assert is_running(await informer.wait("y", is_running, timeout=10))
        assert informer.names() == ("x", "y")
    assert [request.query.get("continue") for request in faults.seen("GET", LIST)] == [None, "t1", None, "t2"]


@pytest.mark.slow
async def test_a_server_that_names_a_time_is_not_asked_sooner(faults: Faults, client: KubeClient) -> None:
    """A busy API server is spared."""
    faults.add(
        rule(LIST, listed()),
        rule(WATCH, refused(429, "TooManyRequests", {"Retry-After": "1"})),
        rule(WATCH, watching()),
    )
    async with running(informer_of(client)):
        first, second = await faults.wait_seen("GET", WATCH, count=2)
    assert second.started_at - first.started_at >= 1.0


async def test_a_server_that_closes_at_once_is_not_flooded(faults: Faults, client: KubeClient) -> None:
    """Each watch without news doubles the pause."""
    faults.add(rule(LIST, listed()), rule(WATCH, watching(end="close"), None))
    started = time.monotonic()
    async with running(informer_of(client, backoff_min=0.01, backoff_max=0.08)):
        await faults.wait_seen("GET", WATCH, count=6)
    # Five pauses of at least half of 10, 20, 40, 80 and 80 ms.
    assert time.monotonic() - started >= 0.115


async def test_a_silent_watch_is_made_anew(faults: Faults, client: KubeClient) -> None:
    """Bookmarks come about once a minute; a connection that is quieter than that is dead."""
    faults.add(
        rule(LIST, listed()),
        rule(WATCH, watching(bookmark(20))),
        rule(WATCH, watching(event("ADDED", pod(21, "Running")))),
    )
    async with running(informer_of(client, idle_timeout=0.05)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
    assert watches(faults)[:2] == ["10", "20"]


async def test_waiters_ask_for_themselves_while_nothing_can_be_watched(faults: Faults, client: KubeClient) -> None:
    """Without the right to list pods, or with an API server that cannot list now, jobs go on."""
    faults.add(
        rule(LIST, refused(403, "Forbidden"), None),
        rule(GET, reply(pod(5))),
        rule(GET, refused(503), 2),
        rule(GET, reply(pod(6, "Running"))),
    )
    async with running(informer_of(client, poll_interval=0.01)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
        assert isinstance(informer.error, ForbiddenError)
        assert (informer.synced, informer.watching) == (False, False)
        assert informer.age == float("inf")


async def test_without_running_it_polls(faults: Faults, client: KubeClient) -> None:
    """The same answers, more requests."""
    faults.add(rule(GET, reply(pod(5)), 3), rule(GET, refused(404)))
    informer = informer_of(client, poll_interval=0.001)
    assert await informer.wait("x", is_gone, timeout=10) is None
    assert not await informer.wait_until_synced(timeout=0)


async def test_a_watch_that_falls_is_missed_after_a_moment(faults: Faults, client: KubeClient) -> None:
    """Within `poll_interval` nobody polls; after it everybody does."""
    faults.add(
        rule(LIST, listed(pod(5))),
        rule(WATCH, watching(end="close")),
        rule(WATCH, refused(503), None),
        rule(GET, reply(pod(11, "Running"))),
    )
    async with running(informer_of(client, poll_interval=0.05)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        assert is_running(await informer.wait("x", is_running, timeout=10))
    (lost, *_), (asked,) = faults.seen("GET", WATCH), faults.seen("GET", GET)
    assert lost.ended_at is not None
    assert asked.started_at - lost.ended_at >= 0.035


@pytest.mark.slow
async def test_a_server_in_trouble_is_asked_less_often(faults: Faults, client: KubeClient) -> None:
    """A thousand waiters must not keep it down: each question that fails doubles the pause, up to ten intervals."""
    faults.add(rule(GET, refused(503), None))
    informer = informer_of(client, poll_interval=0.01)
    with pytest.raises(TimeoutError, match="Pod ci/x did not reach the awaited state in 0 s") as caught:
        await informer.wait("x", is_running, timeout=0.4)
    assert isinstance(caught.value.__cause__, UnavailableError)
    # At least 8 ms, 16, 32, 64 and then 80 each.
    assert len(faults.seen("GET", GET)) <= 8


async def test_refusals_to_read_are_believed_when_they_repeat(faults: Faults, client: KubeClient) -> None:
    """An API server that starts may refuse once before it has read its Roles."""
    faults.add(
        rule(GET, refused(403, "Forbidden"), 2), rule(GET, reply(pod(5))), rule(GET, refused(403, "Forbidden"), None)
    )
    informer = informer_of(client, poll_interval=0.001)
    with pytest.raises(ForbiddenError):
        await informer.wait("x", is_running, timeout=10)
    assert len(faults.seen("GET", GET)) == 6


async def test_a_store_that_was_set_back_is_followed(faults: Faults, client: KubeClient) -> None:
    """After a restore versions are smaller, and a watch from a version of the future is silent: a GET shows it."""
    faults.add(
        rule(LIST, listed(pod(1000, "Running"), version=2000)),
        rule(WATCH, watching()),
        rule(GET, reply(pod(50, "Pending")), None),
        rule(LIST, listed(pod(50, "Pending"), version=60)),
        rule(WATCH, watching(event("MODIFIED", pod(61, "Failed")))),
    )
    async with running(informer_of(client, poll_interval=0.01, confirm_interval=0.01, idle_timeout=0.2)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        with informer.subscribe("x") as subscription:
            phases = []
            while "Failed" not in phases:
                state = await subscription.next()
                assert state is not None
                phases.append(state["status"]["phase"])
    assert phases == ["Running", "Pending", "Failed"]
    assert watches(faults) == ["2000", "60"]


async def test_an_outage_is_survived(faults: Faults, listener: Listener, client: KubeClient) -> None:
    """The API server goes away and comes back: the watch goes on where it stood."""
    faults.add(
        rule(LIST, listed(pod(5))),
        rule(WATCH, watching(bookmark(20))),
        rule(WATCH, watching(event("MODIFIED", pod(21, "Running")))),
    )
    async with running(informer_of(client)) as informer:
        assert await informer.wait_until_synced(timeout=10)
        while informer.age > 1 or not watches(faults):
            await anyio.lowlevel.checkpoint()
        await listener.outage()
        while informer.error is None:
            await anyio.lowlevel.checkpoint()
        assert isinstance(informer.error, UnavailableError)
        await listener.restore()
        assert is_running(await informer.wait("x", is_running, timeout=10))
    assert len(faults.seen("GET", LIST)) == 1


class Renewable:
    """Credentials of which the first are refused."""

    generation = 0

    async def headers(self) -> dict[str, str]:
        """The token of this generation."""
        return {"authorization": f"Bearer t{self.generation}"}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Go on to the next."""
        del refused
        self.generation += 1
        return True


async def test_a_token_that_expires_is_renewed_for_the_watch(faults: Faults, listener: Listener) -> None:
    """A 401 on the watch costs one more request and no list."""
    faults.add(
        rule(LIST, listed()), rule(WATCH, refused(401)), rule(WATCH, watching(event("ADDED", pod(11, "Running"))))
    )
    client = KubeClient(Connection(host=listener.url, credentials=Renewable()))
    async with running(informer_of(client)) as informer:
        assert is_running(await informer.wait("x", is_running, timeout=10))
    await client.aclose()
    assert [request.headers["authorization"] for request in faults.seen("GET", WATCH)] == ["Bearer t0", "Bearer t1"]


async def test_gone_is_an_error_while_it_lasts(faults: Faults, client: KubeClient) -> None:
    """`error` says why there is no watch; the status page shows it."""
    faults.add(rule(LIST, listed()), rule(WATCH, refused(410, "Expired")), rule(LIST, Hold(), None))
    async with running(informer_of(client)) as informer:
        await faults.wait_seen("GET", LIST, count=2)
        assert isinstance(informer.error, GoneError)


async def test_followers_of_nobody_leave_nothing_behind(client: KubeClient) -> None:
    """A subscription that has ended is forgotten."""
    informer = informer_of(client)
    with informer.subscribe("x") as one, informer.subscribe("x") as two:
        assert one is not two
        informer.unfollow(one)
    assert informer._subscriptions == {}
