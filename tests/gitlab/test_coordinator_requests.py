"""What the coordinator sends and how it reads each status: a scripted HTTP in front of the true client."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import orjson
import pytest
import respx
from structlog.testing import capture_logs

from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import FEATURES, ClientInfo
from runner.gitlab.replies import JobAnswer, JobKey
from runner.testing.payloads import job_payload
from runner.trace.answers import NETWORK_FAILED, PatchResult, UpdateResult

URL = "https://gitlab.example.com"
TOKEN = "glrt-Ab3dEfGh1JkLmNoPqRsT"
JOB = JobKey(4711, "glcbt-64_secret")
INFO = ClientInfo(version="19.4.0", revision="1a2b3c4d", operating_system="linux", architecture="amd64")


@pytest.fixture
def gitlab() -> Iterator[respx.MockRouter]:
    """GitLab as a table of answers; no socket is opened."""
    with respx.mock(using="httpx", base_url=f"{URL}/api/v4", assert_all_called=False) as router:
        yield router


@pytest.fixture
async def coordinator(gitlab: respx.MockRouter) -> AsyncIterator[Coordinator]:
    """A runner's coordinator that keeps what it observes."""
    made = Coordinator(URL, TOKEN, info=INFO, system_id="s_0f1e2d3c4b5a", fraction=lambda: 0.0)
    yield made
    await made.aclose()


def sent(route: respx.Route) -> httpx.Request:
    """Return the last request of a route."""
    request: httpx.Request = route.calls.last.request
    return request


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://gitlab.example.com", "https://gitlab.example.com"),
        ("https://gitlab.example.com/", "https://gitlab.example.com"),
        ("https://gitlab.example.com/ci", "https://gitlab.example.com"),
        ("https://gitlab.example.com/ci/", "https://gitlab.example.com"),
        ("https://gitlab.example.com/gitlab/ci", "https://gitlab.example.com/gitlab"),
        ("https://user:secret@gitlab.example.com:8443/?a=1#b", "https://gitlab.example.com:8443"),
    ],
)
def test_url_is_brought_to_its_root(url: str, expected: str) -> None:
    """A slash and `/ci` at the end are from older configurations; credentials would show up in errors."""
    assert Coordinator(url, TOKEN, info=INFO).url == expected


async def test_path_below_a_relative_root_is_kept() -> None:
    """GitLab may live under a path of its host."""
    with respx.mock(using="httpx") as router:
        route = router.post(f"{URL}/git/api/v4/jobs/request").respond(204)
        coordinator = Coordinator(f"{URL}/git/", TOKEN, info=INFO)
        assert (await coordinator.request_job()).answer is JobAnswer.NONE
        await coordinator.aclose()
    assert route.call_count == 1


