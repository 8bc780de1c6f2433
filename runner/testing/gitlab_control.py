"""The embedded GitLab's door for a test in another process: queue jobs, and see what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from runner.testing.gitlab import GitLabServer


def control_routes(gitlab: GitLabServer) -> list[web.RouteDef]:
    """What is asked below `/-/testing`, where no GitLab has anything."""

    async def queue(request: web.Request) -> web.Response:
        over = orjson.loads(await request.read() or b"{}")
        jobs = [gitlab.queue(**over) for _ in range(int(request.query.get("count", "1")))]
        return web.json_response([job.id for job in jobs], status=201)

    async def listed(_request: web.Request) -> web.Response:
        jobs = [
            {
                "id": job.id,
                "state": job.state,
                "failure_reason": job.failure_reason,
                "trace_bytes": len(job._trace),
                "queued_at": job.queued_at,
                "assigned_at": job.assigned_at,
                "first_log_at": job.patches[0].at if job.patches else None,
                "finished_at": job.finished_at,
            }
            for job in gitlab.jobs.values()
        ]
        return web.json_response({"jobs": jobs, "violations": gitlab.violations, "requests": len(gitlab.requests)})

    async def trace(request: web.Request) -> web.Response:
        job = gitlab.jobs.get(int(request.match_info["id"]))
        if job is None:
            raise web.HTTPNotFound
        return web.Response(body=job.trace, content_type="application/octet-stream")

    return [
        web.post("/-/testing/jobs", queue),
        web.get("/-/testing/jobs", listed),
        web.get(r"/-/testing/jobs/{id:\d+}/trace", trace),
    ]
