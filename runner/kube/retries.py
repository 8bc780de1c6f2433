"""When a request is sent again.

Pure. The rule: the error's class says whether another try makes sense, the verb says whether it can do harm, and the
number of tries is bounded. The text of an error decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.kube.errors import ConflictError, KubeError, UnavailableError

BACKOFF_MIN = 0.5
"""The first pause; GitLab Runner's floor for `retry_backoff_max`."""

RETRY_AFTER_MAX = 60.0
"""A server that asks for more than this is not waited for: the caller hears of it, with the seconds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast. `limit` counts all tries, the first included, as `retry_limit` does."""

    limit: int = 5
    backoff_max: float = 2.0
    backoff_min: float = BACKOFF_MIN

    def next_pause(
        self, error: KubeError, *, tries: int, idempotent: bool, spread: float, creating: bool = False
    ) -> float | None:
        """Return the seconds to wait before the next try, or None when `error` is final.

        `spread` is a random number from 0 to 1: half of each pause is left to it, so that clients which failed together
        do not come back together. A pause that the server asked for is never cut short.
        """
        if tries >= self.limit or not may_repeat(error, idempotent=idempotent, creating=creating):
            return None
        pause = min(self.backoff_min * 2.0 ** min(tries - 1, 30), self.backoff_max) * (0.5 + spread / 2)
        if error.retry_after is None:
            return pause
        return error.retry_after + pause if error.retry_after <= RETRY_AFTER_MAX else None


def may_repeat(error: KubeError, *, idempotent: bool, creating: bool = False) -> bool:
    """Tell whether the same request may be sent again: it can succeed, and it cannot take effect twice.

    A create that meets a conflict over anything but its name made nothing: two pods raced for the same ResourceQuota.
    """
    if creating and isinstance(error, ConflictError):
        return not error.already_exists
    return isinstance(error, UnavailableError) and (idempotent or not error.sent)