async def test_request_for_a_job_says_who_asks(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """Token in header and body, our features, and a fresh request id."""
    route = gitlab.post("/jobs/request").respond(204)
    await coordinator.request_job()
    request = sent(route)
    body = orjson.loads(request.content)
    assert request.headers["RUNNER-TOKEN"] == TOKEN
    assert request.headers["Content-Type"] == request.headers["Accept"] == "application/json"
    assert request.headers["User-Agent"] == INFO.user_agent
    assert re.fullmatch("[0-9a-f]{32}", request.headers["X-Request-Id"])
    assert set(body["info"].pop("features")) == set(FEATURES)
    assert body == {
        "token": TOKEN,
        "system_id": "s_0f1e2d3c4b5a",
        "info": {
            "name": "gitlab-runner",
            "version": "19.4.0",
            "revision": "1a2b3c4d",
            "platform": "linux",
            "architecture": "amd64",
            "executor": "kubernetes",
            "shell": "bash",
            "config": {"gpus": ""},
        },
    }


async def test_cursor_is_sent_back_and_only_for_a_long_poll(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """The last cursor that was not empty comes back; without it GitLab does not hold the question."""
    route = gitlab.post("/jobs/request")
    route.side_effect = [
        httpx.Response(204, headers={"X-GitLab-Last-Update": "c1"}),
        httpx.Response(503, headers={"X-GitLab-Last-Update": ""}),
        httpx.Response(204),
        httpx.Response(204),
    ]
    for long_poll in (True, True, False, True):
        await coordinator.request_job(long_poll=long_poll)
    cursors = [orjson.loads(call.request.content).get("last_update") for call in route.calls]
    assert cursors == [None, "c1", None, "c1"]


async def test_two_runners_have_cursors_of_their_own(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """A cursor belongs to the credentials it came for."""
    gitlab.post("/jobs/request", headers={"RUNNER-TOKEN": TOKEN}).respond(204, headers={"X-GitLab-Last-Update": "c1"})
    other_route = gitlab.post("/jobs/request", headers={"RUNNER-TOKEN": "glrt-other"}).respond(204)
    other = Coordinator(URL, "glrt-other", info=INFO)
    await coordinator.request_job()
    await other.request_job()
    await other.aclose()
    assert "last_update" not in orjson.loads(sent(other_route).content)


@pytest.mark.parametrize(
    ("response", "answer", "waits"),
    [
        pytest.param(httpx.Response(204), JobAnswer.NONE, False, id="204"),
        pytest.param(httpx.Response(403, json={"message": "403 Forbidden"}), JobAnswer.FORBIDDEN, False, id="403"),
        pytest.param(httpx.Response(409), JobAnswer.CONFLICT, False, id="409"),
        pytest.param(httpx.Response(422), JobAnswer.REFUSED, False, id="422"),
        pytest.param(httpx.Response(429), JobAnswer.THROTTLED, True, id="429"),
        pytest.param(httpx.Response(500), JobAnswer.UNAVAILABLE, True, id="500"),
        pytest.param(httpx.Response(503, html="<html>deploying</html>"), JobAnswer.UNAVAILABLE, True, id="503"),
        pytest.param(httpx.Response(201, html="<html>hello</html>"), JobAnswer.GARBAGE, True, id="201-html"),
        pytest.param(httpx.Response(302, headers={"Location": "/login"}), JobAnswer.REFUSED, False, id="302"),
    ],
)
async def test_request_for_a_job_is_sent_once_whatever_comes(
    gitlab: respx.MockRouter, coordinator: Coordinator, response: httpx.Response, answer: JobAnswer, waits: bool
) -> None:
    """No status makes the client repeat a request that may hand out a job; trouble brings a wait."""
    route = gitlab.post("/jobs/request").mock(return_value=response)
    reply = await coordinator.request_job()
    assert (reply.answer, reply.retry_after is not None, route.call_count) == (answer, waits, 1)
    assert TOKEN not in f"{reply}{reply.trouble}"


async def test_wait_grows_while_gitlab_is_away_and_is_forgotten_with_an_answer(
    gitlab: respx.MockRouter, coordinator: Coordinator
) -> None:
    """Failures in a row wait longer, at most half a minute; GitLab's own word wins; one good answer forgets all."""
    route = gitlab.post("/jobs/request").respond(503)
    waits = [(await coordinator.request_job()).retry_after for _ in range(8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    route.respond(429, headers={"Retry-After": "60"})
    assert (await coordinator.request_job()).retry_after == 60.0
    route.respond(204)
    assert (await coordinator.request_job()).retry_after is None
    route.respond(503)
    assert (await coordinator.request_job()).retry_after == 0.5


async def test_unreadable_job_is_reported_as_failed(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """A job whose payload is broken does not stay `running` in GitLab until its time-out."""
    gitlab.post("/jobs/request").respond(201, json={"id": 7, "token": "glcbt-7", "steps": "no list"} | {"variables": 3})
    route = gitlab.put("/jobs/7").respond(200)
    reply = await coordinator.request_job()
    body = orjson.loads(sent(route).content)
    assert (reply.answer, body["state"], body["failure_reason"]) == (
        JobAnswer.GARBAGE,
        "failed",
        "runner_system_failure",
    )
    assert sent(route).headers["JOB-TOKEN"] == body["token"] == "glcbt-7"


async def test_message_of_gitlab_is_told_without_our_token(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """A server that echoes the token does not bring it into our logs."""
    gitlab.post("/jobs/request").respond(403, json={"message": f"token {TOKEN} is unknown"})
    reply = await coordinator.request_job()
    assert str(reply.trouble) == (
        "Asking for a job brought 403 (token [MASKED] is unknown). "
        "Check the token of this runner: it may be wrong, expired or deleted."
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"state": "running"}, {"state": "running", "output": {}}, id="acknowledgement"),
        pytest.param(
            {"state": "running", "checksum": "crc32:00000000", "size": 0},
            {"state": "running", "checksum": "crc32:00000000", "output": {"checksum": "crc32:00000000", "bytesize": 0}},
            id="sign-of-life-with-an-empty-log",
        ),
        pytest.param(
            {"state": "success", "checksum": "crc32:e1e04805", "size": 820, "exit_code": 0},
            {
                "state": "success",
                "checksum": "crc32:e1e04805",
                "output": {"checksum": "crc32:e1e04805", "bytesize": 820},
            },
            id="success",
        ),
        pytest.param(
            {"state": "failed", "failure_reason": "script_failure", "exit_code": 3},
            {"state": "failed", "failure_reason": "script_failure", "exit_code": 3, "output": {}},
            id="failure",
        ),
    ],
)
async def test_update_says_what_gitlab_expects(
    gitlab: respx.MockRouter, coordinator: Coordinator, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Empty members are left out, `output` never is, and the token stands in header and body."""
    route = gitlab.put("/jobs/4711").respond(200, headers={"Job-Status": "running"}, text="200")
    reply = await coordinator.update_job(JOB, **arguments)
    body = orjson.loads(sent(route).content)
    assert body.pop("info")["version"] == "19.4.0"
    assert body == {"token": JOB.token, **expected}
    assert sent(route).headers["JOB-TOKEN"] == JOB.token
    assert reply == UpdateResult(status=200, job_status="running")


async def test_patch_names_its_bytes_with_both_ends(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """Content-Range is inclusive, the bytes are sent as they are."""
    route = gitlab.patch("/jobs/4711/trace").respond(
        202, headers={"Job-Status": "canceling", "Range": "0-305", "X-GitLab-Trace-Update-Interval": "60"}
    )
    reply = await coordinator.patch_trace(JOB, start=300, data=b"\x00\xff\xfe\r\n", debug=True)
    request = sent(route)
    assert (request.headers["Content-Range"], request.headers["Content-Length"]) == ("300-304", "5")
    assert (request.headers["Content-Type"], request.headers["JOB-TOKEN"]) == ("text/plain", JOB.token)
    assert (request.url.params["debug_trace"], request.content) == ("true", b"\x00\xff\xfe\r\n")
    assert reply == PatchResult(status=202, job_status="canceling", interval=60.0, range_end=305)


async def test_empty_patch_is_never_sent(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """Nothing to send counts as taken."""
    assert await coordinator.patch_trace(JOB, start=9, data=b"") == PatchResult(status=202, range_end=9)
    assert gitlab.calls.call_count == 0


@pytest.mark.parametrize("status", [400, 403, 404, 409, 416, 429, 500, 503])
async def test_patch_is_sent_once_whatever_comes(
    gitlab: respx.MockRouter, coordinator: Coordinator, status: int
) -> None:
    """A patch that may have been stored is never repeated below the machine that knows the offset."""
    route = gitlab.patch("/jobs/4711/trace").respond(status)
    assert (await coordinator.patch_trace(JOB, start=0, data=b"x")).status == status
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("attempts", "responses", "status", "calls"),
    [
        pytest.param(1, [503, 200], 503, 1, id="once-by-default"),
        pytest.param(5, [503, 502, 200], 200, 3, id="until-it-is-taken"),
        pytest.param(5, [500] * 9, 500, 5, id="at-most-five-times"),
        pytest.param(99, [500] * 9, 500, 5, id="never-more"),
        pytest.param(5, [409, 200], 409, 1, id="409-is-an-answer"),
        pytest.param(5, [501, 200], 501, 1, id="501-is-an-answer"),
        pytest.param(5, [httpx.ConnectError("no"), 200], 200, 2, id="after-a-lost-connection"),
        pytest.param(2, [httpx.ConnectError("no")] * 3, NETWORK_FAILED, 2, id="connection-lost-for-good"),
    ],
)
async def test_update_is_repeated_as_often_as_asked(
    gitlab: respx.MockRouter,
    coordinator: Coordinator,
    *,
    attempts: int,
    responses: list[int | Exception],
    status: int,
    calls: int,
) -> None:
    """An update may be repeated; class and status decide, and the caller says how often."""
    route = gitlab.put("/jobs/4711")
    route.side_effect = [httpx.Response(entry) if isinstance(entry, int) else entry for entry in responses]
    assert (await coordinator.update_job(JOB, state="running", attempts=attempts)).status == status
    assert route.call_count == calls


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        pytest.param("/gitlab/api/v4/jobs/4711", True, id="same-server"),
        pytest.param("https://elsewhere.example.com/api/v4/jobs/4711", False, id="another-host"),
        pytest.param("https://gitlab.example.com:8443/api/v4/jobs/4711", False, id="another-port"),
        pytest.param("http://gitlab.example.com/api/v4/jobs/4711", False, id="down-to-http"),
    ],
)
async def test_redirect_is_followed_only_on_the_same_server(location: str, followed: bool) -> None:
    """A 307 keeps method and body, and our tokens never go to another host."""
    with respx.mock(using="httpx", assert_all_called=False) as router:
        router.put(f"{URL}/api/v4/jobs/4711").respond(307, headers={"Location": location})
        target = router.put(url__startswith=str(httpx.URL(URL).join(location))).respond(200)
        coordinator = Coordinator(URL, TOKEN, info=INFO)
        reply = await coordinator.update_job(JOB, state="running")
        await coordinator.aclose()
    assert (reply.status, target.call_count) == ((200, 1) if followed else (307, 0))


async def test_redirect_from_http_to_https_of_the_same_host_is_followed() -> None:
    """The common upgrade works for statuses that keep the method."""
    with respx.mock(using="httpx") as router:
        router.post("http://gitlab.example.com/api/v4/jobs/request").respond(
            308, headers={"Location": f"{URL}/api/v4/jobs/request"}
        )
        router.post(f"{URL}/api/v4/jobs/request").respond(201, json=job_payload(id=3))
        coordinator = Coordinator("http://gitlab.example.com", TOKEN, info=INFO)
        reply = await coordinator.request_job()
        await coordinator.aclose()
    assert reply.answer is JobAnswer.JOB


async def test_circle_of_redirects_is_given_up(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """Ten redirects are enough."""
    route = gitlab.put("/jobs/4711").respond(307, headers={"Location": "/api/v4/jobs/4711"})
    assert (await coordinator.update_job(JOB, state="running")).status == NETWORK_FAILED
    assert route.call_count == 10


async def test_answer_without_end_is_cut_off(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """An update's answer is a number; a megabyte and more is not read."""
    gitlab.put("/jobs/4711").respond(200, content=b"x" * ((1 << 20) + 1))
    assert (await coordinator.update_job(JOB, state="running")).status == NETWORK_FAILED


async def test_requests_are_observed_with_route_and_status(gitlab: respx.MockRouter) -> None:
    """Metrics get the route, never an id, and a negative status when there was no answer."""
    seen: list[tuple[str, str, int]] = []
    coordinator = Coordinator(
        URL, TOKEN, info=INFO, observe=lambda method, route, status, seconds: seen.append((method, route, status))
    )
    gitlab.post("/jobs/request").respond(204)
    gitlab.put("/jobs/4711").respond(403)
    gitlab.patch("/jobs/4711/trace").mock(side_effect=httpx.ReadTimeout("slow"))
    await coordinator.request_job()
    await coordinator.update_job(JOB, state="running")
    await coordinator.patch_trace(JOB, start=0, data=b"x")
    await coordinator.aclose()
    assert seen == [
        ("POST", "jobs/request", 204),
        ("PUT", "jobs/:id", 403),
        ("PATCH", "jobs/:id/trace", NETWORK_FAILED),
    ]


@pytest.mark.parametrize("url", ["ftp://gitlab.example.com", "gitlab.example.com", ""])
async def test_url_that_cannot_be_asked_makes_the_runner_unhealthy(url: str) -> None:
    """No request can be made: the answer says so, and updates have GitLab Runner's -100."""
    coordinator = Coordinator(url, TOKEN, info=INFO)
    reply = await coordinator.request_job()
    update = await coordinator.update_job(JOB, state="running", attempts=5)
    await coordinator.aclose()
    assert (reply.answer, reply.healthy, update.status) == (JobAnswer.UNUSABLE, False, -100)
    assert "does not begin with http:// or https://" in str(reply.trouble)


@pytest.mark.parametrize("told", ["01J5Z7RRAILSID", ""])
async def test_refusal_is_told_with_the_id_of_gitlabs_logs(
    gitlab: respx.MockRouter, coordinator: Coordinator, told: str
) -> None:
    """GitLab's own id where it says one, else the one that we sent."""
    headers = {"X-Request-Id": told} if told else {}
    asked = gitlab.post("/jobs/request").respond(403, headers=headers)
    updated = gitlab.put("/jobs/4711").respond(409, headers=headers)
    patched = gitlab.patch(path__regex="/jobs/4711/trace").respond(409, headers=headers)
    with capture_logs() as logs:
        reply = await coordinator.request_job()
        await coordinator.update_job(JOB, state="running")
        await coordinator.patch_trace(JOB, start=0, data=b"x")
    assert reply.trouble is not None
    shown = [reply.trouble.correlation_id, *(line["correlation_id"] for line in logs)]
    assert shown == [told or sent(route).headers["X-Request-Id"] for route in (asked, updated, patched)]


async def test_job_knows_by_which_id_gitlab_handed_it_out(gitlab: respx.MockRouter, coordinator: Coordinator) -> None:
    """The id of the answer, whatever the payload says: git is to send it along."""
    payload = job_payload(id=7, token="glcbt-7") | {"correlation_id": "forged"}
    gitlab.post("/jobs/request").respond(201, json=payload, headers={"X-Request-Id": "01J5Z7RRAILSID"})
    reply = await coordinator.request_job()
    assert reply.job is not None
    assert reply.job.correlation_id == "01J5Z7RRAILSID"
