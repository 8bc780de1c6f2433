"""A runner's own life at GitLab: registered, verified, given a new token, unregistered.

Law: what GitLab's answers mean is decided by pure functions, from status and content alone. A request that makes
something new is sent once; one that may have its effect twice is repeated while GitLab is unavailable. No token is ever
in a text made here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from runner.gitlab.backoff import is_retriable, server_delay
from runner.gitlab.errors import (
    CoordinatorError,
    CoordinatorForbiddenError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.gitlab.features import ClientInfo
from runner.gitlab.replies import describe
from runner.gitlab.sending import JSON, Call, Observe, Sender
from runner.gitlab.tls import TlsFiles
from runner.gitlab.transport import ClientPool, Timeouts

CREATED_TOKEN_PREFIX = "glrt-"
"""Begins the token of a runner that was created in GitLab: GitLab has its settings, and managers come and go."""

_TIMEOUTS = Timeouts(connect_timeout=15.0, answer_timeout=60.0, request_timeout=180.0)
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRunner:
    """What a registration token's owner may say of the runner to be made."""

    description: str = ""
    maintenance_note: str = ""
    tag_list: str = ""
    run_untagged: bool = True
    locked: bool = True
    access_level: str = ""
    maximum_timeout: int = 0
    paused: bool = False

    def as_json(self) -> dict[str, object]:
        """The fields of the request; texts and a time-out that are not given are left out."""
        optional: dict[str, object] = {
            "description": self.description,
            "maintenance_note": self.maintenance_note,
            "tag_list": self.tag_list,
            "access_level": self.access_level,
            "maximum_timeout": self.maximum_timeout,
        }
        given = {key: value for key, value in optional.items() if value}
        # A runner without tags that takes no untagged jobs would take none.
        untagged = self.run_untagged or not self.tag_list
        return {**given, "run_untagged": untagged, "locked": self.locked, "paused": self.paused}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What GitLab gave a runner."""

    id: int
    """0 where GitLab does not tell."""
    token: str = field(repr=False)
    expires_at: datetime | None = None


class Verdict(StrEnum):
    """What GitLab says of a token."""

    VALID = "valid"
    INVALID = "invalid"
    """Wrong, expired, or its runner was deleted (403)."""
    UNKNOWN = "unknown"
    """It could not be told: no answer, or one that decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The answer to a question for a token."""

    verdict: Verdict
    credentials: Credentials | None = None
    """Set when the answer is VALID and says whose token it is; a GitLab before 15 does not."""
    trouble: CoordinatorError | None = None
    """Set unless the answer is VALID."""


class Registrar:
    """One GitLab, asked about its runners. An async context manager; every method may raise `CoordinatorError`."""

    def __init__(
        self, url: str, *, info: ClientInfo, tls: TlsFiles | None = None, observe: Observe | None = None
    ) -> None:
        """`observe` hears of each request, as the coordinator's does."""
        self._pool = ClientPool(_TIMEOUTS)
        self._info = info
        self._sender = Sender(url, info=info, pool=self._pool, tls=tls, observe=observe)

    async def __aenter__(self) -> Registrar:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def register(self, registration_token: str, runner: NewRunner) -> Credentials:
        """Make a runner with a registration token."""
        body = {"token": registration_token, "info": self._info.as_json(), **runner.as_json()}
        answer = await self._sender.exchange(self._call("POST", "runners", body))
        return read_registered(answer.status, answer.headers, _scrubbed(answer.body, answer.status, registration_token))

    async def verify(self, token: str, *, system_id: str) -> Verification:
        """Ask whether a token is good; GitLab notes this manager. Never raises for what GitLab or the network does."""
        body = {"token": token, "system_id": system_id, "info": self._info.as_json()}
        call = self._call("POST", "runners/verify", body, {"RUNNER-TOKEN": token})
        try:
            answer = await self._sender.repeated(call, _ATTEMPTS)
        except CoordinatorError as error:
            return Verification(verdict=Verdict.UNKNOWN, trouble=error)
        return classify_verified(answer.status, answer.headers, _scrubbed(answer.body, answer.status, token), token)

    async def unregister(self, token: str, *, system_id: str) -> None:
        """Remove a runner, or for a runner that was created in GitLab this manager of it."""
        created = token.startswith(CREATED_TOKEN_PREFIX)
        path, body = ("runners/managers", {"system_id": system_id}) if created else ("runners", {})
        call = self._call("DELETE", path, {"token": token, **body}, {"RUNNER-TOKEN": token})
        answer = await self._sender.repeated(call, _ATTEMPTS)
        check_unregistered(answer.status, answer.headers, _scrubbed(answer.body, answer.status, token))

    async def reset_token(self, token: str) -> Credentials:
        """Exchange a token for a new one; the old one is void afterwards."""
        answer = await self._sender.exchange(self._call("POST", "runners/reset_authentication_token", {"token": token}))
        return read_reset(answer.status, answer.headers, _scrubbed(answer.body, answer.status, token), now=time.time())

    async def reset_token_of(self, number: int, *, private_token: str) -> Credentials:
        """Give the runner with this id a new token, with the rights of a person's access token."""
        path = f"runners/{number}/reset_authentication_token"
        route = "runners/:id/reset_authentication_token"
        call = self._call("POST", path, {}, {"PRIVATE-TOKEN": private_token}, route=route)
        answer = await self._sender.exchange(call)
        return read_reset(
            answer.status, answer.headers, _scrubbed(answer.body, answer.status, private_token), now=time.time()
        )

    def _call(
        self, method: str, path: str, body: Mapping[str, object], headers: Mapping[str, str] = {}, *, route: str = ""
    ) -> Call:
        return Call(
            method=method,
            path=path,
            route=route or path,
            headers={"Content-Type": JSON, "Accept": JSON, **headers},
            content=orjson.dumps(body),
            answer_timeout=_TIMEOUTS.answer_timeout,
        )


