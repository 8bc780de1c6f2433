"""Calls to an API server: what is sent, what is repeated, what is raised."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aiohttp
import anyio
import pytest
from aiohttp import web

from runner.kube.client import KubeClient
from runner.kube.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    GoneError,
    KubeError,
    NotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)
from runner.kube.resources import Manifest, resource_path, subject_of
from runner.kube.retries import RetryPolicy
from runner.kube.transport import Connection, Transport
from runner.testing.faults import ANY, DropRequest, FaultRule, Faults, Handler, Reply
from runner.testing.serving import Listener

PODS = "/api/v1/namespaces/ci/pods$"
POD = "/api/v1/namespaces/ci/pods/x$"
NONCE = "runner/nonce"


def status(code: int, reason: str = "", *, details: Manifest | None = None, headers: Mapping[str, str] = {}) -> Reply:
    """A failure as the API server words it."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": "the words", "details": details}
    return Reply(code, headers, json.dumps({**body, "code": code}).encode())


def answer(manifest: Manifest, code: int = 200) -> Reply:
    """An object."""
    return Reply(code, {"Content-Type": "application/json"}, json.dumps(manifest).encode())


def pod(*, nonce: str = "mine", place: str = "labels", **metadata: object) -> Manifest:
    """A pod named x with our nonce."""
    return {"metadata": {"name": "x", place: {NONCE: nonce}, **metadata}}


