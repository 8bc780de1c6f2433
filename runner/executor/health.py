"""Waiting for services before the first stage (`HEALTHCHECK_TCP_PORT`).

The helper dials their ports from within the pod, as a stage of its own: no right is needed that stages do not need. A
service that ends meanwhile ends the job, by name: it will never take a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.job.outcome import JobConfigurationError, JobError
from runner.job.stages import Stage, attempt
from runner.job.verdict import ruling
from runner.podspec.health import HealthCheck
from runner.shell.health import health_check_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.config.model import RunnerConfig
    from runner.executor.stages import Stages
    from runner.executor.watching import PodWatch

LOOK_INTERVAL = 60.0
"""Seconds after which a silent watch is looked at all the same."""


async def until_services_answer(
    checks: Sequence[HealthCheck], stages: Stages, watch: PodWatch, *, config: RunnerConfig
) -> None:
    """Wait for all ports, as long as the job may last. `watch` is for this alone. Raises KubeError and JobError."""
    stop = anyio.Event()
    dead: list[JobError] = []

    async def look_out() -> None:
        while (error := _ended(checks, watch)) is None:
            await watch.next_change(timeout=LOOK_INTERVAL)
        dead.append(error)
        stop.set()

    async with anyio.create_task_group() as group:
        group.start_soon(look_out)
        script = health_check_script(tuple(check.port for check in checks), config)
        evidence = await stages.run(script, attempt=attempt(Stage.HEALTH_CHECK, 1), stop=stop)
        group.cancel_scope.cancel()
    failed = JobError.of(ruling(evidence).outcome)
    if failed:
        raise dead[0] if dead else failed


def _ended(checks: Sequence[HealthCheck], watch: PodWatch) -> JobError | None:
    """Say which of the services has ended."""
    for check in checks:
        container = watch.view.container(check.service)
        if container and container.ended:
            return JobConfigurationError(
                f'the service "{check.service}" ({check.image}) ended before it took connections on port {check.port}: '
                f"{container.ended.sentence}"
            )
    return None
