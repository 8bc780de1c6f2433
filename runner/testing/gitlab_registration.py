"""The runners of the embedded GitLab: registered with a registration token, created by hand, verified, removed.

Law: it knows what GitLab knows of a runner, by its token; a token that was reset or removed is void at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runner.testing.payloads import Json

DEFAULT_REGISTRATION_TOKEN = "GR1348941Zx9yW8vU7tS6rQ5pO4n"


@dataclass(slots=True)
class RegisteredRunner:
    """One runner as GitLab has it."""

    id: int
    token: str
    settings: Json = field(default_factory=dict)
    """What its registration said of it: description, tag_list, locked ..."""
    managers: set[str] = field(default_factory=set)
    """The system ids that have shown themselves with its token."""
    expires_at: str | None = None


class RunnerRegistry:
    """All runners of a GitLab, and the tokens that make new ones."""

    def __init__(self, tokens: tuple[str, ...], *, registration_tokens: tuple[str, ...]) -> None:
        self.registration_tokens = set(registration_tokens)
        """Tokens that register runners; empty: this GitLab takes none any more, and answers 410."""
        self.private_tokens: set[str] = set()
        """Access tokens of people that may reset a runner's token by its id."""
        self.token_expires_at: str | None = None
        """When tokens that are made from now on expire, in RFC 3339; None: never."""
        self._runners: dict[str, RegisteredRunner] = {}
        self._last = 0
        for token in tokens:
            self.add(token)

    @property
    def tokens(self) -> set[str]:
        """The tokens that are good now."""
        return set(self._runners)

    def __iter__(self) -> Iterator[RegisteredRunner]:
        return iter(tuple(self._runners.values()))

    def add(self, token: str, **settings: Any) -> RegisteredRunner:
        """Create a runner that has this token."""
        self._last += 1
        runner = RegisteredRunner(self._last, token, settings, expires_at=self.token_expires_at)
        self._runners[token] = runner
        return runner

    def find(self, token: str) -> RegisteredRunner | None:
        """The runner of a token."""
        return self._runners.get(token)

    def register(self, body: Json) -> tuple[int, Json]:
        """Answer `POST runners`."""
        token = str(body.get("token", ""))
        if not token:
            return 400, {"error": "token is missing"}
        if not self.registration_tokens:
            return 410, {"message": "410 Gone - Runner registration disallowed"}
        if token not in self.registration_tokens:
            return 403, {"message": "403 Forbidden - invalid token supplied"}
        if not body.get("run_untagged", True) and not body.get("tag_list"):
            return 400, {
                "message": {"tags_list": ["can not be empty when runner is not allowed to pick untagged jobs"]}
            }
        settings = {key: value for key, value in body.items() if key not in {"token", "info"}}
        runner = self.add(f"glrtr-{secrets.token_urlsafe(15)}", **settings)
        return 201, self._credentials(runner)

    def verify(self, body: Json) -> tuple[int, Json]:
        """Answer `POST runners/verify`."""
        runner = self.find(str(body.get("token", "")))
        if runner is None:
            return 403, {"message": "403 Forbidden"}
        if system_id := body.get("system_id"):
            runner.managers.add(str(system_id))
        return 200, self._credentials(runner)

    def remove(self, body: Json) -> tuple[int, Json]:
        """Answer `DELETE runners`."""
        runner = self.find(str(body.get("token", "")))
        if runner is None:
            return 403, {"message": "403 Forbidden"}
        del self._runners[runner.token]
        return 204, {}

    def remove_manager(self, body: Json) -> tuple[int, Json]:
        """Answer `DELETE runners/managers`."""
        runner = self.find(str(body.get("token", "")))
        system_id = str(body.get("system_id", ""))
        if not system_id:
            return 400, {"error": "system_id is missing"}
        if runner is None:
            return 403, {"message": "403 Forbidden"}
        if system_id not in runner.managers:
            return 404, {"message": "404 Runner Manager Not Found"}
        runner.managers.remove(system_id)
        return 204, {}

    def reset(self, body: Json) -> tuple[int, Json]:
        """Answer `POST runners/reset_authentication_token`."""
        return self._reset(self.find(str(body.get("token", ""))))

    def reset_by_id(self, number: int, private_token: str) -> tuple[int, Json]:
        """Answer `POST runners/:id/reset_authentication_token`."""
        if private_token not in self.private_tokens:
            return 401, {"message": "401 Unauthorized"}
        runner = next((runner for runner in self._runners.values() if runner.id == number), None)
        return (404, {"message": "404 Runner Not Found"}) if runner is None else self._reset(runner)

    def _reset(self, runner: RegisteredRunner | None) -> tuple[int, Json]:
        if runner is None:
            return 403, {"message": "403 Forbidden"}
        del self._runners[runner.token]
        prefix = next((prefix for prefix in ("glrtr-", "glrt-") if runner.token.startswith(prefix)), "")
        runner.token = prefix + secrets.token_urlsafe(15)
        runner.expires_at = self.token_expires_at
        self._runners[runner.token] = runner
        answer = self._credentials(runner)
        del answer["id"]
        return 201, answer

    @staticmethod
    def _credentials(runner: RegisteredRunner) -> Json:
        return {"id": runner.id, "token": runner.token, "token_expires_at": runner.expires_at}
