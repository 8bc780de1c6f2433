"""A thousand jobs at once that print a line a second, on the embedded Kubernetes. Prints one JSON line.

    python tests/benchmarks/many.py [--jobs 1000] [--seconds 40]

The servers need more of a processor than the manager does: with few cores, what the manager waits for is theirs.
"""

from __future__ import annotations

import argparse
import json
import time

from lab import Lab, Place, lab, p50

RAMP_TIMEOUT = 300.0


def wait_running(measured: Lab, count: int) -> None:
    """Wait until every job has been handed out and its log has begun."""
    deadline = time.monotonic() + RAMP_TIMEOUT
    while measured.gitlab.begun() <= count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} jobs did not begin within {RAMP_TIMEOUT:.0f} s.")
        time.sleep(1.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=40)
    options = parser.parse_args()
    place = Place(None, "127.0.0.1", "helper", "busybox:latest")
    with lab(
        place,
        concurrent=options.jobs,
        scripted=("--lines", str(options.seconds)),
        probed=True,
        lag_interval=0.02,
    ) as measured:
        manager = measured.manager
        measured.run(1, script=["true"], timeout=options.seconds + 60)
        manager.report()
        idle, cpu, began = manager.rss_mib, manager.cpu_seconds, time.monotonic()
        numbers = measured.gitlab.queue(options.jobs, script=["true"])
        wait_running(measured, options.jobs)
        ramp, ramp_cpu = time.monotonic() - began, manager.cpu_seconds - cpu
        ramp_report = manager.report()
        steady_at, steady_cpu = time.monotonic(), manager.cpu_seconds
        time.sleep(max(3.0, options.seconds - ramp - 5.0))
        steady_cpu = manager.cpu_seconds - steady_cpu
        steady = time.monotonic() - steady_at
        report = manager.report()
        done = measured.gitlab.wait(numbers, timeout=options.seconds + 600, interval=1.0)
        wall = time.monotonic() - began
        end_report = manager.report()
        lost = sum(
            measured.gitlab.trace(job.id).count(b" of a job that prints one a while") != options.seconds for job in done
        )
        requests = sum(sum(part["requests"].values()) for part in (ramp_report, report, end_report))
        polls = sum(part["requests"].get("get pods", 0) for part in (ramp_report, report, end_report))
        print(
            json.dumps(
                {
                    "benchmark": "many",
                    "jobs": options.jobs,
                    "seconds": options.seconds,
                    "green": sum(job.state == "success" for job in done),
                    "logs_not_whole": lost,
                    "wall_s": round(wall, 1),
                    "job_p50_s": p50(job.seconds for job in done),
                    "ramp_s": round(ramp, 1),
                    "ramp_cpu_share": round(ramp_cpu / ramp, 2),
                    "steady_s": round(steady, 1),
                    "steady_cpu_share": round(steady_cpu / steady, 2),
                    "whole_cpu_share": round((manager.cpu_seconds - cpu) / wall, 2),
                    "cpu_ms_per_job": round((manager.cpu_seconds - cpu) * 1000 / options.jobs, 1),
                    "ramp_lag_p99_ms": ramp_report["lag_p99_ms"],
                    "steady_lag_p99_ms": report["lag_p99_ms"],
                    "steady_lag_max_ms": report["lag_max_ms"],
                    "steady_own_lag_p99_ms": report["own_lag_p99_ms"],
                    "steady_own_lag_max_ms": report["own_lag_max_ms"],
                    "ramp_own_lag_p99_ms": ramp_report["own_lag_p99_ms"],
                    "end_lag_p99_ms": end_report["lag_p99_ms"],
                    "idle_rss_mib": round(idle, 1),
                    "peak_rss_mib": round(manager.peak_mib, 1),
                    "rss_mib_per_job": round((manager.peak_mib - idle) / options.jobs, 3),
                    "requests_per_job": round(requests / options.jobs, 1),
                    "polling_gets": polls,
                }
            )
        )


if __name__ == "__main__":
    main()
