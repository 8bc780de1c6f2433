"""Moments as Kubernetes writes them. Wall clock, for showing only: nothing waits by it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def moment(at: float | None = None) -> str:
    """Return RFC 3339 with whole seconds, of now or of this epoch time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() if at is None else at))


def precise_moment(at: float) -> str:
    """Return RFC 3339 with nanoseconds, as container logs carry it."""
    whole = int(at)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((at - whole) * 1e9):09d}Z"


def epoch(text: str) -> float:
    """Return the epoch time of an RFC 3339 moment; raises ValueError for anything else."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def age(text: str) -> str:
    """Return how long ago a moment was, as `kubectl get` shows it."""
    seconds = max(0, int(time.time() - epoch(text))) if text else 0
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 172_800 else f"{seconds // 86_400}d"
