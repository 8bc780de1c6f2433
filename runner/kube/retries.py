"""When a request is sent again.

Pure. The rule: the error's class says whether another try makes sense, the verb says whether it can do harm, and the
number of tries is bounded. The text of an error decides nothing; only an operator's `retry_limits` may name texts
(docs/decisions/008).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from runner.kube.errors import ConflictError, KubeError, UnavailableError

BACKOFF_MIN = 0.5
"""The first pause; GitLab Runner's floor for `retry_backoff_max`."""

RETRY_AFTER_MAX = 60.0
"""A server that asks for more than this is not waited for: the caller hears of it, with the seconds."""


_WORDS_OF_GO: Mapping[str, str] = MappingProxyType(
    {
        "ConnectFailed": "connect: connection refused; connect: connection timed out",
        "ConnectTimeout": "connect: connection timed out; TLS handshake timeout; i/o timeout",
        "Timeout": "read: connection timed out; TLS handshake timeout; i/o timeout",
        "ConnectionLost": "connection reset by peer; broken pipe; unexpected EOF; http2: client connection lost; "
        "software caused connection abort",
        "CertificateInvalid": "tls: internal error",
        "UpgradeFailed": "unexpected EOF",
    }
)
"""What the original's client says where our transport gives a reason: tables written for it go by these words."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast. `limit` counts all tries, the first included, as `retry_limit` does."""

    limit: int = 5
    backoff_max: float = 2.0
    backoff_min: float = BACKOFF_MIN
    limits: tuple[tuple[str, int], ...] = ()
    """The operator's `retry_limits`: tries of errors whose text contains the words; they win over `limit`."""

    def next_pause(
        self, error: KubeError, *, tries: int, idempotent: bool, spread: float, creating: bool = False
    ) -> float | None:
        """Return the seconds to wait before the next try, or None when `error` is final.

        `spread` is a random number from 0 to 1: half of each pause is left to it, so that clients which failed together
        do not come back together. A pause that the server asked for is never cut short.
        """
        named = self.named_limit(error)
        if named is None:
            allowed = may_repeat(error, idempotent=idempotent, creating=creating)
        else:
            allowed = is_harmless(error, idempotent=idempotent)
        if not allowed or tries >= (self.limit if named is None else named):
            return None
        pause = min(self.backoff_min * 2.0 ** min(tries - 1, 30), self.backoff_max) * (0.5 + spread / 2)
        if error.retry_after is None:
            return pause
        return error.retry_after + pause if error.retry_after <= RETRY_AFTER_MAX else None

    def named_limit(self, error: KubeError) -> int | None:
        """Return the tries that the operator's table gives an error; None when it does not name it.

        Of several words that fit the longest ones count.
        """
        text = f"{error.message}; {error.reason}; {_WORDS_OF_GO.get(error.reason, '')}".casefold()
        fitting = [(len(words), tries) for words, tries in self.limits if words and words.casefold() in text]
        return max(1, max(fitting)[1]) if fitting else None


def is_harmless(error: KubeError, *, idempotent: bool) -> bool:
    """Tell whether the same request cannot take effect twice: it was refused, never sent, or means the same twice."""
    return idempotent or not (isinstance(error, UnavailableError) and error.sent)


def may_repeat(error: KubeError, *, idempotent: bool, creating: bool = False) -> bool:
    """Tell whether the same request may be sent again: it can succeed, and it cannot take effect twice.

    A create that meets a conflict over anything but its name made nothing: two pods raced for the same ResourceQuota.
    """
    if creating and isinstance(error, ConflictError):
        return not error.already_exists
    return isinstance(error, UnavailableError) and is_harmless(error, idempotent=idempotent)
