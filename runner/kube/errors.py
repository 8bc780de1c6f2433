"""What the API server refuses and what a connection loses, as one tree of our own.

Law: this is the only place that turns an answer into an error, and whether a request may be sent again is a property
of the class, never of a text. No error of aiohttp or kubernetes_asyncio leaves this package. A message is a sentence
that names the object; it holds no secret.

    KubeError                    .status .reason .message .retry_after
    ├── ConnectionSettingsError  the settings lead to no API server; names the file, context or host
    ├── BadRequestError          400
    ├── UnauthorizedError        401, after the credentials have been renewed once
    ├── ForbiddenError           403; .quota when a ResourceQuota is used up
    ├── NotFoundError            404
    ├── ConflictError            409; .already_exists when the name is taken
    ├── GoneError                410: the resource version is too old
    ├── InvalidError             422
    ├── StreamLostError          an attach or exec connection ended without proof (runner.kube.attach)
    └── UnavailableError         5xx, 408, no connection, no answer in time; .sent when it may have had an effect
        └── TooManyRequestsError 429: nothing was done; .retry_after says when to come back
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_MESSAGE_CHARACTERS = 2000
_RETRYABLE_STATUSES = frozenset({408, 500, 502, 503, 504})

# For a Status without a code, as an exec's error channel may send it.
_STATUS_BY_REASON = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Expired": 410,
    "Gone": 410,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "ServerTimeout": 500,
    "Timeout": 504,
}


class KubeError(Exception):
    """A request to the API server failed; the subclass says what may be done about it.

    Raised as itself for statuses that have no class of their own, such as 405, 413 or 415.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        """The HTTP status; 0 when there was no answer."""
        self.reason = reason
        """Kubernetes' machine-readable reason, such as `AlreadyExists`; empty when it gave none."""
        self.retry_after = retry_after
        """Seconds that the server asked us to wait, or None."""


class ConnectionSettingsError(KubeError):
    """The connection settings lead to no API server; nothing was sent."""


class BadRequestError(KubeError):
    """The server could not read the request: our mistake, or a manifest patched into nonsense."""


class UnauthorizedError(KubeError):
    """The server does not know us, with renewed credentials either."""


class ForbiddenError(KubeError):
    """The server knows us and refuses."""

    @property
    def quota(self) -> bool:
        """Whether a ResourceQuota is used up: it can pass, where a missing right cannot.

        Kubernetes gives this no reason and no cause of its own, only the words of its quota admission, `exceeded
        quota:`. So the words are looked at, here and nowhere else; they may move a job to a waiting place and never
        repeat a request.
        """
        return "exceeded quota:" in self.message


class NotFoundError(KubeError):
    """The object, or its namespace, does not exist."""


class ConflictError(KubeError):
    """The object is in another state than the request supposes."""

    @property
    def already_exists(self) -> bool:
        """Whether the name is taken, as opposed to a precondition or a race between writers."""
        return self.reason == "AlreadyExists"


class GoneError(KubeError):
    """The resource version or continue token is too old: list again."""


class InvalidError(KubeError):
    """The manifest was understood and refused, field by field in the message."""


class UnavailableError(KubeError):
    """The server could not be asked, or could not answer now; the same request may succeed later."""

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(message, status=status, reason=reason, retry_after=retry_after)
        self.sent = sent
        """Whether the request may have had its effect; false only when it certainly had none."""


class TooManyRequestsError(UnavailableError):
    """The server is busy and did nothing."""

    def __init__(self, message: str, *, status: int = 429, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, status=status, reason=reason, retry_after=retry_after, sent=False)


_CLASSES: Mapping[int, type[KubeError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: TooManyRequestsError,
    **dict.fromkeys(_RETRYABLE_STATUSES, UnavailableError),
}


def error_from_answer(
    status: int, body: bytes, *, subject: str, retry_after: str = "", withhold: bool = False
) -> KubeError:
    """Make the error of an answer that is no success.

    The body is a Status object, or anything a proxy may send instead. `withhold` leaves the server's words out: an API
    server may quote the manifest it could not read, and a Secret's manifest is a secret.
    """
    return error_from_status(_parse(body), subject=subject, status=status, retry_after=retry_after, withhold=withhold)


def error_from_status(
    answer: object, *, subject: str, status: int = 0, retry_after: str = "", withhold: bool = False
) -> KubeError:
    """Make the error of a Status object, from a body, a watch event or an error channel; odd shapes are tolerated."""
    fields: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    reason = fields.get("reason") if isinstance(fields.get("reason"), str) else ""
    reason = reason or ""
    code = status or _integer(fields.get("code")) or _STATUS_BY_REASON.get(reason, 500)
    words = str(fields.get("message") or "").strip()[:_MESSAGE_CHARACTERS]
    if withhold and code in {400, 422, 500}:
        words = "the server's words are left out, they may quote a secret"
    told = f"{words or 'the server gave no message'} ({code}{' ' if reason else ''}{reason})"
    details = fields.get("details")
    seconds = _integer(details.get("retryAfterSeconds")) if isinstance(details, dict) else None
    wait = parse_retry_after(retry_after)
    return _CLASSES.get(code, KubeError)(
        f"{subject}: {told}",
        status=code,
        reason=reason,
        retry_after=wait if wait is not None else float(seconds) if seconds else None,
    )


def parse_retry_after(text: str) -> float | None:
    """Read a Retry-After header in seconds; None for none, a date or nonsense (Kubernetes only sends seconds)."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # A proxy's page. Its first line is more than nothing, and no Status means no secret of ours is quoted.
        line = body[:200].decode("utf-8", "replace").strip().partition("\n")[0]
        return {"message": line}


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
