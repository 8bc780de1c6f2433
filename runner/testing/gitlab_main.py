"""The embedded GitLab as a process of its own: for benchmarks, and for trying any runner against it by hand."""

from __future__ import annotations

import argparse
import json
import signal

import anyio

from runner.testing.gitlab import DEFAULT_RUNNER_TOKEN, GitLabServer


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM: first a line of JSON with `url` and `token`, at the end one about the jobs."""
    parser = argparse.ArgumentParser(prog="python -m runner.testing.gitlab", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="0 as port: any free one")
    parser.add_argument("--token", default=DEFAULT_RUNNER_TOKEN, help="the runner token that is accepted")
    parser.add_argument(
        "--update-interval", type=float, default=3.0, help="seconds between patches that runners are told"
    )
    parser.add_argument("--jobs", type=int, default=0, help="how many jobs to queue at the start")
    parser.add_argument("--script", default="echo hello", help="the one command of these jobs")
    parser.add_argument("--image", default="alpine:3.20", help="the image of these jobs")
    anyio.run(_serve, parser.parse_args(arguments))


async def _serve(options: argparse.Namespace) -> None:
    host, _, port = options.listen.rpartition(":")
    async with GitLabServer(
        host=host, port=int(port), tokens=(options.token,), update_interval=options.update_interval
    ) as gitlab:
        for _ in range(options.jobs):
            gitlab.queue(script=[options.script], image=options.image)
        print(json.dumps({"url": gitlab.url, "token": gitlab.token}), flush=True)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        states: dict[str, int] = {}
        for job in gitlab.jobs.values():
            states[job.state] = states.get(job.state, 0) + 1
        print(json.dumps({"states": states, "violations": gitlab.violations[:20]}), flush=True)