async def lost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the whole request, then close the connection: the effect is there, the answer is not."""
    del handler
    await request.read()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        ("pods", "ci", "", "/api/v1/namespaces/ci/pods"),
        ("pods", "", "", "/api/v1/pods"),
        ("secrets", "ci", "a b", "/api/v1/namespaces/ci/secrets/a%20b"),
        ("pods", "ci", "../x", "/api/v1/namespaces/ci/pods/..%2Fx"),
        ("namespaces", "", "ci", "/api/v1/namespaces/ci"),
        ("namespaces", "ignored", "ci", "/api/v1/namespaces/ci"),
        ("poddisruptionbudgets", "ci", "x", "/apis/policy/v1/namespaces/ci/poddisruptionbudgets/x"),
        ("batch/v1/jobs", "ci", "x", "/apis/batch/v1/namespaces/ci/jobs/x"),
    ],
)
def test_a_resource_has_its_path(resource: str, namespace: str, name: str, path: str) -> None:
    """Core and other groups, with and without namespace; names are quoted."""
    assert resource_path(resource, namespace, name) == path


@pytest.mark.parametrize("name", ["jobs", "batch/v1", "a//b", "a/b/c/d"])
def test_an_unknown_resource_is_refused(name: str) -> None:
    """A misspelled name fails before anything is sent."""
    with pytest.raises(ValueError, match="Unknown resource"):
        resource_path(name, "ci")


def test_a_subject_is_named_for_a_person() -> None:
    """Parts that are empty leave no slash."""
    assert [
        subject_of("pods", "ci", "x"),
        subject_of("pods", "ci"),
        subject_of("nodes", "", "n"),
        subject_of("pods", ""),
    ] == [
        "pods ci/x",
        "pods ci",
        "nodes n",
        "pods",
    ]


async def test_create_posts_the_manifest_as_it_is(faults: Faults, client: KubeClient) -> None:
    """Fields that nobody here knows survive, both ways."""
    faults.add(FaultRule("POST", PODS, answer({"metadata": {"name": "x", "uid": "1"}, "new": [1]}, 201)))
    manifest = {"metadata": {"name": "x"}, "spec": {"fieldOfTomorrow": {"a": 1.5}}}
    assert await client.create("pods", "ci", manifest) == {"metadata": {"name": "x", "uid": "1"}, "new": [1]}
    (request,) = faults.requests
    assert json.loads(request.body) == manifest
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("runner/")


async def test_dry_run_asks_for_no_effect(faults: Faults, client: KubeClient) -> None:
    """The server validates and stores nothing."""
    faults.add(FaultRule("POST", PODS, answer(pod(), 201)))
    await client.create("pods", "ci", pod(), dry_run=True)
    assert dict(faults.requests[0].query) == {"dryRun": "All"}


async def test_delete_names_grace_uid_and_propagation(faults: Faults, client: KubeClient) -> None:
    """Only the object that was meant goes, with the grace asked for."""
    faults.add(FaultRule("DELETE", POD, answer({"status": "Success"})))
    assert await client.delete("pods", "ci", "x", grace_seconds=5.0, uid="u1") is True
    assert json.loads(faults.requests[0].body) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 5,
        "preconditions": {"uid": "u1"},
    }


async def test_delete_says_when_there_was_nothing(faults: Faults, client: KubeClient) -> None:
    """Absence is what a delete is for."""
    faults.add(FaultRule("DELETE", POD, status(404, "NotFound")))
    assert await client.delete("pods", "ci", "x") is False


async def test_delete_of_another_object_is_a_conflict(faults: Faults, client: KubeClient) -> None:
    """The object that has the name by now stays, and we hear of it."""
    faults.add(FaultRule("DELETE", POD, status(409, "Conflict")))
    with pytest.raises(ConflictError):
        await client.delete("pods", "ci", "x", uid="u1")
    assert len(faults.requests) == 1


async def test_patch_merges(faults: Faults, client: KubeClient) -> None:
    """A merge patch, by its media type."""
    faults.add(FaultRule("PATCH", POD, answer(pod())))
    await client.patch("pods", "ci", "x", {"metadata": {"annotations": {"a": None}}})
    (request,) = faults.requests
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(request.body) == {"metadata": {"annotations": {"a": None}}}


async def test_list_reads_all_pages(faults: Faults, client: KubeClient) -> None:
    """Page by page, with the same selectors."""
    faults.add(
        FaultRule("GET", PODS, answer({"metadata": {"continue": "t1"}, "items": [{"n": 1}]})),
        FaultRule("GET", PODS, answer({"metadata": {"resourceVersion": "9"}, "items": [{"n": 2}]})),
    )
    assert await client.list("pods", "ci", label_selector="a=b", field_selector="c=d") == ({"n": 1}, {"n": 2})
    assert [dict(request.query) for request in faults.requests] == [
        {"labelSelector": "a=b", "fieldSelector": "c=d", "limit": "250"},
        {"labelSelector": "a=b", "fieldSelector": "c=d", "limit": "250", "continue": "t1"},
    ]


async def test_list_begins_anew_when_its_snapshot_expires(faults: Faults, client: KubeClient) -> None:
    """A token may expire between two pages; half a list is never returned."""
    faults.add(
        FaultRule("GET", PODS, answer({"metadata": {"continue": "t1"}, "items": [{"n": 1}]})),
        FaultRule("GET", PODS, status(410, "Expired")),
        FaultRule("GET", PODS, answer({"metadata": {}, "items": None})),
    )
    assert await client.list("pods", "ci") == ()


async def test_list_gives_up_on_snapshots_that_always_expire(faults: Faults, client: KubeClient) -> None:
    """Beginning anew is bounded."""
    faults.add(FaultRule("GET", PODS, status(410, "Expired"), times=None))
    with pytest.raises(GoneError):
        await client.list("pods", "ci")
    assert len(faults.requests) == 3


async def test_warning_events_are_those_of_one_object(faults: Faults, client: KubeClient) -> None:
    """Selected by the server, by name and uid."""
    faults.add(FaultRule("GET", "/events$", answer({"items": [{"reason": "Failed"}]})))
    assert await client.warning_events("ci", "x", uid="u1") == ({"reason": "Failed"},)
    assert faults.requests[0].query["fieldSelector"] == (
        "involvedObject.kind=Pod,involvedObject.name=x,involvedObject.uid=u1,type=Warning"
    )


@pytest.mark.parametrize(("told", "allowed"), [({"allowed": True}, True), ({"allowed": False}, False), (None, False)])
async def test_an_access_review_is_repeated_and_read(
    faults: Faults, client: KubeClient, told: Manifest | None, allowed: bool
) -> None:
    """A review has no effect, so a lost answer is asked for again."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews$"
    faults.add(FaultRule("POST", path, lost), FaultRule("POST", path, answer({"status": told}, 201)))
    assert await client.self_subject_access_review("ci", "create", "pods", subresource="exec") is allowed
    assert json.loads(faults.requests[1].body)["spec"] == {
        "resourceAttributes": {"namespace": "ci", "verb": "create", "resource": "pods", "subresource": "exec"}
    }


