"""How long what goes with a job may take, besides the job itself: its beginning and its end at GitLab, its cleanup."""

from __future__ import annotations

from dataclasses import dataclass

ACKNOWLEDGE_TIMEOUT = 10.0
"""Seconds for telling GitLab that the job runs.

Without an answer the job goes on: the log's first patch says the same.
"""

SESSION_CLOSE_TIMEOUT = 10.0
"""Seconds for those who are in a job's session to be sent away."""

FREE_FOLDER_TIMEOUT = 10.0
"""Seconds for which the end of a job waits until its folder, which stays, is free."""

FINAL_UPDATE_TIMEOUT = 86400.0
"""Seconds for which a GitLab that is away is told how a job ended. After a day it has given the job up itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Bounds of what happens after the job itself, in seconds."""

    final_update_timeout: float = FINAL_UPDATE_TIMEOUT
    cleanup_timeout: float = 300.0
    shutdown_timeout: float = 30.0
    """For the last words of a job whose task was cancelled: whoever did that wants to go."""
