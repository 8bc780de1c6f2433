"""A manager with twenty runners and nothing to do, and how soon it takes a job that comes. Prints one JSON line.

    python tests/benchmarks/idle.py [--seconds 120] [--runners 20] [--jobs 50]

`pickup` is the time from GitLab's answer to a held request, which brings a job, to the runner's first word about it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from contextlib import ExitStack

from soak import Servers, percentile, running

SETTLE_TIME = 15.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--runners", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=50)
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = Servers(options.runners)
        stack.callback(servers.stop)
        manager = stack.enter_context(running(servers, concurrent=2 * options.runners, faulty=False))
        time.sleep(SETTLE_TIME)
        cpu = manager.cpu_seconds
        time.sleep(options.seconds)
        share, rss = (manager.cpu_seconds - cpu) / options.seconds, manager.rss_mib
        servers.queue(servers.tokens[0])  # the first job's imports are not a matter of each
        time.sleep(5.0)
        servers.report()
        for _ in range(options.jobs):
            servers.queue(random.choice(servers.tokens))
            time.sleep(0.7)
        time.sleep(5.0)
        found = servers.report()
        print(
            json.dumps(
                {
                    "benchmark": "idle",
                    "runners": options.runners,
                    "seconds": options.seconds,
                    "cpu_percent": round(share * 100, 2),
                    "rss_mib": round(rss, 1),
                    "jobs": len(found["acknowledged_s"]),
                    "pickup_p50_ms": round(percentile(found["acknowledged_s"], 50) * 1000, 1),
                    "pickup_p99_ms": round(percentile(found["acknowledged_s"], 99) * 1000, 1),
                    "waited_p99_ms": round(percentile(found["waited_s"], 99) * 1000, 1),
                    "load": os.getloadavg()[0],
                }
            )
        )


if __name__ == "__main__":
    main()