def read_registered(status: int, headers: Mapping[str, str], body: bytes) -> Credentials:
    """Read the answer to `POST runners`. Raises `CoordinatorError`."""
    what = "Registering the runner"
    if status == 201:
        return _credentials(what, body, need_id=True)
    advice = {
        401: " Check the registration token.",
        403: " Check the registration token.",
        404: " Check the url: it must be the address of the GitLab server.",
        410: " This GitLab takes no registration tokens: create the runner there and give its glrt- token.",
    }
    raise _trouble(what, status, headers, body, advice)


def classify_verified(status: int, headers: Mapping[str, str], body: bytes, token: str) -> Verification:
    """Read the answer to `POST runners/verify` for a token."""
    what = "Verifying the runner"
    if status == 200 and _kind(headers) == "text/plain" and body.strip() == b"200":
        return Verification(verdict=Verdict.VALID)
    if status == 200:
        try:
            return Verification(verdict=Verdict.VALID, credentials=_credentials(what, body, need_id=True, token=token))
        except CoordinatorError as error:
            return Verification(verdict=Verdict.UNKNOWN, trouble=error)
    advice = {
        403: " The token is wrong, has expired, or its runner was deleted.",
        404: " Check the url: it must be the address of the GitLab server.",
        422: " No project or group owns this runner any more.",
    }
    verdict = Verdict.INVALID if status == 403 else Verdict.UNKNOWN
    return Verification(verdict=verdict, trouble=_trouble(what, status, headers, body, advice))


def check_unregistered(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Read the answer to `DELETE runners` or `DELETE runners/managers`. Raises `CoordinatorError` unless it is done."""
    if status != 204:
        advice = {403: " The token is not accepted.", 404: " GitLab does not know this manager of the runner."}
        raise _trouble("Unregistering the runner", status, headers, body, advice)


def read_reset(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Credentials:
    """Read the answer to a reset of a token. Raises `CoordinatorError`, with the wait that GitLab asks for.

    `now` is seconds since the epoch.
    """
    what = "Resetting the token"
    if status == 201:
        return _credentials(what, body, need_id=False)
    trouble = _trouble(what, status, headers, body, {403: " The token is not accepted."})
    trouble.retry_after = server_delay(headers, now)
    raise trouble


def _credentials(what: str, body: bytes, *, need_id: bool, token: str = "") -> Credentials:
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise CoordinatorProtocolError(
            f"{what} brought an answer that is no GitLab's. Check the url: it must be the address of the GitLab server."
        )
    number, given = data.get("id"), data.get("token") or token
    if not isinstance(given, str) or not given or (need_id and not isinstance(number, int)):
        raise CoordinatorProtocolError(f"{what} brought an answer without the runner's id and token.")
    return Credentials(
        id=number if isinstance(number, int) else 0, token=given, expires_at=_moment(data.get("token_expires_at"))
    )


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _trouble(
    what: str, status: int, headers: Mapping[str, str], body: bytes, advice: Mapping[int, str]
) -> CoordinatorError:
    if status in {401, 403}:
        kind: type[CoordinatorError] = CoordinatorForbiddenError
    elif is_retriable(status) or status >= 500:
        kind = CoordinatorUnavailableError
    else:
        kind = CoordinatorProtocolError
    return kind(f"{what} brought {describe(status, headers, body)}.{advice.get(status, '')}", status=status)


def _kind(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _scrubbed(body: bytes, status: int, token: str) -> bytes:
    """The body without our token, unless it is an answer that carries one."""
    return body if status in {200, 201} or not token else body.replace(token.encode(), b"[MASKED]")