async def test_the_servers_version_is_read(faults: Faults, client: KubeClient) -> None:
    """For host aliases and for the doctor."""
    faults.add(FaultRule("GET", "^/version$", answer({"major": "1", "minor": "34"})))
    assert await client.server_version() == {"major": "1", "minor": "34"}


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(status(500, "InternalError"), id="500"),
        pytest.param(status(503, "ServiceUnavailable"), id="503"),
        pytest.param(status(504, "Timeout"), id="504"),
        pytest.param(status(429, "TooManyRequests"), id="429"),
        pytest.param(Reply(502, {}, b"<html>"), id="a proxy's 502"),
        pytest.param(Reply(200, {}, b"<html>"), id="a proxy's 200"),
        pytest.param(Reply(200, {}, b"[]"), id="no object"),
        pytest.param(DropRequest(), id="dropped"),
        pytest.param(lost, id="lost"),
    ],
)
async def test_reading_is_repeated(faults: Faults, client: KubeClient, trouble: Reply) -> None:
    """What can succeed later is tried again, for it does no harm."""
    faults.add(FaultRule("GET", POD, trouble, times=1), FaultRule("GET", POD, answer(pod())))
    assert await client.read("pods", "ci", "x") == pod()


async def test_repetitions_are_bounded(faults: Faults, client: KubeClient) -> None:
    """`retry_limit` counts all tries, the first included."""
    faults.add(FaultRule("GET", POD, status(503), times=None))
    with pytest.raises(UnavailableError, match=r"Cannot get pods ci/x: the words \(503\)"):
        await client.read("pods", "ci", "x")
    assert len(faults.requests) == 3


async def test_one_try_is_one_request(faults: Faults, client: KubeClient) -> None:
    """A caller with a rhythm of its own asks once."""
    faults.add(FaultRule("GET", POD, status(503), times=None))
    with pytest.raises(UnavailableError):
        await client.read("pods", "ci", "x", tries=1)
    assert len(faults.requests) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, BadRequestError), (403, ForbiddenError), (404, NotFoundError), (302, KubeError), (501, KubeError)],
)
async def test_a_definite_answer_is_not_repeated(
    faults: Faults, client: KubeClient, code: int, kind: type[KubeError]
) -> None:
    """Asking again would give the same answer. A redirect is not followed: it could lead our token elsewhere."""
    faults.add(FaultRule("GET", POD, status(code, headers={"Location": "/elsewhere"}), times=None))
    with pytest.raises(KubeError) as caught:
        await client.read("pods", "ci", "x")
    assert (type(caught.value), caught.value.status, len(faults.requests)) == (kind, code, 1)


@pytest.mark.slow
async def test_a_pause_that_the_server_asks_for_is_kept(faults: Faults, client: KubeClient) -> None:
    """A 429 with Retry-After: the second request comes no sooner."""
    faults.add(FaultRule("GET", POD, status(429, headers={"Retry-After": "1"})), FaultRule("GET", POD, answer(pod())))
    await client.read("pods", "ci", "x")
    first, second = faults.requests
    assert second.started_at - first.started_at >= 1.0


async def test_a_pause_too_long_is_the_callers_matter(faults: Faults, client: KubeClient) -> None:
    """The error says how long."""
    faults.add(FaultRule("GET", POD, status(429, headers={"Retry-After": "3600"}), times=None))
    with pytest.raises(TooManyRequestsError) as caught:
        await client.read("pods", "ci", "x")
    assert (caught.value.retry_after, len(faults.requests)) == (3600.0, 1)


async def test_create_without_nonce_is_not_repeated_when_the_answer_is_lost(faults: Faults, client: KubeClient) -> None:
    """Nobody could tell our object from another's, and two pods are worse than an error."""
    faults.add(FaultRule("POST", PODS, lost, times=None))
    with pytest.raises(UnavailableError) as caught:
        await client.create("pods", "ci", pod())
    assert (caught.value.sent, len(faults.requests)) == (True, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(status(429, "TooManyRequests"), id="busy"),
        pytest.param(status(409, "Conflict"), id="raced for a quota"),
    ],
)
async def test_create_without_nonce_is_repeated_when_nothing_was_done(
    faults: Faults, client: KubeClient, trouble: Reply
) -> None:
    """The server said so."""
    faults.add(FaultRule("POST", PODS, trouble), FaultRule("POST", PODS, answer(pod(), 201)))
    assert await client.create("pods", "ci", pod()) == pod()


