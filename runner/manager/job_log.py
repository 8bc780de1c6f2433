"""What the runner itself says in a job's log: who runs it, and what is told of its limits and caches.

GitLab Runner's own words where it has them: people search for these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.job.feature_flags import changed_flags
from runner.job.stages import Stage
from runner.job.variables import short_token

if TYPE_CHECKING:
    from runner.manager.material import JobMaterial

NO_CACHE_LINKS = (
    "The runner could not sign addresses in the cache's store: caches stay in this pod. Its own log says why."
)

_DEADLINE = "context deadline exceeded"
_TIMEOUTS_PAGE = "https://docs.gitlab.com/ci/runners/configure_runners/#set-script-and-after_script-timeouts"


def header(material: JobMaterial) -> Iterator[str]:
    """The log's first lines: what program runs the job, for which runner, with which flags of its own."""
    identity, runner = material.identity, material.runner
    yield f"Running with {identity.name} {identity.version} ({identity.revision})"
    yield f"  on {runner.name} {short_token(runner.token)}, system ID: {identity.system_id}"
    if changed := changed_flags(material.flags):
        yield f"  feature flags: {changed}"


def out_of_time(stage: str) -> str:
    """The warning after a script that was stopped by its own time-out."""
    return (
        f"{stage} could not run to completion because the timeout was exceeded. "
        f"For more control over job and script timeouts see: {_TIMEOUTS_PAGE}"
    )


def deadline_exceeded(stage: str) -> str:
    """How the log's last line names that time-out."""
    return _DEADLINE if stage == Stage.AFTER_SCRIPT else f"script timeout: {_DEADLINE}"
