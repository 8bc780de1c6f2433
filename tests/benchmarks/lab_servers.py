"""GitLabs as one process: one that works, with many runners, one that answers 500, one that never answers.

Prints a line of JSON with their URLs and tokens when they listen. At each USR1 it prints how long the jobs since the
last one waited: from being queued to being given (`waited_s`), and from then to the runner's first word about them
(`acknowledged_s`). Serves until TERM.
"""

from __future__ import annotations

import argparse
import json
import signal
from typing import Any

import anyio

from runner.testing.faults import FaultRule, Hold, Reply
from runner.testing.gitlab import GitLabServer


class Tally:
    """What became of the jobs of a GitLab since the last look."""

    def __init__(self, gitlab: GitLabServer) -> None:
        self._gitlab = gitlab
        self._told = 0

    def report(self) -> dict[str, Any]:
        """Tell, and begin anew."""
        gitlab = self._gitlab
        jobs = [job for number, job in gitlab.jobs.items() if number > self._told]
        self._told = max(gitlab.jobs, default=0)
        words: dict[int, float] = {}
        for entry in gitlab.faults.seen("PUT", r"/jobs/\d+$"):
            words.setdefault(int(entry.path.rpartition("/")[2]), entry.started_at)
        given = [job for job in jobs if job.assigned_at is not None]
        return {
            "queued": len(jobs),
            "waited_s": [round(job.assigned_at - job.queued_at, 4) for job in given if job.assigned_at is not None],
            "acknowledged_s": [
                round(words[job.id] - job.assigned_at, 4)
                for job in given
                if job.id in words and job.assigned_at is not None
            ],
            "failed": sum(job.state == "failed" for job in jobs),
            "unfinished": sum(not job.finished for job in jobs),
            "violations": gitlab.violations[:3],
        }


async def serve(runners: int) -> None:
    """Serve until TERM."""
    tokens = tuple(f"glrt-soak{number:02d}xxxxxxxxxxxxxx" for number in range(runners))
    async with GitLabServer(tokens=tokens) as works, GitLabServer() as broken, GitLabServer() as hangs:
        broken.faults.add(FaultRule("POST", "/jobs/request", Reply(500), times=None))
        hangs.faults.add(FaultRule("POST", "/jobs/request", Hold(), times=None))
        tally = Tally(works)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
            ready = {"url": works.url, "tokens": tokens}
            ready |= {"broken": [broken.url, broken.token], "hangs": [hangs.url, hangs.token]}
            print(json.dumps(ready), flush=True)
            async for number in signals:
                if number == signal.SIGTERM:
                    return
                print(json.dumps(tally.report()), flush=True)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runners", type=int, default=18)
    anyio.run(serve, parser.parse_args().runners)


if __name__ == "__main__":
    main()