@pytest.mark.parametrize("place", ["labels", "annotations"])
async def test_create_finds_its_own_object_again_when_the_answer_was_lost(
    faults: Faults, client: KubeClient, place: str
) -> None:
    """The repetition meets 409, and the object with our nonce is the answer."""
    ours = pod(place=place, uid="u1")
    faults.add(
        FaultRule("POST", PODS, lost),
        FaultRule("POST", PODS, status(409, "AlreadyExists")),
        FaultRule("GET", POD, answer(ours)),
    )
    assert await client.create("pods", "ci", pod(place=place), nonce_key=NONCE) == ours
    assert [request.method for request in faults.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(answer(pod(nonce="theirs")), id="another's"),
        pytest.param(answer({"metadata": {"name": "x"}}), id="without nonce"),
        pytest.param(answer(pod(deletionTimestamp="2026-01-01T00:00:00Z")), id="ours, going"),
        pytest.param(status(404, "NotFound"), id="gone meanwhile"),
    ],
)
async def test_create_takes_no_other_object_for_its_own(faults: Faults, client: KubeClient, found: Reply) -> None:
    """A name that is taken is a conflict."""
    faults.add(FaultRule("POST", PODS, status(409, "AlreadyExists")), FaultRule("GET", POD, found))
    with pytest.raises(ConflictError) as caught:
        await client.create("pods", "ci", pod(), nonce_key=NONCE)
    assert caught.value.already_exists


async def test_create_with_a_nonce_key_that_the_manifest_lacks_adopts_nothing(
    faults: Faults, client: KubeClient
) -> None:
    """Two objects without a nonce are not the same object."""
    faults.add(FaultRule("POST", PODS, status(409, "AlreadyExists")))
    with pytest.raises(ConflictError):
        await client.create("pods", "ci", {"metadata": {"name": "x"}}, nonce_key=NONCE)
    assert len(faults.requests) == 1


async def test_a_refused_connection_was_not_sent(listener: Listener, client: KubeClient) -> None:
    """An API server that is away took nothing, so a create may be tried again."""
    await listener.outage()
    with pytest.raises(UnavailableError, match=r"http://[^ ]* cannot be reached \(connection refused\)\.$") as caught:
        await client.create("pods", "ci", pod())
    assert (caught.value.sent, caught.value.reason, caught.value.status) == (False, "ConnectFailed", 0)
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorError)


async def test_a_server_that_is_silent_is_given_up(faults: Faults, listener: Listener) -> None:
    """Every call has a bound."""
    faults.add(FaultRule("GET", POD, silent, times=None))
    client = KubeClient(Connection(host=listener.url), retry=RetryPolicy(limit=1), request_timeout=0.05)
    with pytest.raises(UnavailableError, match="did not answer in time"):
        await client.read("pods", "ci", "x")
    await client.aclose()


