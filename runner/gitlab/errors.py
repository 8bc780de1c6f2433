"""What can go wrong between us and GitLab, told apart by what to do next.

    CoordinatorError
    ├── CoordinatorUnavailableError     not reached, overloaded or broken: ask again later
    ├── CoordinatorForbiddenError       the token is not accepted: asking again does not help, this runner is unhealthy
    ├── CoordinatorProtocolError        reached, and the answer is not one that GitLab gives here
    └── CoordinatorConfigurationError   no request can be made at all: URL or client certificate

Law: nothing here knows a client library, and no message holds a token. The class decides about retries, never the text.
"""

from __future__ import annotations


class CoordinatorError(Exception):
    """A request to GitLab that did not bring what it was for; raise one of the subclasses.

    The message is a sentence that names the request and the way out.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status; None when there was no answer."""
        self.retry_after = retry_after
        """Seconds that GitLab asked us to wait, None when it did not."""
        self.correlation_id = ""
        """By which GitLab's own logs know the request; empty when there was no answer."""


class CoordinatorUnavailableError(CoordinatorError):
    """GitLab was not reached, or answered that it cannot now (408, 429, 5xx): worth another try.

    `sent` is False only when the request surely never left: the name did not resolve, the connection was refused, TLS
    did not come to terms. In every other case GitLab may have acted on it.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(message, status=status, retry_after=retry_after)
        self.sent = sent


class CoordinatorForbiddenError(CoordinatorError):
    """GitLab does not accept the token (401, 403): it is wrong, has expired, or the runner or job is gone."""


class CoordinatorProtocolError(CoordinatorError):
    """GitLab's answer has no meaning here: another status, a page of HTML, a redirect to another host."""


class CoordinatorConfigurationError(CoordinatorError):
    """No request can be made: the URL has no http or https, or the client certificate cannot be used."""
