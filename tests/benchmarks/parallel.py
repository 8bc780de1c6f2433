"""Many jobs at a time. Prints one JSON line.

    python tests/benchmarks/parallel.py [--kubeconfig PATH --host ADDRESS --helper-image IMAGE]

First no-op jobs through a few slots: how long until all are done. Then jobs that all run at once and print a line a
second: the manager's memory and processor time, with several numbers of jobs so that one job's share shows. Each
number of jobs has a manager of its own.
"""

from __future__ import annotations

import argparse
import json

from lab import Place, lab, p50


def through_slots(place: Place, *, jobs: int, slots: int) -> dict[str, float]:
    """Run no-op jobs through a number of slots."""
    with lab(place, concurrent=slots) as measured:
        measured.run(1, script=["true"])
        cpu = measured.manager.cpu_seconds
        done = measured.run(jobs, script=["true"], timeout=300)
        return {
            "wall_s": round(max(job.finished_at for job in done) - min(job.assigned_at for job in done), 1),
            "job_p50_s": p50(job.seconds for job in done),
            "cpu_ms_per_job": round((measured.manager.cpu_seconds - cpu) * 1000 / jobs, 1),
            "peak_rss_mib": round(measured.manager.peak_mib, 1),
        }


def line_a_second(place: Place, *, jobs: int, seconds: int) -> dict[str, float]:
    """Run jobs at once that print a line a second, and see that no line is missing."""
    script = f"i=0; while [ $i -lt {seconds} ]; do echo line $i; i=$((i+1)); sleep 1; done"
    with lab(place, concurrent=jobs, scripted=("--lines", str(seconds))) as measured:
        measured.run(1, script=["true"], timeout=seconds + 60)
        idle = measured.manager.rss_mib
        cpu = measured.manager.cpu_seconds
        done = measured.run(jobs, script=[script], timeout=seconds + 300, interval=1.0)
        for job in done:
            printed = measured.gitlab.trace(job.id)
            assert printed.count(b"O line ") == seconds, f"a line is missing or doubled in the log of job {job.id}"
        return {
            "jobs": jobs,
            "job_p50_s": p50(job.seconds for job in done),
            "cpu_ms_per_job": round((measured.manager.cpu_seconds - cpu) * 1000 / jobs, 1),
            "idle_rss_mib": round(idle, 1),
            "peak_rss_mib": round(measured.manager.peak_mib, 1),
        }


def main() -> None:
    """Measure and print."""
    parser = Place.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=40, help="no-op jobs")
    parser.add_argument("--slots", type=int, default=10, help="how many of them at a time")
    parser.add_argument("--seconds", type=int, default=60, help="lines of each job that prints")
    parser.add_argument(
        "--at-once", type=int, nargs="*", default=[10, 40, 80], help="jobs that print, one run for each"
    )
    options: argparse.Namespace = parser.parse_args()
    place = Place.of(options)
    result: dict[str, object] = {"benchmark": "parallel", "cluster": place.name, "no_op_jobs": options.jobs}
    result |= {"slots": options.slots, **through_slots(place, jobs=options.jobs, slots=options.slots)}
    rows = [line_a_second(place, jobs=number, seconds=options.seconds) for number in options.at_once]
    result |= {"line_a_second": rows}
    if len(rows) > 1:
        grown = rows[-1]["peak_rss_mib"] - rows[0]["peak_rss_mib"]
        result["rss_mib_per_further_job"] = round(grown / (rows[-1]["jobs"] - rows[0]["jobs"]), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
