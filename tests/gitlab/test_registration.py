"""A runner's own life at GitLab: what is asked, and what the answers mean."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from runner.gitlab.errors import (
    CoordinatorError,
    CoordinatorForbiddenError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import (
    NewRunner,
    Registrar,
    Verdict,
    check_unregistered,
    classify_verified,
    read_registered,
    read_reset,
)
from runner.testing.faults import FaultRule, Reply
from runner.testing.gitlab import GitLabServer

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
TEXT = {"Content-Type": "text/plain"}
SYSTEM_ID = "r_abcdefghijkl"


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab with one runner, and a registration token for more."""
    async with GitLabServer(registration_tokens=("GR1348941secret",)) as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def registrar(gitlab: GitLabServer) -> AsyncIterator[Registrar]:
    """Its registrar, by a URL of former times."""
    async with Registrar(f"{gitlab.url}/ci", info=ClientInfo(version="19.4.0")) as made:
        yield made


async def test_runner_is_registered_verified_reset_and_removed(gitlab: GitLabServer, registrar: Registrar) -> None:
    """Its whole life with a registration token."""
    gitlab.runners.token_expires_at = "2030-01-02T03:04:05.678Z"
    made = await registrar.register("GR1348941secret", NewRunner(description="a", tag_list="x,y", run_untagged=False))
    assert made.expires_at == datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    known = gitlab.runners.find(made.token)
    assert known is not None
    expected = {"description": "a", "tag_list": "x,y", "run_untagged": False, "locked": True, "paused": False}
    assert known.settings == expected
    assert (await registrar.verify(made.token, system_id=SYSTEM_ID)).credentials == made
    renewed = await registrar.reset_token(made.token)
    assert (await registrar.verify(made.token, system_id=SYSTEM_ID)).verdict is Verdict.INVALID
    await registrar.unregister(renewed.token, system_id=SYSTEM_ID)
    assert (await registrar.verify(renewed.token, system_id=SYSTEM_ID)).verdict is Verdict.INVALID


async def test_runner_that_was_created_loses_only_its_manager(gitlab: GitLabServer, registrar: Registrar) -> None:
    """Other managers of the same token go on."""
    for system_id in (SYSTEM_ID, "r_other0000000"):
        await registrar.verify(gitlab.token, system_id=system_id)
    await registrar.unregister(gitlab.token, system_id=SYSTEM_ID)
    [runner] = gitlab.runners
    assert runner.managers == {"r_other0000000"}
    with pytest.raises(CoordinatorProtocolError, match="does not know this manager"):
        await registrar.unregister(gitlab.token, system_id=SYSTEM_ID)


async def test_token_is_reset_by_a_persons_rights(gitlab: GitLabServer, registrar: Registrar) -> None:
    """With the runner's id and an access token."""
    gitlab.runners.private_tokens.add("glpat-x")
    renewed = await registrar.reset_token_of(1, private_token="glpat-x")
    assert gitlab.runners.tokens == {renewed.token}
    with pytest.raises(CoordinatorForbiddenError):
        await registrar.reset_token_of(1, private_token="glpat-wrong")


async def test_registration_is_sent_once(gitlab: GitLabServer, registrar: Registrar) -> None:
    """A second one would make a second runner."""
    gitlab.faults.add(FaultRule(action=Reply(500), method="POST", path="/runners$"))
    with pytest.raises(CoordinatorUnavailableError):
        await registrar.register("GR1348941secret", NewRunner())
    assert len(gitlab.requests) == 1


async def test_verification_survives_an_answer_of_a_server_in_trouble(
    gitlab: GitLabServer, registrar: Registrar
) -> None:
    """It may be asked twice."""
    gitlab.faults.add(FaultRule(action=Reply(502), method="POST", path="/verify$", times=1))
    assert (await registrar.verify(gitlab.token, system_id=SYSTEM_ID)).verdict is Verdict.VALID


async def test_server_that_is_away_decides_nothing(gitlab: GitLabServer, registrar: Registrar) -> None:
    """A runner is not taken for deleted because of it."""
    await gitlab.outage()
    answer = await registrar.verify(gitlab.token, system_id=SYSTEM_ID)
    assert answer.verdict is Verdict.UNKNOWN
    assert isinstance(answer.trouble, CoordinatorUnavailableError)
    assert gitlab.token not in str(answer.trouble)


@pytest.mark.parametrize(
    ("status", "headers", "body", "verdict"),
    [
        pytest.param(200, JSON, b'{"id":7,"token":"t","token_expires_at":null}', Verdict.VALID, id="valid"),
        pytest.param(200, TEXT, b"200", Verdict.VALID, id="before-15"),
        pytest.param(403, JSON, b'{"message":"403 Forbidden"}', Verdict.INVALID, id="forbidden"),
        pytest.param(200, HTML, b"<html>", Verdict.UNKNOWN, id="proxy"),
        pytest.param(200, JSON, b"[]", Verdict.UNKNOWN, id="no-object"),
        pytest.param(200, JSON, b'{"id":"7"}', Verdict.UNKNOWN, id="odd-id"),
        pytest.param(400, JSON, b"{}", Verdict.UNKNOWN, id="bad-request"),
        pytest.param(404, HTML, b"<html>", Verdict.UNKNOWN, id="other-server"),
        pytest.param(422, JSON, b"{}", Verdict.UNKNOWN, id="orphan"),
        pytest.param(500, JSON, b"", Verdict.UNKNOWN, id="broken"),
    ],
)
def test_verdict_follows_from_the_answer(status: int, headers: dict[str, str], body: bytes, verdict: Verdict) -> None:
    """Only a 403 says that a token is bad."""
    answer = classify_verified(status, headers, body, "glrt-secret")
    assert answer.verdict is verdict
    assert (answer.trouble is None) == (verdict is Verdict.VALID)


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        pytest.param(
            400, b'{"message":{"tags_list":["empty"]}}', CoordinatorProtocolError, "tags_list: empty", id="400"
        ),
        pytest.param(403, b"{}", CoordinatorForbiddenError, "Check the registration token", id="403"),
        pytest.param(410, b"{}", CoordinatorProtocolError, "glrt-", id="410"),
        pytest.param(503, b"", CoordinatorUnavailableError, "503", id="503"),
        pytest.param(201, b"", CoordinatorProtocolError, "no GitLab's", id="empty"),
        pytest.param(201, b'{"id":1,"token":""}', CoordinatorProtocolError, "without", id="no-token"),
        pytest.param(201, b'{"token":"t"}', CoordinatorProtocolError, "without", id="no-id"),
    ],
)
def test_registration_that_fails_says_why(status: int, body: bytes, error: type[CoordinatorError], words: str) -> None:
    """And what to do about it."""
    with pytest.raises(error, match=words):
        read_registered(status, JSON, body)


def test_odd_answers_to_the_rest_are_errors() -> None:
    """Only the one status of success is one."""
    with pytest.raises(CoordinatorForbiddenError):
        check_unregistered(403, JSON, b"")
    with pytest.raises(CoordinatorProtocolError):
        check_unregistered(200, JSON, b"")
    with pytest.raises(CoordinatorForbiddenError):
        read_reset(403, JSON, b"", now=0)
    assert read_reset(201, JSON, b'{"token":"new"}', now=0).expires_at is None


def test_runner_without_tags_takes_jobs_without_tags() -> None:
    """Else it would take none."""
    assert NewRunner(run_untagged=False).as_json()["run_untagged"] is True