async def silent(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say nothing until the client has gone."""
    del request, handler
    await anyio.sleep_forever()
    raise AssertionError


async def test_a_body_that_is_cut_is_lost(faults: Faults, client: KubeClient) -> None:
    """Half an answer is none."""

    async def half(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        response = web.StreamResponse()
        response.content_length = 1000
        await response.prepare(request)
        await response.write(b'{"metadata":')
        assert request.transport is not None
        request.transport.close()
        return response

    faults.add(FaultRule("GET", POD, half, times=None))
    with pytest.raises(UnavailableError, match="ended the connection"):
        await client.read("pods", "ci", "x")
    assert len(faults.requests) == 3


@pytest.mark.parametrize("host", ["http://", "http://[::1", "ftp://somewhere"])
async def test_an_address_that_is_none_is_told(host: str) -> None:
    """No retry makes it one."""
    client = KubeClient(Connection(host=host))
    with pytest.raises(KubeError) as caught:
        await client.read("pods", "ci", "x")
    assert type(caught.value) is KubeError
    await client.aclose()


async def test_a_certificate_is_asked_of_an_https_host(listener: Listener) -> None:
    """A server that speaks no TLS is not spoken to, and the request was never sent."""
    client = KubeClient(Connection(host=listener.url.replace("http", "https")), retry=RetryPolicy(limit=1))
    with pytest.raises(UnavailableError) as caught:
        await client.read("pods", "ci", "x")
    assert (caught.value.sent, caught.value.status) == (False, 0)
    await client.aclose()


async def test_each_request_is_observed(faults: Faults, listener: Listener) -> None:
    """With verb, resource and status, each try for itself; 0 stands for no answer."""
    seen: list[tuple[str, str, int]] = []

    def observe(verb: str, resource: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        seen.append((verb, resource, status))

    faults.add(
        FaultRule("GET", POD, status(503)),
        FaultRule("GET", POD, lost, times=2),
        FaultRule("GET", POD, answer(pod())),
        FaultRule("DELETE", POD, status(404)),
    )
    client = KubeClient(
        Connection(host=listener.url), retry=RetryPolicy(backoff_max=0.001, backoff_min=0.001), observe=observe
    )
    await client.read("pods", "ci", "x")
    await client.delete("pods", "ci", "x")
    await client.aclose()
    assert seen == [("get", "pods", 503), ("get", "pods", 0), ("get", "pods", 200), ("delete", "pods", 404)]


async def test_a_client_is_closed_also_by_who_is_cancelled(listener: Listener) -> None:
    """Its end is often part of somebody's cleanup."""
    with anyio.CancelScope() as scope:
        async with KubeClient(Connection(host=listener.url)) as client:
            scope.cancel()
    assert client.transport._calls.closed
    assert client.transport._streams.closed


class RotatingCredentials:
    """Credentials that are renewed on demand, a number of times."""

    def __init__(self, renewals: int) -> None:
        self.generation = 0
        self._left = renewals
        self._lock = anyio.Lock()

    async def headers(self) -> dict[str, str]:
        """The token of this generation."""
        return {"authorization": f"Bearer t{self.generation}"}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Go to the next generation, unless somebody has."""
        async with self._lock:
            if await self.headers() != refused:
                return True
            if not self._left:
                return False
            self._left -= 1
            self.generation += 1
            return True


async def only_t1(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Know the second token alone."""
    del handler
    if request.headers["authorization"] != "Bearer t1":
        return web.json_response({"reason": "Unauthorized"}, status=401)
    return web.json_response(pod())


async def test_refused_credentials_are_renewed_once_for_all(
    faults: Faults, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many calls meet a 401 at once: one renewal, new connections once, and every call is answered."""
    sessions: list[int] = []
    make = Transport._session

    def counted(transport: Transport, limit: int) -> aiohttp.ClientSession:
        sessions.append(limit)
        return make(transport, limit)

    monkeypatch.setattr(Transport, "_session", counted)
    faults.add(FaultRule("GET", POD, only_t1, times=None))
    credentials = RotatingCredentials(renewals=5)
    client = KubeClient(Connection(host=listener.url, credentials=credentials))
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.read, "pods", "ci", "x")
    await client.aclose()
    assert (credentials.generation, len(sessions)) == (1, 3)


async def test_credentials_that_cannot_be_renewed_are_an_error(faults: Faults, listener: Listener) -> None:
    """One refusal, one renewal, one more try: no loop."""
    faults.add(FaultRule("GET", POD, status(401, "Unauthorized"), times=None))
    for renewals, requests in ((0, 1), (5, 2)):
        faults.requests.clear()
        client = KubeClient(Connection(host=listener.url, credentials=RotatingCredentials(renewals)))
        with pytest.raises(UnauthorizedError):
            await client.read("pods", "ci", "x")
        assert len(faults.requests) == requests
        await client.aclose()


async def test_a_second_renewal_ends_the_connections_of_the_first(faults: Faults, listener: Listener) -> None:
    """Sessions do not pile up over the renewals of a long life."""
    accepted = {"authorization": "Bearer t0"}

    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        if request.headers["authorization"] != accepted["authorization"]:
            return web.json_response({}, status=401)
        return web.json_response(pod())

    faults.add(FaultRule("GET", POD, check, times=None))
    client = KubeClient(Connection(host=listener.url, credentials=RotatingCredentials(renewals=9)))
    for generation in range(4):
        accepted["authorization"] = f"Bearer t{generation}"
        assert await client.read("pods", "ci", "x") == pod()
    await client.aclose()


async def test_calls_and_streams_do_not_take_each_others_connections(faults: Faults, listener: Listener) -> None:
    """More calls than connections wait for one; none is lost."""
    faults.add(FaultRule(ANY, POD, answer(pod()), times=None))
    client = KubeClient(Connection(host=listener.url))
    async with anyio.create_task_group() as group:
        for _ in range(300):
            group.start_soon(client.read, "pods", "ci", "x")
    await client.aclose()
    assert len({request.peer for request in faults.requests}) <= 64
    assert len(faults.requests) == 300
