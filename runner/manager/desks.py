"""GitLab as one job sees it: the coordinator with the job's identity filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.gitlab.backoff import RETRY_ATTEMPTS

if TYPE_CHECKING:
    from runner.gitlab.coordinator import Coordinator
    from runner.job.payload import Job
    from runner.trace.answers import PatchResult, UpdateResult


class CoordinatorDesk:
    """A `JobDesk` over a coordinator. What cannot be answered is a result too; nothing is raised for it."""

    def __init__(self, coordinator: Coordinator, job: Job, *, debug_trace: bool = False) -> None:
        self._coordinator = coordinator
        self._job = job
        self._debug_trace = debug_trace

    async def patch_trace(self, *, start: int, data: bytes) -> PatchResult:
        """Append to the job's log."""
        return await self._coordinator.patch_trace(self._job, start=start, data=data, debug=self._debug_trace)

    async def update_job(
        self, *, state: str, reason: str = "", exit_code: int = 0, checksum: str = "", size: int = 0
    ) -> UpdateResult:
        """Report the job's state.

        The first word, which alone has no checksum, is repeated while GitLab is busy: until it has that, a GitLab that
        waits for it takes no log. Everything later is repeated by the trace's machine.
        """
        return await self._coordinator.update_job(
            self._job,
            state=state,
            failure_reason=reason,
            exit_code=exit_code,
            checksum=checksum,
            size=size,
            attempts=1 if checksum else RETRY_ATTEMPTS,
        )
